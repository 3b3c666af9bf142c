"""The box plot: how uSDR spreads over tracks."""

from __future__ import annotations

import math
from pathlib import Path

from ddtasnet_edge.evaluation.report import ESTIMATES, EvalReport
from ddtasnet_edge.figures import check_plot, save_figure

COLOURS = {"floor": "#bbbbbb", "model": "#4477aa", "ceiling": "#dddddd"}
# Inches; width of one box in the unit of the axis, where stems are 1 apart.
SIZE, WIDTH = (8.0, 4.5), 0.22


def plot_report(report: EvalReport, path: Path) -> None:
    """Draw uSDR over tracks, a box for the floor, the model and the ceiling of each stem, into a file."""
    check_plot(path)
    from matplotlib.figure import Figure

    # A figure of its own, not pyplot's: no window system is touched.
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    sources = [stem.source for stem in report.tracks[0].stems]
    for offset, name in enumerate(ESTIMATES, -1):
        values = [[getattr(track.stems[index], name).usdr for track in report.tracks] for index in range(len(sources))]
        axes.boxplot(
            [[value for value in column if math.isfinite(value)] for column in values],
            positions=[index + offset * WIDTH * 1.2 for index in range(len(sources))],
            widths=WIDTH,
            patch_artist=True,
            boxprops={"facecolor": COLOURS[name]},
            medianprops={"color": "black"},
            label=name,
            manage_ticks=False,
        )
    axes.set_xticks(range(len(sources)), sources)
    axes.set_ylabel("uSDR per track, dB")
    axes.set_title(f"{report.name} ({report.weights} weights), {len(report.tracks)} tracks")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    save_figure(figure, path)
