"""What each pass of the step gains: the step with all passes against the step without one, in the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.report import BenchReport, BundleResult
from ddtasnet_edge.benchmarks.suite import Options, run_suite
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.dependencies import require

# More than for a bundle alone: a pass may gain two hundredths.
HOPS = 1500
RECIPE = "float32"
EVERY = "all passes"
COLUMNS = ("model", "target", "pass", "p50 off", "p50 on", "gain", "low", "high")
LEGEND = """\
p50: ms per hop, without the pass (off) and with it (on), the other passes in place, float32; gain: off / on, the median
over rounds of the ratio within one round; low, high: its smallest and largest"""


@dataclass(frozen=True)
class PassGain:
    """One pass on one target.

    off_us, on_us: p50 of all hops without it and with it. gain: how many times as long a hop takes without it, median
    over the rounds of the ratio within one round; low, high: the smallest and the largest of these.
    """

    name: str
    model: str
    target: str
    off_us: float
    on_us: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class PassRun:
    """The steps of one target in one run: the first has all passes, each of the others lacks one of `passes`."""

    passes: tuple[str, ...]
    report: BenchReport

    def gains(self) -> Iterator[PassGain]:
        """One for each pass."""
        every, *others = self.report.results
        for name, lacking in zip(self.passes, others, strict=True):
            ratios = [off / on for off, on in zip(_medians(lacking), _medians(every), strict=True)]
            yield PassGain(
                name=name,
                model=every.model,
                target=every.target,
                off_us=lacking.hop_times.percentile_us(500),
                on_us=every.hop_times.percentile_us(500),
                gain=median(ratios),
                low=min(ratios),
                high=max(ratios),
            )


@dataclass(frozen=True)
class PassReport:
    """All passes of all targets. model: as it was asked for."""

    model: str
    runs: tuple[PassRun, ...]

    def gains(self) -> Iterator[PassGain]:
        """One for each pass of each target."""
        for run in self.runs:
            yield from run.gains()

    def rows(self) -> list[list[str]]:
        """The table: one row per pass of a target under COLUMNS."""
        return [
            [
                *(gain.model, gain.target, gain.name),
                *(f"{gain.off_us / 1000:.3f}", f"{gain.on_us / 1000:.3f}"),
                *(f"{ratio:.2f}" for ratio in (gain.gain, gain.low, gain.high)),
            ]
            for gain in self.gains()
        ]

    def notes(self) -> list[str]:
        """The facts beside the table, one line each."""
        first = self.runs[0].report
        runtimes = dict.fromkeys(result.runtime for run in self.runs for result in run.report.results)
        return [first.machine.note(first.device), first.mode_note(), ", ".join(runtimes)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: `model`; `runs`, one per target, each with `passes` and `report` as of BenchReport; and
        `rows`, what follows from them, each with `pass` and the fields of PassGain beside its name.
        """
        rows = [asdict(gain) for gain in self.gains()]
        return {
            "model": self.model,
            "runs": [{"passes": list(run.passes), "report": run.report.to_dict()} for run in self.runs],
            "rows": [{"pass": row.pop("name"), **row} for row in rows],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PassReport:
        """The inverse of `to_dict`; the rows are computed again."""
        runs = (PassRun(tuple(run["passes"]), BenchReport.from_dict(run["report"])) for run in values["runs"])
        return cls(values["model"], tuple(runs))


def run_passes(model: str, options: Options, quiet: bool = False) -> PassReport:
    """Build the step of every target with all passes and without each, and time all of a target in one run.

    Raises ConfigError or CheckpointError for a model that cannot be found, MissingDependencyError without the tools.
    """
    require(("torch", "safetensors"), "building steps to measure", "export")
    runs: list[PassRun] = []
    with tempfile.TemporaryDirectory() as temporary:
        for target in TARGETS:
            with console.activity(quiet) as begin:
                bundles = _build(model, target, Path(temporary), begin)
            _, *passes = bundles
            runs.append(PassRun(tuple(passes), run_suite(list(bundles.values()), options, quiet)))
    return PassReport(model, tuple(runs))


def _medians(result: BundleResult) -> list[float]:
    """The median hop of each round."""
    return [one.hop_times.percentile_us(500) for one in result.rounds]


def _build(model: str, target: str, folder: Path, begin: Callable[[str], None]) -> dict[str, Bundle]:
    """The step of one target by the pass that it lacks, the one with all passes first."""
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.export.passes import passes_of
    from ddtasnet_edge.quantize import recipe_named

    bundles = {}
    for without in (None, *passes_of(target)):
        name = without.name if without else EVERY
        begin(f"{target}: {f'without {name}' if without else name}: building")
        place = folder / f"{target} {name}"
        place.mkdir()
        Compiler(model, without=without).build(place, target, recipe_named(RECIPE))
        bundles[name] = read_bundle(place)
    return bundles
