"""Pictures of quantization: what each layer bears, and what each recipe costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddtasnet_edge.figures import MARKERS, save_figure

if TYPE_CHECKING:
    from ddtasnet_edge.quantize.compare import RecipeResult
    from ddtasnet_edge.quantize.sensitivity import Sensitivity

# Smallest change drawn on a logarithmic axis, dB.
LEAST = 1e-4


def plot_sensitivity(sensitivity: Sensitivity, title: str, path: Path) -> None:
    """A bar for each layer and precision: largest change of SDR of any stem with that layer alone quantized."""
    from matplotlib.figure import Figure

    layers = list(sensitivity.effects)
    names = list(next(iter(sensitivity.effects.values())))
    figure = Figure(figsize=(9.0, 0.42 * len(layers) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        values = [max(abs(sensitivity.effects[layer][name].worst_dsdr), LEAST) for layer in layers]
        axes.barh([row + index * height for row in range(len(layers))], values, height, label=name)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(layers))], layers)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("largest change of uSDR of any stem of any clip, dB")
    axes.set_title(title)
    axes.legend()
    save_figure(figure, path)


def plot_recipes(results: Sequence[RecipeResult], path: Path) -> None:
    """Bytes of weights that a hop reads against the largest change of SDR, a point for each bundle."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(result.model for result in results))
    figure = Figure(figsize=(5.0 * len(models), 4.5), layout="constrained")
    colours = {recipe: f"C{index}" for index, recipe in enumerate(dict.fromkeys(result.recipe for result in results))}
    for column, model in enumerate(models, 1):
        axes = figure.add_subplot(1, len(models), column)
        for result in (each for each in results if each.model == model and each.mean_dsdr):
            axes.scatter(
                result.weight_bytes / 1e6,
                max(result.worst_dsdr, LEAST),
                color=colours[result.recipe],
                marker=MARKERS.get(result.target, "x"),
                label=f"{result.recipe}, {result.target}",
            )
        axes.set_yscale("log")
        axes.set_xlabel("weights read per hop, MB")
        axes.set_ylabel("largest change of SDR of any stem of any clip, dB")
        axes.set_title(model)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    save_figure(figure, path)
