"""One profile of one bundle in a fresh process; called like worker.py.

Two sessions on the same hops take turns, one with the profiler and one without: the first says how the time is spent,
the second how much there is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing

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
    stream = np.resize(hops, (job.warmup + job.hops, *hops.shape[1:]))
    with open_session(bundle, job.threads) as plain, closing(open_profiled(bundle)) as profiled:
        _run(plain, stream[: job.warmup])
        _run(profiled, stream[: job.warmup])
        profiled.start()
        plain_us, profiled_us = _take_turns((plain, profiled), stream[job.warmup :])
        times, runtime = profiled.node_times(), profiled.runtime
    averaged = len(times.times_us) < job.hops
    counted = job.hops if averaged else -(-job.hops // 2)
    fastest = np.argsort(profiled_us)[:counted]
    return Profile(
        runtime=runtime,
        step_us=float(np.sort(plain_us)[:counted].mean()),
        profiled_step_us=float(profiled_us[fastest].mean()),
        nodes=tuple(_costs(bundle, times, slice(None) if averaged else fastest)),
        basis=f"all {counted} hops" if averaged else f"the faster half of {job.hops} hops",
        rounding_us=times.rounding_us,
        remark=times.remark,
        bandwidth=read_bandwidth(job.weight_bytes),
    )


def _take_turns(sessions: Sequence[Session], hops: FloatArray) -> list[NDArray[np.float64]]:
    """Microseconds of each step, for every session."""
    turns = [[_run(session, hops[start : start + TURN]) for session in sessions] for start in range(0, len(hops), TURN)]
    return [np.concatenate(parts) for parts in zip(*turns, strict=True)]


def _run(session: Session, hops: FloatArray) -> tuple[float, ...]:
    """Microseconds of each step."""
    return measure_hops(session, hops, len(hops), warmup=0, paced=False).times_us


def _costs(bundle: Bundle, times: NodeTimes, records: NDArray[np.intp] | slice) -> Iterator[NodeCost]:
    """Every node with its mean time over these records."""
    products = {product["node"]: product for product in bundle.manifest.graph.get("products", ())}
    for node, elapsed in zip(times.nodes, times.times_us[records].mean(axis=0), strict=True):
        product = products.get(node.product, {})
        yield NodeCost(node.name, node.op, product.get("layer"), float(elapsed), int(product.get("weight_bytes", 0)))


if __name__ == "__main__":
    sys.exit(serve(measure_profile))
