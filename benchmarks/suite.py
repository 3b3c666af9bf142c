"""Many bundles in interleaved rounds (A B C, A B C, ...): what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge.benchmarks.hogs import Cores, hogs_running, share_cores
from ddtasnet_edge.benchmarks.machine import HOST, describe_machine
from ddtasnet_edge.benchmarks.process import ProcessDiedError, run_module
from ddtasnet_edge.benchmarks.report import BACK_TO_BACK, PACED, BenchReport, BundleResult, facts_of
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.worker import Job, Round, to_npy
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.console import progress
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.spec import FloatArray, StreamSpec

ROUNDS = 3
# More than the left context of the default attention (64 frames), so every measured hop sees a full state.
WARMUP_HOPS = 100


@dataclass(frozen=True)
class Options:
    """How to measure.

    hops: per bundle, over all rounds; minutes: of audio per bundle, in place of hops. paced: by the hop clock instead
    of back-to-back. hog: with all other cores busy. realtime: with real-time scheduling and locked memory. song: to
    feed, None for the default clip.
    """

    hops: int = 1000
    minutes: float | None = None
    threads: int = 1
    paced: bool = False
    device: str = HOST
    hog: bool = False
    realtime: bool = False
    song: Path | None = None

    def hops_of(self, spec: StreamSpec) -> int:
        """How many hops of this stream to measure."""
        return self.hops if self.minutes is None else math.ceil(self.minutes * 60 / spec.hop_budget)


def run_suite(bundles: Sequence[Bundle], options: Options, quiet: bool = False) -> BenchReport:
    """Measure all bundles, each round of each in its own process.

    Raises EdgeError when a bundle cannot be measured; figures of the others are then not reported.
    """
    cores = share_cores(options.threads) if options.hog else None
    shares = [split_hops(options.hops_of(bundle.manifest.spec)) for bundle in bundles]
    sounds = [
        load_sound(bundle.manifest.spec, WARMUP_HOPS + share[0], options.song)
        for bundle, share in zip(bundles, shares, strict=True)
    ]
    rounds: list[list[Round]] = [[] for _ in bundles]
    turns = [index for turn in range(ROUNDS) for index, share in enumerate(shares) if turn < len(share)]
    with hogs_running(cores):
        for index in progress(turns, len(turns), "measuring", quiet):
            hops = shares[index][len(rounds[index])]
            rounds[index].append(run_worker(_job(bundles[index], hops, options, cores), sounds[index].hops))
    return BenchReport(
        device=options.device,
        machine=describe_machine(),
        mode=PACED if options.paced else BACK_TO_BACK,
        hops=options.hops if options.minutes is None else None,
        minutes=options.minutes,
        rounds=max(map(len, shares)),
        warmup=WARMUP_HOPS,
        threads=options.threads,
        input=sounds[0].description,
        cores=cores,
        results=tuple(
            BundleResult(**facts_of(bundle), rounds=tuple(made)) for bundle, made in zip(bundles, rounds, strict=True)
        ),
    )


def split_hops(hops: int) -> list[int]:
    """Hops of each round, as equal as can be, the largest first; never an empty round."""
    rounds = min(ROUNDS, hops)
    return [hops // rounds + (index < hops % rounds) for index in range(rounds)]


def run_worker(job: Job, hops: FloatArray) -> Round:
    """One round in a fresh Python process. Raises EdgeError with the process's own last line when it fails."""
    return Round.from_dict(run_process("worker", job, hops))


def run_process(module: str, job: Job, hops: FloatArray) -> dict[str, Any]:
    """What a module of this package that calls `worker.serve` makes of a job, in a fresh Python process.

    Raises EdgeError with the process's own last line when it fails.
    """
    try:
        return run_module(module, asdict(job), to_npy(hops))
    except ProcessDiedError as died:
        raise EdgeError(
            f"{died} measuring {job.bundle}; its runtime may not suit this processor or memory: try another version of "
            "it, or another target"
        ) from died.__cause__


def _job(bundle: Bundle, hops: int, options: Options, cores: Cores | None) -> Job:
    return Job(
        bundle=str(bundle.path),
        hops=hops,
        warmup=WARMUP_HOPS,
        threads=options.threads,
        paced=options.paced,
        weight_bytes=int(bundle.manifest.graph["weight_bytes"]),
        realtime=options.realtime,
        cores=cores.measured if cores else None,
    )
