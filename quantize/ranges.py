"""Ranges of static activations: everything that was heard, or less of it where rounding finer is worth the clipping."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddtasnet_edge.quantize.layer import Grid, round_to

# Shares of the samples that lie within a range tried.
INSIDE = (0.9999, 0.9995, 0.999, 0.99)
# Shares of the full range tried.
SHARES = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)


def best_grid(low: float, high: float, samples: Tensor, error: Callable[[Tensor], float]) -> Grid:
    """Of the full range, shrunk ranges and percentiles the one with the least error.

    low, high: everything heard; samples: some of it; error: of the samples as a grid has rounded them.
    """
    candidates = [(low, high)]
    candidates += [(low * share, high * share) for share in SHARES]
    for share in INSIDE:
        tail = (1.0 - share) / 2.0
        ends = torch.quantile(_some(samples), torch.tensor([tail, 1.0 - tail]))
        candidates.append((float(ends[0]), float(ends[1])))
    grids = [Grid.over(*ends) for ends in candidates]
    return min(grids, key=lambda grid: error(round_to(grid, samples)))


def _some(samples: Tensor) -> Tensor:
    """At most a million of them, evenly spread: what torch.quantile takes, with room."""
    flat = samples.flatten()
    return flat[:: 1 + len(flat) // 1_000_000]
