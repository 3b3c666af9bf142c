"""Float graphs become integer graphs: recipes, calibration, and one quantizer per target."""

from ddtasnet_edge.quantize.recipe import FLOAT32, INT4, INT8, RECIPES, Recipe, recipe_named
from ddtasnet_edge.quantize.registry import QUANTIZERS, quantizer_for

__all__ = ["FLOAT32", "INT4", "INT8", "QUANTIZERS", "RECIPES", "Recipe", "quantizer_for", "recipe_named"]
