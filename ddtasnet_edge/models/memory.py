"""Recurrent memories: fast library kernels over a sequence, plain matrix products in the step."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddtasnet_edge.models.block import State, StreamBlock
from ddtasnet_edge.models.gru_scan import gru_scan

# Size of a gate's input, of signals of size one, before training.
INPUT_GAIN = 1.0


class GRUMemory(StreamBlock):
    """GRU [batch, time, inputs] -> [batch, time, units]; slot `hidden` [batch, units].

    The default cell: its state is a convex mix of tanh values and stays within [-1, 1] however long the stream.
    The step is the cell of Cho et al. 2014 as torch.nn.GRU defines it, written as two matrix products, because
    converters unroll or reject recurrent operators and cannot quantize them.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.rnn = nn.GRU(inputs, units, batch_first=True)
        _start_lively(self.rnn)

    def initial_state(self, like: Tensor) -> State:
        return {"hidden": like.new_zeros(like.shape[0], self.units)}

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if torch.is_grad_enabled() and x.device.type == "cpu":
            return self._scan_for_training(x, state["hidden"])
        y, hidden = _in_full_precision(self.rnn, x, state["hidden"][None])
        return y, {"hidden": hidden[0]}

    def _scan_for_training(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, State]:
        weight_x, weight_h, bias_x, bias_h = self.rnn.all_weights[0]
        gates_x = F.linear(x.transpose(0, 1), weight_x, bias_x).to(hidden.dtype)
        with torch.autocast("cpu", enabled=False):
            y = gru_scan(gates_x, hidden, weight_h, bias_h)
        return y.transpose(0, 1), {"hidden": y[-1]}

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight_x, weight_h, bias_x, bias_h = self.rnn.all_weights[0]
        hidden = state["hidden"]
        parts = [2 * self.units, self.units]
        gates_x, new_x = torch.split(F.linear(x, weight_x, bias_x), parts, dim=-1)
        gates_h, new_h = torch.split(F.linear(hidden, weight_h, bias_h), parts, dim=-1)
        reset, update = torch.sigmoid(gates_x + gates_h).chunk(2, dim=-1)
        candidate = torch.tanh(new_x + reset * new_h)
        hidden = candidate + update * (hidden - candidate)
        return hidden, {"hidden": hidden}


class LSTMMemory(StreamBlock):
    """LSTM [batch, time, inputs] -> [batch, time, units]; slots `hidden` and `cell` [batch, units].

    The cell is not bounded: it was seen to grow from 399 to 962 over 120 s of streaming (arXiv 2609.12201).
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.rnn = nn.LSTM(inputs, units, batch_first=True)
        _start_lively(self.rnn)

    def initial_state(self, like: Tensor) -> State:
        return {slot: like.new_zeros(like.shape[0], self.units) for slot in ("hidden", "cell")}

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, (hidden, cell) = _in_full_precision(self.rnn, x, (state["hidden"][None], state["cell"][None]))
        return y, {"hidden": hidden[0], "cell": cell[0]}

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight_x, weight_h, bias_x, bias_h = self.rnn.all_weights[0]
        from_x = F.linear(x, weight_x, bias_x)
        from_hidden = F.linear(state["hidden"], weight_h, bias_h)
        write, keep, new, read = (from_x + from_hidden).chunk(4, dim=-1)
        cell = torch.sigmoid(keep) * state["cell"] + torch.sigmoid(write) * torch.tanh(new)
        hidden = torch.sigmoid(read) * torch.tanh(cell)
        return hidden, {"hidden": hidden, "cell": cell}


def _in_full_precision(rnn: nn.RNNBase, x: Tensor, state: Any) -> Any:
    """`rnn(x, state)`, whatever autocast says: on CUDA it takes float16 here where bfloat16 was asked for.

    Gradients of recurrent weights are often below the smallest number that float16 has.
    """
    with torch.autocast(x.device.type, enabled=False):
        return rnn(x.to(next(rnn.parameters()).dtype), state)


def _start_lively(rnn: nn.RNNBase) -> None:
    """Initial weights that pass a signal on at its size: the usual ones shrink it in each of the three memories."""
    for name, weight in rnn.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.normal_(weight, std=INPUT_GAIN / math.sqrt(weight.shape[1]))
        elif name.startswith("weight_hh"):
            for gate in torch.split(weight.detach(), weight.shape[1]):
                nn.init.orthogonal_(gate)


def make_memory(cell: str, inputs: int, units: int) -> StreamBlock:
    """The memory for a configuration's `cell`: 'gru' or 'lstm'."""
    return {"gru": GRUMemory, "lstm": LSTMMemory}[cell](inputs, units)
