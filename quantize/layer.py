"""One quantized layer: integers, scales, ranges. Computed once, written into every format alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddtasnet_edge.quantize.precision import Precision
from ddtasnet_edge.spec import FloatArray

# Steps of an activation: eight bits.
LEVELS = 256
# A tensor that was always zero needs a scale too, one that kernels can compute with.
SMALLEST_STEP = 1e-8


@dataclass(frozen=True)
class Grid:
    """256 evenly spaced values, zero among them: (k - zero_point) * scale, k from 0 to 255."""

    scale: float
    zero_point: int

    @classmethod
    def over(cls, low: float, high: float) -> Grid:
        """The grid from `low` (at most 0) to `high` (at least 0), shifted by less than a step to hold zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max((high - low) / (LEVELS - 1), SMALLEST_STEP)))
        return cls(scale, int(np.clip(round(-low / scale), 0, LEVELS - 1)))

    @property
    def low(self) -> float:
        """Smallest value."""
        return -self.zero_point * self.scale

    @property
    def high(self) -> float:
        """Largest value."""
        return (LEVELS - 1 - self.zero_point) * self.scale


def round_to(grid: Grid, x: Tensor) -> Tensor:
    """Every value replaced by the nearest of the grid."""
    steps = torch.clamp(torch.round(x / grid.scale) + grid.zero_point, 0, LEVELS - 1)
    return (steps - grid.zero_point) * grid.scale


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """values [outputs, inputs], int8, times scales [outputs, blocks], float32; every block has equally many inputs.

    The last block may be longer than what is left of the inputs.
    """

    values: NDArray[np.int8]
    scales: FloatArray
    bits: int
    block: int

    @property
    def matrix(self) -> FloatArray:
        """The weight that the integers stand for, [outputs, inputs]."""
        scales = np.repeat(self.scales, self.block, axis=1)[:, : self.values.shape[1]]
        return self.values.astype(np.float32) * scales

    @property
    def missing(self) -> int:
        """How many inputs the last block lacks; kernels that want whole blocks get zeros there."""
        return 0 if self.per_output else -self.values.shape[1] % self.block

    @property
    def padded(self) -> NDArray[np.int8]:
        """The integers with zeros for what the last block lacks, [outputs, blocks * block]."""
        return np.pad(self.values, ((0, 0), (0, self.missing)))

    @property
    def per_output(self) -> bool:
        """True when every output has one scale."""
        return bool(self.scales.shape[1] == 1)


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """A layer of the model as a quantizer writes it. input and output: grids of a static product, None for others."""

    name: str
    precision: Precision
    weight: QuantizedWeight
    input: Grid | None = None
    output: Grid | None = None
