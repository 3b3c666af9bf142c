"""How much memory a bundle takes on a board: what a runtime takes at all, and how often it holds the weights."""

from __future__ import annotations

from ddtasnet_edge.benchmarks.estimate.cost import StepCost

#: Peak of a process by runtime: bytes without weights, and copies of the graph file. Fitted to the peaks of each in
#: docs/performance/estimate.json, in relative terms; they are of Linux x86_64, assumed to be the same on ARM.
PEAKS: dict[str, tuple[float, float]] = {
    "litert": (56.2e6, 2.03),
    "onnxruntime": (73.9e6, 1.42),
    "openvino": (127.8e6, 2.05),
}


def peak_bytes(cost: StepCost) -> float | None:
    """Resident memory of a process that runs the bundle; None for a runtime that was never measured."""
    if cost.runtime not in PEAKS:
        return None
    base, copies = PEAKS[cost.runtime]
    return base + copies * cost.size_bytes
