"""Steps of bundles and nothing else, for tools that watch a process from outside.

`python -m ddtasnet_edge.benchmarks.step_worker HOPS BUNDLE...` steps each bundle through noise of a fixed seed; no time
is taken. Before and after the steps of a bundle it asks for its priority: a system call that marks the place.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes import open_session

# Amplitude of the noise: that of loud music.
LEVEL = 0.1


def main() -> int:
    """Entry point."""
    hops, *bundles = sys.argv[1:]
    try:
        for bundle in bundles:
            step(bundle, int(hops))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def step(bundle: str, hops: int) -> None:
    """Open a bundle and step it `hops` times between two marks."""
    with open_session(bundle) as session:
        shape = (session.spec.channels, session.spec.hop_length)
        hop = (LEVEL * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
        session.step(hop)  # the first one makes what the others find
        _mark()
        for _ in range(hops):
            session.step(hop)
        _mark()


def _mark() -> None:
    os.getpriority(os.PRIO_PROCESS, 0)


if __name__ == "__main__":
    sys.exit(main())
