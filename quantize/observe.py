"""What goes in and out of every matrix product while real music streams through the float model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.quantize.products import side_by_side, stream_hops


@dataclass(frozen=True, eq=False)
class Observation:
    """One product over all hops of the calibration music, every hop with the state that the hops before it left.

    low, high: the range of its input, low_out, high_out: of its output; moment [inputs, inputs], float64: the mean
    of x x' over all inputs x.
    """

    low: float
    high: float
    low_out: float
    high_out: float
    moment: Tensor


class _Watch:
    """Collects the inputs of one product."""

    def __init__(self, inputs: int) -> None:
        self.low = self.low_out = self.high = self.high_out = 0.0
        self.moment = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.count = 0

    def see(self, x: Tensor, y: Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1])
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.low_out, self.high_out = min(self.low_out, float(y.min())), max(self.high_out, float(y.max()))
        self.moment += (rows.T @ rows).double()
        self.count += len(rows)

    def result(self) -> Observation:
        return Observation(self.low, self.high, self.low_out, self.high_out, self.moment / self.count)


def observe(model: DDTasNet, clips: Sequence[Clip]) -> dict[str, Observation]:
    """Stream clips through the model and look at every product, by layer."""
    watches: dict[str, _Watch] = {}

    def look(layer: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = F.linear(x, weight, bias)
        if layer not in watches:
            watches[layer] = _Watch(weight.shape[1])
        watches[layer].see(x, y)
        return y

    for mix in side_by_side([clip.mix for clip in clips]):
        for _ in stream_hops(model, mix, look):
            pass
    return {layer: watch.result() for layer, watch in watches.items()}
