"""The last lines of a report about a board: what runs there in time, and what is the largest that would."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.estimate.answer import (
    COLUMNS,
    ESTIMATED,
    LEGEND,
    MEASURED,
    MEBIBYTE,
    Answer,
    Goal,
    Verdict,
    answer,
    estimated,
    from_result,
    notes,
)
from ddtasnet_edge.benchmarks.estimate.cost import RUNTIMES, cost_of, preset_costs
from ddtasnet_edge.benchmarks.estimate.plot import plot_answer
from ddtasnet_edge.benchmarks.estimate.profile import DeviceProfile, load_profile
from ddtasnet_edge.benchmarks.machine import PI_MODELS
from ddtasnet_edge.benchmarks.report import BenchReport, BundleResult
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.figures import check_plot

ANY_PI = "rpi"
# Which machine the column MB speaks of.
PEAKS_OF = {
    ESTIMATED: "from peaks on x86-64, assumed to be the same on ARM",
    MEASURED: "the peak on that very machine",
}


@dataclass(frozen=True)
class BoardAnswer:
    """shown: the bundles of this run; all_presets: they and every preset, on one core, most of them estimated.

    title: of the very machine where one was measured, else of the profile. left_out: bundles of a runtime that the
    profile has no figures for.
    """

    profile: DeviceProfile
    title: str
    shown: Answer
    all_presets: Answer
    left_out: tuple[str, ...] = ()

    def print(self) -> None:
        """Table, facts, and the sentence that answers."""
        console.print_table(f"In time on {self.title}?", COLUMNS, self.shown.rows())
        print(LEGEND, *self.notes(), *self.all_presets.sentences(), sep="\n")

    def notes(self) -> list[str]:
        """The facts beside the table, one line each."""
        other = f"measured on {self.title}, estimated for {self.profile.title}"
        return [
            *notes([self.profile]),
            *([] if self.title == self.profile.title else [other]),
            *(f"MB {how}: {PEAKS_OF[how]}" for how in sorted({verdict.how for verdict in self.shown.verdicts})),
            *(f"{name}: not in this answer, as no board has figures of its runtime" for name in self.left_out),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "bundles": self.shown.to_dict(),
            "all_presets": self.all_presets.to_dict(),
            "left_out": list(self.left_out),
        }


def add_goal_options(parser: argparse.ArgumentParser) -> None:
    """Options for what must be reached on a board."""
    goal = parser.add_argument_group("on a board")
    goal.add_argument("--budget-ms", type=float, metavar="MS", help="what a hop may take (hop budget of the bundle)")
    goal.add_argument("--sr", type=int, metavar="HZ", help="with --hop: the budget of hops at another sample rate")
    goal.add_argument("--hop", type=int, metavar="SAMPLES", help="with --sr: the budget of hops of another length")
    goal.add_argument("--plot", type=Path, metavar="FILE", help="time per hop against the budget: .png, .svg or .pdf")


def goal_of(arguments: argparse.Namespace) -> Goal:
    """What those options ask for; checked before any work. Raises ConfigError."""
    if arguments.plot is not None:
        check_plot(arguments.plot)
    return Goal(arguments.budget_ms, arguments.sr, arguments.hop)


def answer_for(board: str, bundles: Sequence[Bundle], goal: Goal, measured: BenchReport | None = None) -> BoardAnswer:
    """What to say of bundles on a board. measured: on that very board; what is not in it is estimated.

    What was measured on several threads is shown as such, and estimated where one core is asked about. A bundle whose
    runtime no profile has is left out. Raises DeviceError for a precision that the profile does not know.
    """
    profile = _profile_of(load_profile(board), measured)
    title = profile.title if measured is None else measured.machine.name
    threads = 1 if measured is None else measured.threads
    known = [bundle for bundle in bundles if bundle.manifest.target in RUNTIMES]
    shown: list[Verdict] = []
    one_core: list[Verdict] = []
    for bundle in known:
        cost, result = cost_of(bundle), _result_of(bundle, measured)
        budget = goal.budget_us(cost.hop_us)
        guess = estimated(profile, cost, budget, bundle.path.name)
        shown.append(guess if result is None else from_result(profile, cost, result, budget, threads))
        one_core.append(shown[-1] if threads == 1 else guess)
    own = {(verdict.model, verdict.target, verdict.recipe) for verdict in shown}
    presets = [cost for cost in preset_costs() if (cost.model, cost.target, cost.recipe) not in own]
    others = answer([profile], presets, goal).verdicts
    return BoardAnswer(
        profile=profile,
        title=title,
        shown=Answer({board: title}, tuple(shown)),
        all_presets=Answer({board: title}, (*one_core, *others)),
        left_out=tuple(bundle.path.name for bundle in bundles if bundle not in known),
    )


def _profile_of(profile: DeviceProfile, measured: BenchReport | None) -> DeviceProfile:
    """With the memory of the machine that was measured, where it tells: boards of one name are sold with several."""
    if measured is None or measured.machine.memory_bytes is None:
        return profile
    return replace(profile, memory_mb=round(measured.machine.memory_bytes / MEBIBYTE))


def _result_of(bundle: Bundle, measured: BenchReport | None) -> BundleResult | None:
    """What was measured of this very bundle: the same graph, and of several with it the one of its name."""
    results = () if measured is None else measured.results
    same = [result for result in results if result.digest == bundle.digest]
    named = [result for result in same if result.bundle == bundle.path.name]
    return next(iter((*named, *same)), None)


def board_of(report: BenchReport) -> str | None:
    """The board that a report was measured on, None for what no profile is about."""
    known = (name for name, title in PI_MODELS.items() if name != ANY_PI and report.machine.name.startswith(title))
    return None if report.device not in PI_MODELS else next(known, None)


def draw(found: BoardAnswer | None, path: Path | None) -> None:
    """The picture, where one was asked for."""
    if found is not None and path is not None:
        plot_answer(found.all_presets, path)
