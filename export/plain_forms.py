"""What the step would be without what is built into the network: a product per gate, stream after stream, and so on.

No bundle is made of these. They show what the layout of the network saves, and that it changes nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddtasnet_edge.models.attention import SkipAttention
from ddtasnet_edge.models.block import State, StreamBlock
from ddtasnet_edge.models.cbam import CBAM
from ddtasnet_edge.models.dft import RealDFT, rotation
from ddtasnet_edge.models.memory import GRUMemory, LSTMMemory
from ddtasnet_edge.models.time_codec import TimeEncoder


class GateByGate(GRUMemory):
    """Reset, update and candidate in products of their own."""

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight_x, weight_h, bias_x, bias_h = self.rnn.all_weights[0]
        hidden = state["hidden"]
        reset_x, update_x, new_x = _apart(x, weight_x, bias_x, 3)
        reset_h, update_h, new_h = _apart(hidden, weight_h, bias_h, 3)
        candidate = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        hidden = candidate + torch.sigmoid(update_x + update_h) * (hidden - candidate)
        return hidden, {"hidden": hidden}


class GateByGateLSTM(LSTMMemory):
    """The same for the four gates of an LSTM."""

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight_x, weight_h, bias_x, bias_h = self.rnn.all_weights[0]
        from_x, from_hidden = _apart(x, weight_x, bias_x, 4), _apart(state["hidden"], weight_h, bias_h, 4)
        write, keep, new, read = (a + b for a, b in zip(from_x, from_hidden, strict=True))
        cell = torch.sigmoid(keep) * state["cell"] + torch.sigmoid(write) * torch.tanh(new)
        hidden = torch.sigmoid(read) * torch.tanh(cell)
        return hidden, {"hidden": hidden, "cell": cell}


class SeparateAttention(SkipAttention):
    """Query, key and value in a product each."""

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        return _apart(x.unsqueeze(1), self.query_key_value.weight, self.query_key_value.bias, 3)


class SeparateEncoder(TimeEncoder):
    """Basis and gate in a product each."""

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        return _apart(x, self.basis_and_gate.weight, None, 2)


def _apart(x: Tensor, weight: Tensor, bias: Tensor | None, parts: int) -> tuple[Tensor, ...]:
    """One linear map as `parts` products, each with its share of the outputs."""
    offsets = [None] * parts if bias is None else bias.chunk(parts)
    return tuple(F.linear(x, rows, offset) for rows, offset in zip(weight.chunk(parts), offsets, strict=True))


class DenseDFT(RealDFT):
    """There and back in one product with a matrix each."""

    there: Tensor
    back: Tensor

    def settle(self) -> None:
        """Make the matrices."""
        samples, bins = torch.arange(self.length), torch.arange(self.bins)
        cosine, sine = rotation(samples, bins, self.length)
        # Cosines of all bins, sines of all but DC and Nyquist, which have no mirror image.
        there = torch.cat([cosine, -sine[:, 1:-1]], dim=1) / math.sqrt(self.length)
        back = 2.0 * there.T
        back[[0, self.bins - 1]] *= 0.5
        self._constant("there", there)
        self._constant("back", back)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        real, imaginary = torch.split(frames @ self.there, [self.bins, self.bins - 2], dim=-1)
        return real, F.pad(imaginary, (1, 1))

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return torch.cat([real, imaginary[..., 1:-1]], dim=-1) @ self.back


class _StreamByStream(StreamBlock):
    """A block that takes magnitude and phase one after the other, and so reads its weights twice per hop."""

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        alone = super().update  # type: ignore[safe-super]  # the block's own, which follows
        if len(x) == 1:
            return alone(x, state)
        results = [
            alone(part, {slot: value[row : row + 1] for slot, value in state.items()})
            for row, part in enumerate(torch.split(x, 1))
        ]
        outputs, states = zip(*results, strict=True)
        return torch.cat(outputs), {slot: torch.cat([new[slot] for new in states]) for slot in state}


class StreamByStreamGRU(_StreamByStream, GRUMemory): ...


class StreamByStreamLSTM(_StreamByStream, LSTMMemory): ...


class StreamByStreamAttention(_StreamByStream, SkipAttention): ...


class StreamByStreamCBAM(_StreamByStream, CBAM): ...


class StreamByStreamLinear(nn.Linear):
    """The same for what has no memory."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            return super().forward(x)
        return torch.cat([F.linear(part, self.weight, self.bias) for part in torch.split(x, 1)])


STREAM_BY_STREAM: dict[type[nn.Module], type[Any]] = {
    GRUMemory: StreamByStreamGRU,
    LSTMMemory: StreamByStreamLSTM,
    SkipAttention: StreamByStreamAttention,
    CBAM: StreamByStreamCBAM,
    nn.Linear: StreamByStreamLinear,
}
