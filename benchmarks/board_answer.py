"""The last lines of a report about a board: what runs there in time, and what is the largest that would."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.estimate.answer import COLUMNS, LEGEND, Answer, Goal, answer, notes
from ddtasnet_edge.benchmarks.estimate.cost import cost_of, preset_costs
from ddtasnet_edge.benchmarks.estimate.plot import plot_answer
from ddtasnet_edge.benchmarks.estimate.profile import DeviceProfile, load_profile
from ddtasnet_edge.benchmarks.machine import PI_MODELS
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.figures import check_plot

ANY_PI = "rpi"


@dataclass(frozen=True)
class BoardAnswer:
    """shown: the bundles of this run; all_presets: they and every preset, of which most are estimated."""

    profile: DeviceProfile
    shown: Answer
    all_presets: Answer

    def print(self) -> None:
        """Table, facts, and the sentence that answers."""
        console.print_table(f"In time on {self.profile.title}?", COLUMNS, self.shown.rows())
        print(LEGEND, *notes([self.profile]), *self.all_presets.sentences(), sep="\n")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"bundles": self.shown.to_dict(), "all_presets": self.all_presets.to_dict()}


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
    """What to say of bundles on a board. measured: on that very board; what is not in it is estimated."""
    profile = load_profile(board)
    results = {board: measured.results if measured else ()}
    own = [cost_of(bundle) for bundle in bundles]
    known = {(cost.model, cost.target, cost.recipe) for cost in own}
    presets = [cost for cost in preset_costs() if (cost.model, cost.target, cost.recipe) not in known]
    return BoardAnswer(
        profile, answer([profile], own, results, goal), answer([profile], [*own, *presets], results, goal)
    )


def board_of(report: BenchReport) -> str | None:
    """The board that a report was measured on, None for what no profile is about."""
    known = (name for name, title in PI_MODELS.items() if name != ANY_PI and report.machine.name.startswith(title))
    return None if report.device not in PI_MODELS else next(known, None)


def draw(found: BoardAnswer | None, path: Path | None) -> None:
    """The picture, where one was asked for."""
    if found is not None and path is not None:
        plot_answer(found.all_presets, path)
