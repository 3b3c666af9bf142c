"""How much memory a bundle takes on a board: what a runtime takes at all, and how often it holds the weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ddtasnet_edge.benchmarks.estimate.cost import StepCost

#: Peak of a process by runtime: bytes without weights, and copies of the graph file. Fitted to the peaks in
#: docs/performance/estimate.json, which are of Linux x86_64; assumed to be the same on ARM.
PEAKS: dict[str, tuple[float, float]] = {
    "litert": (51e6, 2.0),
    "onnxruntime": (70e6, 1.4),
    "openvino": (125e6, 2.0),
}


def peak_bytes(cost: StepCost) -> float | None:
    """Resident memory of a process that runs the bundle; None for a runtime that was never measured."""
    if cost.runtime not in PEAKS:
        return None
    base, copies = PEAKS[cost.runtime]
    return base + copies * cost.size_bytes


def fit_peaks(points: Iterable[tuple[int, int]]) -> tuple[float, float]:
    """Base and copies of (size of the graph in bytes, peak in bytes), the relative error of each as important."""
    sizes, peaks = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    matrix = np.stack([np.ones_like(sizes), sizes], axis=1) / peaks[:, None]
    base, copies = np.linalg.lstsq(matrix, np.ones_like(peaks), rcond=None)[0]
    return float(base), float(copies)
