"""A recipe applied to a model: every quantized layer with its integers and grids, the same for every format."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.quantize.layer import Grid, QuantizedLayer, QuantizedWeight
from ddtasnet_edge.quantize.observe import Observation
from ddtasnet_edge.quantize.precision import Precision
from ddtasnet_edge.quantize.recipe import Recipe, is_kept_float
from ddtasnet_edge.quantize.rounding import round_nearest, round_with_feedback
from ddtasnet_edge.quantize.simulate import Arithmetic


def layers_of(model: DDTasNet) -> dict[str, Tensor]:
    """Every layer of a model, in its order, with its weight [outputs, inputs]."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.ndim == 2}


def quantize_layers(
    model: DDTasNet, recipe: Recipe, arithmetic: Arithmetic, observations: Mapping[str, Observation]
) -> dict[str, QuantizedLayer]:
    """The layers that a recipe quantizes, by name.

    observations: of every product; may be empty for a recipe that needs no calibration. Raises ConfigError for a
    recipe that names a layer that the model lacks, or a model without matrix products.
    """
    weights = layers_of(model)
    if all(is_kept_float(name) for name in weights):
        raise ConfigError("the model has no matrix product to quantize; export it as float32")
    recipe.check(weights)
    chosen = {name: recipe.precision_of(name) for name in weights}
    return {
        name: quantize_layer(name, weights[name], precision, arithmetic, observations.get(name))
        for name, precision in chosen.items()
        if not precision.is_float
    }


def quantize_layer(
    name: str, weight: Tensor, precision: Precision, arithmetic: Arithmetic, seen: Observation | None
) -> QuantizedLayer:
    """One layer in one precision. seen: None for a precision that needs no calibration."""
    integers = _round(weight, precision, seen)
    if not precision.is_static:
        return QuantizedLayer(name, precision, integers)
    assert seen is not None, "a static precision comes with an observation"
    output = Grid.over(seen.low_out, seen.high_out) if arithmetic.static_output else None
    return QuantizedLayer(name, precision, integers, Grid.over(seen.low, seen.high), output)


def _round(weight: Tensor, precision: Precision, seen: Observation | None) -> QuantizedWeight:
    """Eight bits to the nearest: feedback gains nothing there. Four bits with feedback, when music was heard."""
    if precision.weight_bits == 8 or seen is None:
        return round_nearest(weight, precision.weight_bits, precision.block)
    return round_with_feedback(weight, precision.weight_bits, precision.block, seen.moment)
