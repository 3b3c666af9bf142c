"""The step as the converters of peers take it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddtasnet_edge.models.block import State, StreamBlock
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.memory import GRUMemory, LSTMMemory


class PositionalStep(nn.Module):
    """`model.step` with positions in place of names: `mix` and the slots in, `stems` and the slots out.

    Both in the order of the StreamSpec. The whole state comes out, rings too: to write one row of them in place is
    what our own sessions do, and nobody's default.
    """

    def __init__(self, model: DDTasNet) -> None:
        super().__init__()
        self.model = model.eval()
        self.slots = tuple(slot.name for slot in model.spec().slots)

    def forward(self, mix: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        stems, new_state = self.model.step(mix, dict(zip(self.slots, state, strict=True)))
        return (stems, *(new_state[slot] for slot in self.slots))


def initial_tensors(model: DDTasNet) -> tuple[Tensor, ...]:
    """A silent hop and the initial state, in the order of the StreamSpec."""
    spec = model.spec()
    return (torch.zeros(spec.mix_shape), *(torch.from_numpy(value) for value in spec.initial_state().values()))


class LibraryCell(StreamBlock):
    """A recurrent memory whose step is the library's own nn.GRU or nn.LSTM, run over a sequence of one frame."""

    def __init__(self, memory: StreamBlock) -> None:
        super().__init__()
        self.memory = memory

    def initial_state(self, like: Tensor) -> State:
        return self.memory.initial_state(like)

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.memory.scan(x, state)

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, new_state = self.memory.scan(x.unsqueeze(1), state)
        return y[:, 0], new_state


def use_library_cells(model: DDTasNet) -> DDTasNet:
    """The same model, changed in place, with nn.GRU or nn.LSTM in its step instead of matrix products."""
    for name, block in list(model.named_children()):
        if isinstance(block, GRUMemory | LSTMMemory):
            setattr(model, name, LibraryCell(block))
    return model
