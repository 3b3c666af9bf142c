"""One round of one bundle in a fresh process, so that load time and peak memory belong to that bundle alone.

`python -m ddtasnet_edge.benchmarks.worker JOB` takes a Job as JSON and, on stdin, the hops to feed as `to_npy` writes
them; it prints a Round on stdout.
On an error it prints one line on stderr and exits with the code of that error.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.benchmarks.bandwidth import read_bandwidth
from ddtasnet_edge.benchmarks.process import keep_stdout
from ddtasnet_edge.benchmarks.realtime import RealTime, enter_realtime
from ddtasnet_edge.benchmarks.timing import HopTimes, measure_hops, measure_overhead
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.graph_io import GraphSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray

# Steps and executions that the overhead of a session is the difference of.
OVERHEAD_HOPS = 300


@dataclass(frozen=True)
class Job:
    """What to measure. hops: how many to time, in a row; weight_bytes: read per hop; cores: to run on, None for any."""

    bundle: str
    hops: int
    warmup: int
    threads: int
    paced: bool
    weight_bytes: int
    realtime: bool = False
    cores: Sequence[int] | None = None


@dataclass(frozen=True)
class Round:
    """What one process measured.

    load_us counts from the path to an open session: reading and checking the bundle and importing its runtime are
    part of it. first_stems_us counts from the same start to the end of the first step. bandwidth is the read
    bandwidth in bytes per second. realtime is what was in force, None when it was not asked for; locking memory
    makes all of it resident, which peak_rss_bytes then shows. overhead_us is what a step takes beyond the runtime's own
    execution, None for a session without a graph.
    """

    runtime: str
    hop_times: HopTimes
    load_us: float
    first_stems_us: float
    peak_rss_bytes: int | None
    bandwidth: float
    realtime: RealTime | None = None
    overhead_us: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Round:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON."""
        realtime = values["realtime"]
        rebuilt = {
            "hop_times": HopTimes.from_dict(values["hop_times"]),
            "realtime": None if realtime is None else RealTime.from_dict(realtime),
        }
        return cls(**{**values, **rebuilt})


def to_npy(hops: FloatArray) -> bytes:
    """An array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, hops, allow_pickle=False)
    return buffer.getvalue()


def measure_round(job: Job, hops: FloatArray, opener: Callable[[str, int], Session]) -> Round:
    """Open the bundle, time its hops, then measure the read bandwidth in what is now an otherwise idle process.

    hops: float32 [n, channels, hop], repeated as often as needed. opener: (path, threads) to an open session.
    """
    if job.cores is not None:
        os.sched_setaffinity(0, job.cores)
    started = time.perf_counter_ns()
    with opener(job.bundle, job.threads) as session:
        opened = time.perf_counter_ns()
        session.step(hops[0])
        first = time.perf_counter_ns()
        session.reset()
        realtime = enter_realtime() if job.realtime else None
        hop_times = measure_hops(session, hops, job.hops, warmup=job.warmup, paced=job.paced)
        overhead = measure_overhead(session, hops, OVERHEAD_HOPS) if isinstance(session, GraphSession) else None
        runtime = session.runtime
    return Round(
        runtime=runtime,
        hop_times=hop_times,
        load_us=(opened - started) / 1000,
        first_stems_us=(first - started) / 1000,
        peak_rss_bytes=peak_rss(),
        bandwidth=read_bandwidth(job.weight_bytes),
        realtime=realtime,
        overhead_us=overhead,
    )


def peak_rss(status: Path = Path("/proc/self/status")) -> int | None:
    """Largest resident memory of this process in bytes; None where the system does not tell.

    Not getrusage: Linux lets a child start from its parent's ru_maxrss, so after a compile in the same command
    every bundle would show the memory of the compiler.
    """
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def serve(measure: Callable[[Job, FloatArray], Any]) -> int:
    """Run the job of the command line on the hops of stdin; the result is a dataclass. Returns the exit code."""
    print_result = keep_stdout()
    job = Job(**json.loads(sys.argv[1]))
    hops = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    try:
        result = measure(job, hops)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print_result(asdict(result))
    return 0


if __name__ == "__main__":
    sys.exit(serve(lambda job, hops: measure_round(job, hops, open_session)))
