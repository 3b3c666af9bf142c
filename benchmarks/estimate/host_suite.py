"""Measures probes and presets in the same interleaved rounds: the ones fit this machine's profile, the others test."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.estimate.cost import cost_of
from ddtasnet_edge.benchmarks.estimate.host import Measured, fit_profile
from ddtasnet_edge.benchmarks.estimate.model import Estimate, estimate
from ddtasnet_edge.benchmarks.estimate.probes import PROBES, build_presets, build_probes
from ddtasnet_edge.benchmarks.estimate.profile import Cache, DeviceProfile
from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.report import BenchReport, BundleResult
from ddtasnet_edge.benchmarks.suite import ROUNDS, Options, run_suite
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.errors import DeviceError

#: Per bundle. With 30 bundles of a runtime, some of 20 ms per hop, a runtime takes several minutes.
HOPS = 150
COLUMNS = ("runtime", "model", "recipe", "measured", "predicted", "error")
LEGEND = """\
measured: p50 of a hop in ms, of the fastest round; predicted by the profile that the probes of the same run fitted"""


@dataclass(frozen=True)
class HostCheck:
    """A preset: what was measured and what the probes had predicted."""

    measured: Measured
    predicted: Estimate

    @property
    def error(self) -> float:
        """Predicted / measured - 1."""
        return self.predicted.us / self.measured.p50_us - 1

    def row(self) -> list[str]:
        """Cells under COLUMNS."""
        cost = self.measured.cost
        times = (self.measured.p50_us, self.predicted.us)
        return [cost.runtime, cost.model, cost.recipe, *(f"{us / 1000:.3f}" for us in times), f"{self.error:+.1%}"]


@dataclass(frozen=True)
class HostReport:
    """What was measured on this machine on one thread. points: probes and presets, told apart by their names.

    system: kernel and C library, no more of it. runtimes: their versions. remark: what else went on meanwhile.
    """

    cpu: str
    cores: int
    system: str
    runtimes: tuple[str, ...]
    hops: int
    rounds: int
    input: str
    caches: tuple[Cache, ...]
    points: tuple[Measured, ...]
    remark: str = ""

    @property
    def probes(self) -> list[Measured]:
        """What the profile is fitted to."""
        return [point for point in self.points if point.cost.model in PROBES]

    @property
    def presets(self) -> list[Measured]:
        """What it is tested on."""
        return [point for point in self.points if point.cost.model not in PROBES]

    def profile(self) -> DeviceProfile:
        """The profile of this machine."""
        return fit_profile(self.cpu, self.cores, self.caches, self.probes)

    def checks(self) -> list[HostCheck]:
        """Each preset beside its prediction."""
        profile = self.profile()
        return [HostCheck(point, estimate(profile, point.cost)) for point in self.presets]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what was measured, then `profile` and `checks`, which follow from it."""
        return {
            **asdict(self),
            "profile": self.profile().to_dict(),
            "checks": [{**asdict(check.predicted), "error": check.error} for check in self.checks()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HostReport:
        """The inverse of `to_dict`; what follows is computed again."""
        given = {name: value for name, value in values.items() if name not in ("profile", "checks")}
        rebuilt = {
            "runtimes": tuple(values["runtimes"]),
            "caches": tuple(Cache(**cache) for cache in values["caches"]),
            "points": tuple(Measured.from_dict(point) for point in values["points"]),
        }
        return cls(**{**given, **rebuilt})

    def rows(self) -> list[list[str]]:
        """The table under COLUMNS."""
        return [check.row() for check in self.checks()]

    def notes(self) -> list[str]:
        """The facts beside the table, and the errors in sum."""
        runtimes = dict.fromkeys(point.cost.runtime for point in self.presets)
        measured = (
            f"{self.hops} hops per bundle in {self.rounds} interleaved rounds, {len(self.probes)} bundles of probes "
            f"and {len(self.presets)} of presets, a run for each runtime; input: {self.input}"
        )
        return [
            f"machine: {self.cpu}, {self.cores} cores, {self.system}; {', '.join(self.runtimes)}; one thread",
            measured,
            *([f"meanwhile: {self.remark}"] if self.remark else []),
            *map(self._errors, runtimes),
        ]

    def _errors(self, runtime: str) -> str:
        errors = [abs(check.error) for check in self.checks() if check.measured.cost.runtime == runtime]
        mean, largest = sum(errors) / len(errors), max(errors)
        return f"{runtime}: mean error {mean:.1%}, largest {largest:.1%}, over {len(errors)} points"


def measure_host(
    folder: Path,
    presets: Sequence[str] = tuple(PRESETS),
    targets: Sequence[str] = TARGETS,
    hops: int = HOPS,
    repeats: int = 1,
    quiet: bool = False,
) -> HostReport:
    """Measure this machine. folder: keeps the bundles for the next time; what it lacks is built there first.

    hops: per bundle and run; repeats: runs of ROUNDS rounds, of which the fastest counts: more of them where others
    are at work beside. Raises DeviceError where Linux does not tell the caches, and other EdgeErrors.
    """
    caches = read_caches()
    console.say(f"bundles are kept in {folder}; remove it to build them anew", quiet)
    with console.activity(quiet) as begin:
        built = [*build_probes(folder, begin, targets), *build_presets(presets, folder, begin, targets)]
    # By size: whatever disturbs this machine for a while disturbs a preset and the probes next to it.
    bundles = sorted(built, key=lambda bundle: int(bundle.manifest.graph["weight_bytes"]))
    runs = [_run([b for b in bundles if b.manifest.target == target], hops, repeats, quiet) for target in targets]
    results = [result for run in runs for result in run.results]
    ordered = [bundle for target in targets for bundle in bundles if bundle.manifest.target == target]
    machine = describe_machine()
    return HostReport(
        cpu=machine.cpu,
        cores=machine.logical_cores,
        system=f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        runtimes=tuple(dict.fromkeys(result.runtime for result in results)),
        hops=hops,
        rounds=min(ROUNDS, hops) * repeats,
        input=runs[0].input,
        caches=caches,
        points=tuple(_measured(bundle, result) for bundle, result in zip(ordered, results, strict=True)),
    )


def _run(bundles: Sequence[Bundle], hops: int, repeats: int, quiet: bool) -> BenchReport:
    """All bundles of a runtime, each with the rounds of every repeat."""
    reports = [run_suite(bundles, Options(hops=hops), quiet) for _ in range(repeats)]
    pooled = (
        replace(results[0], rounds=tuple(one for result in results for one in result.rounds))
        for results in zip(*(report.results for report in reports), strict=True)
    )
    return replace(reports[0], results=tuple(pooled))


def read_caches(root: Path = Path("/")) -> tuple[Cache, ...]:
    """The caches of one core beyond its first, the smallest first, as Linux shows them below `root`."""
    folders = sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*"))
    found = [_cache(folder) for folder in folders if _text(folder / "level") != "1"]
    if not found:
        raise DeviceError("this system does not show its caches in /sys; a profile of it cannot be measured")
    return tuple(sorted(found, key=lambda cache: cache.bytes))


def _cache(folder: Path) -> Cache:
    size, units = _text(folder / "size"), {"K": 1 << 10, "M": 1 << 20}
    shared = _text(folder / "shared_cpu_map").replace(",", "")
    return Cache(
        name=f"l{_text(folder / 'level')}",
        bytes=int(size.rstrip("KM")) * units.get(size[-1:], 1),
        shared_by=int(shared, 16).bit_count(),
        source="/sys/devices/system/cpu",
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _measured(bundle: Bundle, result: BundleResult) -> Measured:
    return Measured(
        cost=cost_of(bundle),
        # Whoever shares this machine's memory disturbs whole rounds; the profile is that of the machine alone.
        p50_us=min(one.hop_times.percentile_us(500) for one in result.rounds),
        overhead_us=result.overhead_us or 0.0,
        bandwidth=result.bandwidth,
        peak_rss_bytes=result.peak_rss_bytes,
    )
