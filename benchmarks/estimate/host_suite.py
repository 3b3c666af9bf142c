"""Measures probes and presets in the same interleaved rounds: the ones fit this machine's profile, the others test."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.estimate.cost import cost_of
from ddtasnet_edge.benchmarks.estimate.host import Measured, fit_profile
from ddtasnet_edge.benchmarks.estimate.host_worker import MODULE, ShortRound
from ddtasnet_edge.benchmarks.estimate.model import Estimate, estimate
from ddtasnet_edge.benchmarks.estimate.probes import PROBES, build_presets, build_probes
from ddtasnet_edge.benchmarks.estimate.profile import Cache, DeviceProfile
from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import run_process
from ddtasnet_edge.benchmarks.worker import Job
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.errors import DeviceError

# Of each bundle and round. Neither the state nor what it holds changes what a hop computes, so few hops warm up.
HOPS, WARMUP = 30, 20
#: Disturbances last for seconds, so many rounds find what few long ones miss. A round takes a minute and a half.
ROUNDS = 5
#: What an estimate of this machine may be off by.
GOAL = 0.15
COLUMNS = ("runtime", "model", "recipe", "measured", "predicted", "error", "repeated", "p50")
LEGEND = """\
measured: a hop in ms, of the fastest round, what a tenth of its hops was faster than
predicted: by the profile that the probes of the same run fitted
repeated: how far that is from itself, measured in every other round and in the rest
p50: error against the middle hop of the fastest round"""


@dataclass(frozen=True)
class HostCheck:
    """A preset: what was measured and what the probes had predicted."""

    measured: Measured
    predicted: Estimate

    @property
    def error(self) -> float:
        """Predicted / measured - 1."""
        return self.predicted.us / self.measured.us - 1

    @property
    def error_of_p50(self) -> float:
        """As `error`, against the middle hop, which whoever shares this machine makes longer."""
        return self.predicted.us / self.measured.p50_us - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what was measured stands among the points of the report."""
        return {**asdict(self.predicted), "error": self.error, "error_of_p50": self.error_of_p50}

    def row(self) -> list[str]:
        """Cells under COLUMNS."""
        cost, repeated = self.measured.cost, self.measured.repeated
        times = (self.measured.us, self.predicted.us)
        return [
            *(cost.runtime, cost.model, cost.recipe, *(f"{us / 1000:.3f}" for us in times), f"{self.error:+.1%}"),
            *("-" if repeated is None else f"{repeated:.1%}", f"{self.error_of_p50:+.1%}"),
        ]


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

    @cached_property
    def profile(self) -> DeviceProfile:
        """The profile of this machine."""
        return fit_profile(self.cpu, self.cores, self.caches, self.probes)

    def checks(self) -> list[HostCheck]:
        """Each preset beside its prediction."""
        return [HostCheck(point, estimate(self.profile, point.cost)) for point in self.presets]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what was measured, then `profile` and `checks`, which follow from it."""
        return {
            **asdict(self),
            "profile": self.profile.to_dict(),
            "checks": [check.to_dict() for check in self.checks()],
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
            f"{self.hops} hops per bundle in each of {self.rounds} interleaved rounds, {len(self.probes)} bundles of "
            f"probes and {len(self.presets)} of presets; input: {self.input}"
        )
        return [
            f"machine: {self.cpu}, {self.cores} cores, {self.system}; {', '.join(self.runtimes)}; one thread",
            measured,
            *([f"meanwhile: {self.remark}"] if self.remark else []),
            *map(self._errors, runtimes),
            f"goal: {self.goal()}",
            f"noise: {self.noise()}",
        ]

    def goal(self) -> str:
        """A sentence: which runtimes reach GOAL on every point, by what is called measured and by the middle hop."""
        met: list[str] = []
        missed: dict[str, list[HostCheck]] = {}
        for runtime in dict.fromkeys(point.cost.runtime for point in self.presets):
            checks = [check for check in self.checks() if check.measured.cost.runtime == runtime]
            if _within([check.error for check in checks] + [check.error_of_p50 for check in checks]) == 2 * len(checks):
                met.append(runtime)
            else:
                missed[runtime] = checks
        said = f"{GOAL:.0%} on every point is met by {' and '.join(met) or 'no runtime'}"
        if not missed:
            return said
        others = [check for checks in missed.values() for check in checks]
        points = len(others) - _within([check.error for check in others])
        points_of_p50 = len(others) - _within([check.error_of_p50 for check in others])
        return (
            f"{said} and missed by {' and '.join(missed)}: on {points} of {len(others)} points together, against the "
            f"middle hop on {points_of_p50}"
        )

    def noise(self) -> str:
        """A sentence: how far rounds, and hops within a round, of the same bundle are apart."""
        rounds = [max(point.rounds_us) / point.us - 1 for point in self.points]
        hops = [point.p50_us / point.us - 1 for point in self.points]
        return (
            f"of {len(self.points)} bundles the slowest round took {median(rounds):.0%} longer than the fastest "
            f"(median; at most {max(rounds):.0%}), and the middle hop {median(hops):.0%} longer than what a tenth of "
            f"the hops was faster than (at most {max(hops):.0%})"
        )

    def _errors(self, runtime: str) -> str:
        checks = [check for check in self.checks() if check.measured.cost.runtime == runtime]
        measured = _in_sum([check.error for check in checks])
        middle = _in_sum([check.error_of_p50 for check in checks])
        return f"{runtime}: {measured}; against p50: {middle}{self._repeated(runtime)}"

    def _repeated(self, runtime: str) -> str:
        of_runtime = [point.repeated for point in self.points if point.cost.runtime == runtime]
        found = [repeated for repeated in of_runtime if repeated is not None]
        if not found:
            return ""
        return f"; measured in halves of the rounds: {sum(found) / len(found):.1%} apart, at most {max(found):.1%}"


def _within(errors: Sequence[float]) -> int:
    return sum(abs(error) <= GOAL for error in errors)


def _in_sum(errors: Sequence[float]) -> str:
    sizes = [abs(error) for error in errors]
    return (
        f"mean error {sum(sizes) / len(sizes):.1%}, largest {max(sizes):.1%}, "
        f"{_within(errors)} of {len(sizes)} points within {GOAL:.0%}"
    )


def measure_host(
    folder: Path,
    presets: Sequence[str] = tuple(PRESETS),
    targets: Sequence[str] = TARGETS,
    hops: int = HOPS,
    rounds: int = ROUNDS,
    quiet: bool = False,
) -> HostReport:
    """Measure this machine. folder: keeps the bundles for the next time; what it lacks is built there first.

    hops: per bundle and round. rounds: each of every bundle in turn, of which the fastest counts. Raises DeviceError
    where Linux does not tell the caches, and other EdgeErrors.
    """
    caches = read_caches()
    console.say(f"bundles are kept in {folder}; remove it to build them anew", quiet)
    with console.activity(quiet) as begin:
        built = [*build_probes(folder, begin, targets), *build_presets(presets, folder, begin, targets)]
    # By size: whatever disturbs this machine for a while disturbs a preset and the probes next to it.
    bundles = sorted(built, key=lambda bundle: int(bundle.manifest.graph["weight_bytes"]))
    sounds = [load_sound(bundle.manifest.spec, WARMUP + hops) for bundle in bundles]
    made: list[list[ShortRound]] = [[] for _ in bundles]
    for turn in console.progress(range(rounds * len(bundles)), rounds * len(bundles), "measuring", quiet):
        index = turn % len(bundles)
        made[index].append(ShortRound(**run_process(MODULE, _job(bundles[index], hops), sounds[index].hops)))
    machine = describe_machine()
    return HostReport(
        cpu=machine.cpu,
        cores=machine.logical_cores,
        system=f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        runtimes=tuple(dict.fromkeys(each[0].runtime for each in made)),
        hops=hops,
        rounds=rounds,
        input=sounds[0].description,
        caches=caches,
        points=tuple(_measured(bundle, each) for bundle, each in zip(bundles, made, strict=True)),
    )


def _job(bundle: Bundle, hops: int) -> Job:
    weights = int(bundle.manifest.graph["weight_bytes"])
    return Job(str(bundle.path), hops, WARMUP, threads=1, paced=False, weight_bytes=weights)


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


def _measured(bundle: Bundle, rounds: Sequence[ShortRound]) -> Measured:
    return Measured(
        cost=cost_of(bundle),
        rounds_us=tuple(one.calm_us for one in rounds),
        p50_us=min(one.p50_us for one in rounds),
        overhead_us=median(one.overhead_us for one in rounds),
        bandwidth=max(one.bandwidth for one in rounds),
        peak_rss_bytes=max((one.peak_rss_bytes for one in rounds if one.peak_rss_bytes is not None), default=None),
    )
