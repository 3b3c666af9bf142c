"""One profile of one bundle in a fresh process; called like worker.py.

Two sessions on the same hops take turns, one with the profiler and one without: the first says how the time is spent,
the second how much there is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.benchmarks.bandwidth import read_bandwidth
from ddtasnet_edge.benchmarks.profile import NodeCost, Profile
from ddtasnet_edge.benchmarks.timing import measure_hops
from ddtasnet_edge.benchmarks.worker import Job, serve
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.profile import NodeTimes, open_profiled
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray

# Hops of one turn: the first of them finds the weights of the other session in the cache.
TURN = 25


def measure_profile(job: Job, hops: FloatArray) -> Profile:
    """Profile the hops of a job after its warm-up.

    What is asked is how a step is spent, not how late it can be: of hops with times of their own the faster half
    counts, so that another program on this core does not appear as an expensive node.
    """
    bundle = read_bundle(job.bundle)
    with open_session(bundle, job.threads) as plain, open_profiled(bundle) as profiled:
        stream = np.resize(hops, (job.warmup + job.hops, *hops.shape[1:]))
        for session in (plain, profiled):
            _run(session, stream[: job.warmup])
        profiled.start()
        plain_us: list[float] = []
        profiled_us: list[float] = []
        for start in range(job.warmup, len(stream), TURN):
            plain_us += _run(plain, stream[start : start + TURN])
            profiled_us += _run(profiled, stream[start : start + TURN])
        times, runtime = profiled.node_times(), profiled.runtime
    counted = len(plain_us) if len(times.times_us) == 1 else -(-len(plain_us) // 2)
    return Profile(
        runtime=runtime,
        step_us=float(np.sort(plain_us)[:counted].mean()),
        profiled_step_us=float(np.sort(profiled_us)[:counted].mean()),
        nodes=tuple(_costs(bundle, times, np.argsort(profiled_us)[:counted])),
        basis=f"all {counted} hops" if counted == len(plain_us) else f"the faster half of {len(plain_us)} hops",
        rounding_us=times.rounding_us,
        remark=times.remark,
        bandwidth=read_bandwidth(job.weight_bytes),
    )


def _run(session: Session, hops: FloatArray) -> tuple[float, ...]:
    """Microseconds of each step."""
    return measure_hops(session, hops, len(hops), warmup=0, paced=False).times_us


def _costs(bundle: Bundle, times: NodeTimes, hops: NDArray[np.intp]) -> Iterator[NodeCost]:
    """Every node with its mean time over these hops, or over all where its runtime keeps no others."""
    products = {product["node"]: product for product in bundle.manifest.graph.get("products", ())}
    records = times.times_us if len(times.times_us) == 1 else times.times_us[hops]
    for node, elapsed in zip(times.nodes, records.mean(axis=0), strict=True):
        product = products.get(node.product, {})
        yield NodeCost(node.name, node.op, product.get("layer"), float(elapsed), int(product.get("weight_bytes", 0)))


if __name__ == "__main__":
    sys.exit(serve(measure_profile))
