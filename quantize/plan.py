"""A recipe applied to a model: every quantized layer with its integers and grids, the same for every format."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.quantize.layer import Grid, QuantizedLayer
from ddtasnet_edge.quantize.observe import Observation
from ddtasnet_edge.quantize.precision import Precision
from ddtasnet_edge.quantize.recipe import Recipe, is_kept_float
from ddtasnet_edge.quantize.rounding import round_with_feedback
from ddtasnet_edge.quantize.simulate import Arithmetic

# Sigmoid and tanh are flat beyond: sigmoid(8) is 0.9997, so grids spend no steps there.
SATURATION = 8.0


def layers_of(model: DDTasNet) -> dict[str, Tensor]:
    """Every layer of a model, in its order, with its weight [outputs, inputs]."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.ndim == 2}


def quantize_layers(
    model: DDTasNet, recipe: Recipe, arithmetic: Arithmetic, observations: Mapping[str, Observation]
) -> dict[str, QuantizedLayer]:
    """The layers that a recipe quantizes, by name.

    observations: of every product; may be empty when the recipe quantizes none. Raises ConfigError for a recipe that
    names a layer that the model lacks, or a model without matrix products.
    """
    weights = layers_of(model)
    if all(is_kept_float(name) for name in weights):
        raise ConfigError("the model has no matrix product to quantize; export it as float32")
    recipe.check(weights)
    chosen = {name: recipe.precision_of(name) for name in weights}
    return {
        name: quantize_layer(name, weights[name], precision, arithmetic, observations[name])
        for name, precision in chosen.items()
        if not precision.is_float
    }


def quantize_layer(
    name: str, weight: Tensor, precision: Precision, arithmetic: Arithmetic, seen: Observation
) -> QuantizedLayer:
    """One layer in one precision."""
    integers = round_with_feedback(weight, precision.weight_bits, precision.block, seen.moment)
    if not precision.is_static:
        return QuantizedLayer(name, precision, integers)
    output = _output_grid(name, seen) if arithmetic.static_output else None
    return QuantizedLayer(name, precision, integers, Grid.over(seen.low, seen.high), output)


def _output_grid(name: str, seen: Observation) -> Grid:
    """From the smallest to the largest value seen; of what goes into the gates of a memory, what they hear of it."""
    limit = SATURATION if ".rnn." in name else math.inf
    return Grid.over(max(seen.low_out, -limit), min(seen.high_out, limit))
