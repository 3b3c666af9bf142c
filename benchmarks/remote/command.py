"""`python -m ddtasnet_edge.benchmarks.remote.command` is `ddtasnet-bench`, for places that run modules."""

from __future__ import annotations

import sys

from ddtasnet_edge.benchmarks.cli import main

if __name__ == "__main__":
    sys.exit(main())
