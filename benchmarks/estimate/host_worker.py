"""One short round of one bundle in a fresh process: of many, some find a machine undisturbed that others use too.

`python -m ddtasnet_edge.benchmarks.estimate.host_worker JOB` is started as `benchmarks/worker.py` is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from ddtasnet_edge.benchmarks.bandwidth import read_bandwidth
from ddtasnet_edge.benchmarks.timing import measure_hops, measure_overhead
from ddtasnet_edge.benchmarks.worker import Job, peak_rss, serve
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.graph_io import GraphSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray

MODULE = "estimate.host_worker"
# Rounds are many; the fastest pass of all of them counts.
READ_PATIENCE_NS = 30_000_000


@dataclass(frozen=True)
class ShortRound:
    """What one process measured, in microseconds per hop.

    calm_us: a tenth of the hops took less. Others at work on the same core lengthen hops for milliseconds only, so that
    this is near what all would have taken alone. p50_us: the middle hop, disturbances included. overhead_us: of a step
    beyond the runtime's own execution. bandwidth: bytes per second of one thread that reads as much as the weights are.
    """

    runtime: str
    calm_us: float
    p50_us: float
    overhead_us: float
    bandwidth: float
    peak_rss_bytes: int | None


def measure_short_round(job: Job, hops: FloatArray, opener: Callable[[str, int], Session]) -> ShortRound:
    """Time `job.hops` hops after `job.warmup`, then the session beside as many executions of its graph.

    hops: float32 [n, channels, hop], repeated as often as needed. opener: (path, threads) to an open session.
    """
    with opener(job.bundle, job.threads) as session:
        times = measure_hops(session, hops, job.hops, warmup=job.warmup, paced=job.paced)
        overhead = measure_overhead(session, hops, job.hops) if isinstance(session, GraphSession) else 0.0
        runtime = session.runtime
    # Now, as what is read next is as large as the weights, and no part of the peak of a hop.
    peak = peak_rss()
    bandwidth = read_bandwidth(job.weight_bytes, READ_PATIENCE_NS)
    return ShortRound(
        runtime=runtime,
        calm_us=times.percentile_us(100),
        p50_us=times.percentile_us(500),
        overhead_us=overhead,
        bandwidth=bandwidth,
        peak_rss_bytes=peak,
    )


if __name__ == "__main__":
    sys.exit(serve(lambda job, hops: measure_short_round(job, hops, open_session)))
