"""The picture of an answer: the time per hop against the hop budget, a panel for each board."""

from __future__ import annotations

from pathlib import Path

from ddtasnet_edge.benchmarks.estimate.answer import MEASURED, Answer, Verdict
from ddtasnet_edge.benchmarks.estimate.model import HEADROOM
from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.figures import MARKERS, save_figure

OTHER = "x"
#: Inches. The legend has three columns of names of recipes.
NARROWEST = 9.0
# How far targets stand beside each other, and all recipes of a target together, in models.
STEP, SPREAD = 0.28, 0.18
#: How bundles of the run are drawn beside presets that nobody built here.
HEAVY, LIGHT = {"markersize": 8.0, "markeredgewidth": 2.2, "zorder": 3.0}, {"markersize": 5.0}


def plot_answer(answer: Answer, path: Path) -> None:
    """Draw it in the format that the name of the file ends in; measured points are filled, bundles that have a name
    heavy."""
    from matplotlib.figure import Figure

    boards = list(answer.boards)
    models = _models(answer)
    recipes = list(dict.fromkeys(verdict.recipe for verdict in answer.verdicts))
    targets = sorted({verdict.target for verdict in answer.verdicts})
    figure = Figure(figsize=(max(3.2 * len(boards), NARROWEST), 4.5), layout="constrained")
    panels = figure.subplots(1, len(boards), squeeze=False, sharey=True)[0]
    for board, axes in zip(boards, panels, strict=True):
        found = [verdict for verdict in answer.verdicts if verdict.board == board]
        for verdict in found:
            recipe = recipes.index(verdict.recipe)
            place = (
                models.index(verdict.model)
                + STEP * _middled(targets.index(verdict.target), len(targets))
                + SPREAD * _middled(recipe, len(recipes)) / len(recipes)
            )
            axes.errorbar(
                [place],
                [verdict.us / 1000],
                yerr=_band(verdict),
                color=f"C{recipe}",
                marker=MARKERS.get(verdict.target, OTHER),
                fillstyle="full" if verdict.how == MEASURED else "none",
                linestyle="none",
                label=_label(verdict),
                **(HEAVY if verdict.bundle else LIGHT),
            )
        budget = found[0].budget_us / 1000
        axes.axhline(budget, color="black", linestyle=":", label="hop budget")
        axes.axhline((1 - HEADROOM) * budget, color="grey", linestyle=":", label=f"{HEADROOM:.0%} headroom")
        axes.set_xticks(range(len(models)), models)
        axes.set(yscale="log", title=board, ylabel="ms per hop" if axes is panels[0] else None)
        axes.grid(alpha=0.3)
    entries = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3, fontsize="x-small")
    save_figure(figure, path)


def _models(answer: Answer) -> list[str]:
    """The models from left to right: presets from the smallest, then others as they come."""
    found = dict.fromkeys(verdict.model for verdict in answer.verdicts)
    return [*(name for name in PRESETS if name in found), *(name for name in found if name not in PRESETS)]


def _middled(index: int, count: int) -> float:
    """How far one of several stands from the middle of all."""
    return index - (count - 1) / 2


def _label(verdict: Verdict) -> str:
    named = ", this run" if verdict.bundle else ""
    return f"{verdict.recipe}, {verdict.target}, {verdict.how}{named}"


def _band(verdict: Verdict) -> list[list[float]]:
    below, above = verdict.us - verdict.low_us, verdict.high_us - verdict.us
    return [[max(below, 0.0) / 1000], [max(above, 0.0) / 1000]]
