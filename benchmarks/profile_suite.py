"""Profiles of many bundles, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from ddtasnet_edge.benchmarks.machine import HOST, describe_machine
from ddtasnet_edge.benchmarks.profile import BundleProfile, Profile, ProfileReport
from ddtasnet_edge.benchmarks.report import facts_of
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import WARMUP_HOPS, run_process
from ddtasnet_edge.benchmarks.worker import Job
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.console import progress
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes.profile import check_profiler

HOPS = 300


def profile_bundles(
    bundles: Sequence[Bundle], hops: int = HOPS, device: str = HOST, quiet: bool = False
) -> ProfileReport:
    """Profile every bundle in a process of its own.

    One whose runtime cannot be profiled is left out with the reason; when that is all of them, EdgeError has the first.
    Raises ConfigError for a bundle of a target without a profiler, before any work is done.
    """
    for bundle in bundles:
        check_profiler(bundle.manifest.target)
    sounds = [load_sound(bundle.manifest.spec, WARMUP_HOPS + hops) for bundle in bundles]
    results: list[BundleProfile] = []
    errors: list[EdgeError] = []
    pairs = list(zip(bundles, sounds, strict=True))
    for bundle, sound in progress(pairs, len(pairs), "profiling", quiet):
        weight_bytes = int(bundle.manifest.graph["weight_bytes"])
        job = Job(str(bundle.path), hops, WARMUP_HOPS, threads=1, paced=False, weight_bytes=weight_bytes)
        try:
            made = Profile.from_dict(run_process("profile_worker", job, sound.hops))
            results.append(BundleProfile(**facts_of(bundle), profile=made))
        except EdgeError as error:
            errors.append(error)
            results.append(BundleProfile(**facts_of(bundle), left_out=str(error)))
    if len(errors) == len(results):
        raise errors[0]
    return ProfileReport(device, describe_machine(), hops, WARMUP_HOPS, 1, sounds[0].description, tuple(results))
