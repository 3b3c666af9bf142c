"""What a bundle makes of one clip, in a fresh process, on whatever machine this is.

`python -m ddtasnet_edge.benchmarks.trace_worker BUNDLE MIX.npy TRACE.npz` streams the clip, float32
[channels, samples], and writes stems and state as `Trace.save` does, with the runtime in `TRACE.npz.json`.
On an error it prints one line on stderr and exits with the code of that error.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np

from ddtasnet_edge.bundle import read_bundle
from ddtasnet_edge.clips import Clip
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import run_clip


def main() -> int:
    """Entry point."""
    bundle, mix, target = sys.argv[1:]
    try:
        trace_bundle(Path(bundle), Path(mix), Path(target))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def trace_bundle(path: Path, mix: Path, target: Path) -> None:
    """Stream the clip in the file `mix` through a bundle; the trace goes to `target`."""
    bundle = read_bundle(path)
    clip = Clip(mix.name, np.load(mix, allow_pickle=False), None, bundle.manifest.spec.sample_rate, "")
    with open_session(bundle) as session:
        run_clip(session, clip).save(target)
        facts = {"runtime": session.runtime, "machine": platform.machine()}
    target.with_name(target.name + ".json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
