"""Material for fast tests: a small model configuration and reproducible noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ddtasnet_edge.config import DDTasNetConfig

UNITS = 8


def small_config(**changes: object) -> DDTasNetConfig:
    """A configuration with everything in it and every memory short enough to be passed in a few hops."""
    values = {
        "units": UNITS,
        "bases": 12,
        "window_length": 64,
        "hop_length": 32,
        "attention_frames": 4,
        "cbam_reduction": 2,
        "cbam_taps": 3,
        "pooling_rate": 0.25,
    }
    return DDTasNetConfig(**{**values, **changes})


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal noise, the same numbers in every dtype up to rounding."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Models made inside are built in `dtype`, the DFT too; converted later, it would keep the rounding of float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
