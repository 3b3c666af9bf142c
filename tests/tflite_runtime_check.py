"""Parity of tflite bundles on tflite-runtime: run by another interpreter, which has the base install, tflite-runtime
and numpy 1 but no torch.

    python tflite_runtime_check.py CLIP.npz TRACE.npz BUNDLE...

CLIP.npz holds mix [channels, n] and the true stems [sources, channels, n], TRACE.npz what PyTorch made of it. Prints
a JSON object with a report, or the line with which it was refused, for each bundle.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.clips import Clip
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import ParityReport, Trace, compare
from ddtasnet_edge.runtimes.thresholds import thresholds_for


def main(clip_file: str, trace_file: str, *bundles: str) -> None:
    """Compare each bundle with the trace."""
    with np.load(clip_file, allow_pickle=False) as arrays:
        mix, stems = arrays["mix"], arrays["stems"]
    trace = Trace.load(Path(trace_file))
    results: dict[str, Any] = {}
    for path in bundles:
        bundle = read_bundle(path)
        clip = Clip("traced", mix, stems, bundle.manifest.spec.sample_rate, "stored with its reference")
        try:
            results[path] = check(bundle, clip, trace).to_dict()
        except BundleError as error:
            results[path] = str(error)
    print(json.dumps({"numpy": np.__version__, "torch": "torch" in sys.modules, "results": results}))


def check(bundle: Bundle, clip: Clip, trace: Trace) -> ParityReport:
    manifest = bundle.manifest
    with open_session(bundle) as session:
        thresholds = thresholds_for(manifest.target, manifest.recipe, manifest.weights, session.runtime)
        return compare(session, [clip], [trace], thresholds, "torch")


if __name__ == "__main__":
    main(*sys.argv[1:])
