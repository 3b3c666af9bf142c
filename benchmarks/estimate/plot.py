"""The picture of an answer: the time per hop against the hop budget, a panel for each board."""

from __future__ import annotations

from pathlib import Path

from ddtasnet_edge.benchmarks.estimate.answer import MEASURED, Answer, Verdict
from ddtasnet_edge.benchmarks.estimate.model import HEADROOM
from ddtasnet_edge.figures import MARKERS, save_figure

OTHER = "x"
#: Inches. The legend has three columns of names of recipes.
NARROWEST = 9.0
# How far targets stand beside each other, in models.
STEP = 0.2


def plot_answer(answer: Answer, path: Path) -> None:
    """Draw it in the format that the name of the file ends in; measured points are filled."""
    from matplotlib.figure import Figure

    boards = list(answer.boards)
    models = list(dict.fromkeys(verdict.model for verdict in answer.verdicts))
    recipes = {r: f"C{i}" for i, r in enumerate(dict.fromkeys(verdict.recipe for verdict in answer.verdicts))}
    targets = list(dict.fromkeys(verdict.target for verdict in answer.verdicts))
    figure = Figure(figsize=(max(3.2 * len(boards), NARROWEST), 4.5), layout="constrained")
    panels = figure.subplots(1, len(boards), squeeze=False, sharey=True)[0]
    for board, axes in zip(boards, panels, strict=True):
        found = [verdict for verdict in answer.verdicts if verdict.board == board]
        for verdict in found:
            place = models.index(verdict.model) + STEP * (targets.index(verdict.target) - (len(targets) - 1) / 2)
            axes.errorbar(
                [place],
                [verdict.us / 1000],
                yerr=_band(verdict),
                color=recipes[verdict.recipe],
                marker=MARKERS.get(verdict.target, OTHER),
                fillstyle="full" if verdict.how == MEASURED else "none",
                linestyle="none",
                label=f"{verdict.recipe}, {verdict.target}, {verdict.how}",
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


def _band(verdict: Verdict) -> list[list[float]]:
    below, above = verdict.us - verdict.low_us, verdict.high_us - verdict.us
    return [[max(below, 0.0) / 1000], [max(above, 0.0) / 1000]]
