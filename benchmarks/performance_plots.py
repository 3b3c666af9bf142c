"""The pictures of the performance page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.benchmarks.report import BenchReport, BundleResult
from ddtasnet_edge.benchmarks.scaling import ScalingReport
from ddtasnet_edge.figures import MARKERS, save_figure

BINS = 60
# Of a reference that has no marker of its own.
OTHER = "x"


def plot_hops(report: BenchReport, path: Path) -> None:
    """How long hops took: a row for each model, a column for each target, a line for each recipe."""
    models = list(dict.fromkeys(result.model for result in report.results))
    targets = list(dict.fromkeys(result.target for result in report.results))
    colours = _colours(result.recipe for result in report.results)
    figure = _figure(3.4 * len(targets), 2.8 * len(models))
    panels = figure.subplots(len(models), len(targets), squeeze=False, sharex=True)
    for model, row in zip(models, panels, strict=True):
        of_model = [result for result in report.results if result.model == model]
        edges = _edges(of_model)
        for target, axes in zip(targets, row, strict=True):
            for result in (each for each in of_model if each.target == target):
                times = np.array(result.hop_times.times_us) / 1000
                axes.hist(times, edges, histtype="step", color=colours[result.recipe], label=result.recipe)
            axes.axvline(of_model[0].hop_times.budget_us / 1000, color="black", linestyle=":", label="hop budget")
            axes.set(xscale="log", title=f"{model}, {target}", xlabel="ms per hop", ylabel="hops")
    _save_with_legend(figure, path)


def plot_floor(report: BenchReport, path: Path) -> None:
    """p50 against the bytes of weights that a hop reads, above the line of what reading them takes."""
    figure = _figure(7.0, 5.0)
    axes = figure.add_subplot()
    axes.plot(*_floor_line(report.results), color="black", label="floor: one thread reads the weights once")
    colours = _colours(result.recipe for result in report.results)
    for (recipe, target), results in _by_recipe_and_target(report.results).items():
        axes.scatter(
            [result.weight_bytes / 1e6 for result in results],
            [result.hop_times.percentile_us(500) / 1000 for result in results],
            color=colours[recipe],
            marker=MARKERS.get(target, OTHER),
            label=f"{recipe}, {target}",
        )
    axes.set(xscale="log", yscale="log", xlabel="weights read per hop, MB", ylabel="p50 per hop, ms")
    axes.grid(alpha=0.3)
    _save_with_legend(figure, path)


def plot_scaling(report: ScalingReport, path: Path) -> None:
    """p99 as a share of the hop budget over the presets, a panel for each number of threads."""
    presets = list(dict.fromkeys(model.preset for model in report.models))
    whole = [case for case in report.cases() if case.model.name == case.model.preset]
    threads = list(dict.fromkeys(case.threads for case in whole))
    colours = _colours(case.recipe for case in whole)
    figure = _figure(5.0 * len(threads), 4.5)
    for axes, count in zip(figure.subplots(1, len(threads), squeeze=False, sharey=True)[0], threads, strict=True):
        of_count = [case for case in whole if case.threads == count]
        for (recipe, target), cases in _by_recipe_and_target(of_count).items():
            axes.plot(
                [presets.index(case.model.preset) for case in cases],
                [case.p99_us / case.model.budget_us for case in cases],
                color=colours[recipe],
                marker=MARKERS.get(target, OTHER),
                label=f"{recipe}, {target}",
            )
        axes.axhline(1.0, color="black", linestyle=":", label="hop budget")
        axes.set_xticks(range(len(presets)), presets)
        axes.set(yscale="log", ylabel="p99 / hop budget", title=f"{count} thread{'s' if count > 1 else ''}")
        axes.grid(alpha=0.3)
    _save_with_legend(figure, path)


def _floor_line(results: Iterable[BundleResult]) -> tuple[list[float], list[float]]:
    """MB and ms in the order of MB; of bundles that read about as much, the lowest, as nothing undercuts a floor."""
    floor: dict[str, tuple[float, float]] = {}
    for result in results:
        point = (result.weight_bytes / 1e6, result.floor_us / 1000)
        key = f"{point[0]:.1e}"
        floor[key] = min(floor.get(key, point), point, key=lambda each: each[1])
    line = sorted(floor.values())
    return [size for size, _ in line], [time for _, time in line]


def _save_with_legend(figure: Any, path: Path) -> None:
    """Write a figure with one legend for all panels, below them."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= zip(labels, handles, strict=True)
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3, fontsize="x-small")
    save_figure(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _colours(recipes: Iterable[str]) -> dict[str, str]:
    return {recipe: f"C{index}" for index, recipe in enumerate(dict.fromkeys(recipes))}


def _edges(results: Sequence[BundleResult]) -> Any:
    """Edges of bins that hold every hop and the budget, evenly on a logarithmic axis, in milliseconds."""
    times = [elapsed for result in results for elapsed in result.hop_times.times_us]
    return np.geomspace(0.9 * min(times), 1.1 * max(times), BINS) / 1000


def _by_recipe_and_target(items: Iterable[Any]) -> dict[tuple[str, str], list[Any]]:
    """BundleResults or Cases in groups."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for item in items:
        groups.setdefault((item.recipe, item.target), []).append(item)
    return groups
