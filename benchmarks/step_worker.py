"""Steps of a bundle and nothing else, for tools that watch a process from outside.

`python -m ddtasnet_edge.benchmarks.step_worker BUNDLE HOPS` steps through noise of a fixed seed; no time is taken.
"""

from __future__ import annotations

import sys

import numpy as np

from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes import open_session

# Amplitude of the noise: that of loud music.
LEVEL = 0.1


def main() -> int:
    """Entry point."""
    bundle, hops = sys.argv[1], int(sys.argv[2])
    try:
        step(bundle, hops)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def step(bundle: str, hops: int) -> None:
    """Open a bundle and step it `hops` times."""
    with open_session(bundle) as session:
        shape = (session.spec.channels, session.spec.hop_length)
        hop = (LEVEL * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
        for _ in range(hops):
            session.step(hop)


if __name__ == "__main__":
    sys.exit(main())
