"""Many bundles in interleaved rounds (A B C, A B C, ...): what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.benchmarks.machine import HOST, describe_machine
from ddtasnet_edge.benchmarks.process import ProcessDiedError, run_module
from ddtasnet_edge.benchmarks.report import BACK_TO_BACK, PACED, BenchReport, BundleResult, facts_of
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.worker import Job, Round, to_npy
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.console import progress
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.spec import FloatArray

ROUNDS = 3
# More than the left context of the default attention (64 frames), so every measured hop sees a full state.
WARMUP_HOPS = 100


@dataclass(frozen=True)
class Options:
    """How to measure. hops: per bundle, over all rounds. paced: by the hop clock instead of back-to-back."""

    hops: int = 1000
    threads: int = 1
    paced: bool = False
    device: str = HOST


def run_suite(bundles: Sequence[Bundle], options: Options, quiet: bool = False) -> BenchReport:
    """Measure all bundles, each round of each in its own process.

    Raises EdgeError when a bundle cannot be measured; figures of the others are then not reported.
    """
    shares = split_hops(options.hops)
    sounds = [load_sound(bundle.manifest.spec, WARMUP_HOPS + shares[0]) for bundle in bundles]
    rounds: list[list[Round]] = [[] for _ in bundles]
    turns = [(index, share) for share in shares for index in range(len(bundles))]
    for index, share in progress(turns, len(turns), "measuring", quiet):
        rounds[index].append(run_worker(_job(bundles[index], share, options), sounds[index].hops))
    return BenchReport(
        device=options.device,
        machine=describe_machine(),
        mode=PACED if options.paced else BACK_TO_BACK,
        hops=options.hops,
        rounds=len(shares),
        warmup=WARMUP_HOPS,
        threads=options.threads,
        input=sounds[0].description,
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


def _job(bundle: Bundle, hops: int, options: Options) -> Job:
    return Job(
        bundle=str(bundle.path),
        hops=hops,
        warmup=WARMUP_HOPS,
        threads=options.threads,
        paced=options.paced,
        weight_bytes=int(bundle.manifest.graph["weight_bytes"]),
    )
