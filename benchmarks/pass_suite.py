"""What each pass of the step gains: the step with all passes against the step without one, in the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.machine import Machine, describe_machine
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import WARMUP_HOPS, Options
from ddtasnet_edge.benchmarks.timing import measure_hops
from ddtasnet_edge.benchmarks.troubles import machine_notes
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.session import Session

HOPS = 1500
# A pass may gain two hundredths, and a shared machine changes its speed by more from one second to the next: rounds are
# short, and all steps of a target take turns in one process.
ROUND_HOPS, REFRESH_HOPS = 30, 5
FLOAT = "float32"
EVERY, CONTROL = "all passes", "nothing"
COLUMNS = ("model", "target", "pass", "p50 off", "p50 on", "gain", "low", "high")
LEGEND = """\
p50: ms per hop, without the pass (off) and with it (on), the other passes in place; gain: off / on, the median over
rounds of the ratio within one round; low, high: the middle half of these ratios. `nothing` is the step with all
passes, loaded once more: how far its gain is from 1 is how far any may be off"""


@dataclass(frozen=True)
class PassGain:
    """One pass on one target.

    off_us, on_us: p50 without it and with it. gain: how many times as long a hop takes without it, median over the
    rounds of the ratio within one round; low, high: first and third quartile of these.
    """

    name: str
    target: str
    off_us: float
    on_us: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class PassRun:
    """The steps of one target in one run.

    medians_us: median hop of each round of each step; the first step has all passes, each other lacks one of `passes`.
    """

    target: str
    runtime: str
    passes: tuple[str, ...]
    medians_us: tuple[tuple[float, ...], ...]

    def gains(self) -> Iterator[PassGain]:
        """One for each pass."""
        every, *others = self.medians_us
        for name, lacking in zip(self.passes, others, strict=True):
            ratios = [off / on for off, on in zip(lacking, every, strict=True)]
            low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else 3 * ratios
            yield PassGain(name, self.target, median(lacking), median(every), median(ratios), low, high)


@dataclass(frozen=True)
class PassReport:
    """All passes of all targets. model and recipe: as they were asked for; hops: of each step."""

    model: str
    device: str
    machine: Machine
    hops: int
    input: str
    runs: tuple[PassRun, ...]
    recipe: str = FLOAT

    def gains(self) -> Iterator[PassGain]:
        """One for each pass of each target."""
        for run in self.runs:
            yield from run.gains()

    def rows(self) -> list[list[str]]:
        """The table: one row per pass of a target under COLUMNS."""
        return [
            [
                *(Path(self.model).stem, gain.target, gain.name),
                *(f"{gain.off_us / 1000:.3f}", f"{gain.on_us / 1000:.3f}"),
                *(f"{ratio:.2f}" for ratio in (gain.gain, gain.low, gain.high)),
            ]
            for gain in self.gains()
        ]

    def notes(self) -> list[str]:
        """The facts beside the table, one line each."""
        mode = (
            f"mode: {self.recipe}, back-to-back, 1 thread, {self.hops} hops per step in rounds of {ROUND_HOPS}, all "
            f"steps of a target in turn in one process, after {WARMUP_HOPS} warm-up hops; input: {self.input}"
        )
        return [*machine_notes(self.machine, self.device), mode, ", ".join(run.runtime for run in self.runs)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields, and `rows`, what follows from them: `pass` and the fields of PassGain."""
        rows = [asdict(gain) for gain in self.gains()]
        return {**asdict(self), "rows": [{"pass": row.pop("name"), **row} for row in rows]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PassReport:
        """The inverse of `to_dict`; the rows are computed again."""
        fields = {name: value for name, value in values.items() if name != "rows"}
        runs = tuple(_run_from_dict(run) for run in values["runs"])
        return cls(**{**fields, "machine": Machine.from_dict(values["machine"]), "runs": runs})


def _run_from_dict(values: Mapping[str, Any]) -> PassRun:
    medians = tuple(tuple(step) for step in values["medians_us"])
    return PassRun(values["target"], values["runtime"], tuple(values["passes"]), medians)


def run_passes(model: str, options: Options, recipe: str = FLOAT, quiet: bool = False) -> PassReport:
    """Build the step of every target with all passes and without each, and time all of a target in one run.

    recipe: of all steps; one that rounds leaves out the passes that change the products, as those would be rounded
    otherwise.
    Raises ConfigError or CheckpointError for a model that cannot be found, MissingDependencyError without the tools.
    """
    require(("torch", "safetensors"), "building steps to measure", "export")
    runs: list[PassRun] = []
    sound = ""
    for target in TARGETS:
        with tempfile.TemporaryDirectory() as temporary, ExitStack() as opened:
            with console.activity(quiet) as begin:
                bundles = _build(model, target, recipe, Path(temporary), begin)
            every, *others = bundles.values()
            sessions = [opened.enter_context(open_session(bundle)) for bundle in (every, *others, every)]
            _, *passes = bundles
            medians, sound = measure_in_turn(sessions, options.hops, quiet)
            runs.append(PassRun(target, sessions[0].runtime, (*passes, CONTROL), medians))
    return PassReport(model, options.device, describe_machine(), options.hops, sound, tuple(runs), recipe)


def measure_in_turn(sessions: Sequence[Session], hops: int, quiet: bool) -> tuple[tuple[tuple[float, ...], ...], str]:
    """The median hop in microseconds of each round of each session, and what was fed."""
    sound = load_sound(sessions[0].spec, WARMUP_HOPS + ROUND_HOPS)
    for session in sessions:
        measure_hops(session, sound.hops, 1, warmup=WARMUP_HOPS, paced=False)
    rounds = max(1, hops // ROUND_HOPS)
    found: list[list[float]] = [[] for _ in sessions]
    for _ in console.progress(range(rounds), rounds, "measuring", quiet):
        for medians, session in zip(found, sessions, strict=True):
            # The others have taken the caches.
            times = measure_hops(session, sound.hops, ROUND_HOPS, warmup=REFRESH_HOPS, paced=False)
            medians.append(times.percentile_us(500))
    return tuple(tuple(medians) for medians in found), sound.description


def _build(model: str, target: str, recipe: str, folder: Path, begin: Callable[[str], None]) -> dict[str, Bundle]:
    """The step of one target by the pass that it lacks, the one with all passes first."""
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.export.passes import passes_of
    from ddtasnet_edge.quantize import recipe_named

    chosen = recipe_named(recipe)
    bundles = {}
    for without in (None, *(each for each in passes_of(target) if chosen.is_float or each.keeps_products)):
        name = without.name if without else EVERY
        begin(f"{target}: {f'without {name}' if without else name}: building")
        place = folder / f"{target} {name}"
        place.mkdir()
        Compiler(model, without=without).build(place, target, chosen)
        bundles[name] = read_bundle(place)
    return bundles
