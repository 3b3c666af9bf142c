"""Parity of tflite bundles on tflite-runtime: run by another interpreter, which has the base install, tflite-runtime
and numpy 1 but no torch.

    python tflite_runtime_check.py TRACES.npz BUNDLE...

TRACES.npz holds one clip and what PyTorch made of it: mix [channels, n], the true stems and the reference stems
[sources, channels, n], and each state slot under its name. Prints a JSON object with a report for each bundle.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from ddtasnet_edge.bundle import read_bundle
from ddtasnet_edge.clips import Clip
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import Trace, compare
from ddtasnet_edge.runtimes.thresholds import thresholds_for


def main(traces: str, *bundles: str) -> None:
    """Compare each bundle with the traces."""
    with np.load(traces, allow_pickle=False) as file:
        arrays = dict(file)
    mix, true, made = (arrays.pop(name) for name in ("mix", "true_stems", "reference_stems"))
    reports = {}
    for path in bundles:
        bundle = read_bundle(path)
        manifest = bundle.manifest
        with open_session(bundle) as session:
            thresholds = thresholds_for(manifest.target, manifest.recipe, manifest.weights, session.runtime)
            clip = Clip("traced", mix, true, session.spec.sample_rate, "stored with its reference")
            report = compare(session, [clip], [Trace(made, arrays)], thresholds, "torch")
        reports[path] = report.to_dict()
    print(json.dumps({"numpy": np.__version__, "torch": "torch" in sys.modules, "reports": reports}))


if __name__ == "__main__":
    main(*sys.argv[1:])
