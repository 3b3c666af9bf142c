"""All peers and our own bundles: built, held against PyTorch, then timed in interleaved rounds (A B C, A B C, ...)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.peers.ours import build_bundle
from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.registry import PEERS, Peer
from ddtasnet_edge.benchmarks.peers.report import PeersReport
from ddtasnet_edge.benchmarks.peers.result import PeerResult
from ddtasnet_edge.benchmarks.peers.worker import PeerCheck, PeerJob, reason_of
from ddtasnet_edge.benchmarks.process import run_module
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import WARMUP_HOPS, Options
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.dependencies import installed_versions, require
from ddtasnet_edge.errors import EdgeError

if TYPE_CHECKING:
    from ddtasnet_edge.compiler import Compiler

ROUNDS = 5
# A round of a peer that is far from being in time is cut short to so many seconds, but never below FEWEST_HOPS.
ROUND_SECONDS, FEWEST_HOPS = 8.0, 10
# Of music, to feed: as many as NNCF calibrates on are among them.
FED_HOPS = 500
# A converter that takes longer than this, in seconds, has failed for its user too.
PATIENCE = 1800.0
# Whose versions are told beside those of the tools that make bundles.
TOOLS = ("torchao", "nncf", "ai-edge-quantizer", "executorch")


def run_peers(model: str, options: Options, *, names: Sequence[str] = tuple(PEERS), quiet: bool = False) -> PeersReport:
    """Compare the ways to run `model`: a preset, a checkpoint or a configuration.

    names: of PEERS, in the order of the report. A peer that cannot be built or run, or whose output is wrong, is a
    result with its reason. Raises MissingDependencyError without PyTorch, ConfigError and CheckpointError for a
    model that cannot be used.
    """
    require(("torch", "safetensors"), "comparing peers", "export")
    from ddtasnet_edge import compiler as compilation

    compiler = compilation.Compiler(model)
    console.say(compiler.source.describe(), quiet)
    results: dict[str, PeerResult] = {}
    with tempfile.TemporaryDirectory(prefix="ddtasnet-peers-") as folder:
        place = PeerPlace(Path(folder), options.threads)
        sound = _prepare(compiler, place)
        with console.stages(2 * len(names), quiet) as begin:
            for name in names:
                results[name] = _checked(PEERS[name], results, compiler, place, begin)
        usable = [name for name, result in results.items() if result.failure is None]
        for name in console.progress(usable * ROUNDS, len(usable) * ROUNDS, "measuring", quiet):
            results[name] = _measured(results[name], place, options.hops)
    return PeersReport(
        device=options.device,
        machine=describe_machine(),
        model=compiler.source.name,
        weights=compiler.source.source,
        hops=options.hops,
        rounds=ROUNDS,
        warmup=WARMUP_HOPS,
        threads=options.threads,
        input=sound,
        versions=installed_versions((*compilation.TOOLS, *TOOLS)),
        results=tuple(results.values()),
    )


def _prepare(compiler: Compiler, place: PeerPlace) -> str:
    """Put down what all start from; returns what the music is."""
    from ddtasnet_edge.runtimes.parity import run_clip
    from ddtasnet_edge.runtimes.torch_session import TorchSession

    model, clip = compiler.source.model, compiler.clips[0]
    with TorchSession.from_model(model) as session:
        reference = run_clip(session, clip)
    sound = load_sound(model.spec(), FED_HOPS)
    place.write(model, clip, reference.stems, sound.hops)
    return sound.description


def _checked(
    peer: Peer, others: Mapping[str, PeerResult], compiler: Compiler, place: PeerPlace, begin: console.Begin
) -> PeerResult:
    """The result with its parity, or with the reason why there is none."""
    try:
        begin(f"{peer.name}: building")
        seconds = _build(peer, others, compiler, place)
        begin(f"{peer.name}: checking")
        check = PeerCheck(**run_peer(_job("check", peer, place)))
    except EdgeError as error:
        return PeerResult(peer, failure=reason_of(error))
    return PeerResult(peer, check.failure and f"wrong output: {check.failure}", seconds, check)


def _build(peer: Peer, others: Mapping[str, PeerResult], compiler: Compiler, place: PeerPlace) -> float:
    """Seconds it took. Raises EdgeError with the reason when it cannot be done."""
    if (missing := peer.missing()) is not None:
        raise EdgeError(missing)
    if peer.base is not None and (peer.base not in others or others[peer.base].check is None):
        raise EdgeError(f"starts from {peer.base}, which there is not")
    place.folder(peer.name).mkdir()
    started = time.perf_counter()
    if peer.ours:
        build_bundle(compiler, peer.name, place)
    else:
        run_peer(_job("build", peer, place))
    return time.perf_counter() - started


def _measured(result: PeerResult, place: PeerPlace, hops: int) -> PeerResult:
    """The result with one more round, or with the reason why there is none. hops: over all rounds, at most."""
    if result.failure is not None:
        return result
    assert result.check is not None, "only peers that were checked are measured"
    fitting = max(FEWEST_HOPS, int(ROUND_SECONDS * 1e6 / result.check.hop_us))
    limits = {"hops": min(-(-hops // ROUNDS), fitting), "warmup": min(WARMUP_HOPS, fitting)}
    try:
        times = HopTimes.from_dict(run_peer(_job("measure", result.peer, place, **limits)))
    except EdgeError as error:
        return replace(result, failure=f"round {len(result.rounds) + 1}: {reason_of(error)}")
    return replace(result, rounds=(*result.rounds, times))


def _job(task: Literal["build", "check", "measure"], peer: Peer, place: PeerPlace, **limits: int) -> PeerJob:
    return PeerJob(task, peer.name, str(place.root), place.threads, **limits)


def run_peer(job: PeerJob) -> dict[str, Any]:
    """Do one task in a fresh process. Raises EdgeError with the reason when it fails, crashes or takes too long."""
    # Compiled kernels are kept for the later processes of this run and gone with it; one process compiles them.
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(Path(job.root, "inductor")), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    found = run_module("peers.worker", asdict(job), patience=PATIENCE, environment={**os.environ, **cache})
    if "error" in found:
        raise EdgeError(found["error"])
    return found
