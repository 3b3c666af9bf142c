"""Recipes: which layer of a model gets which precision. Saved with every bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ddtasnet_edge.config import nearest
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.quantize.precision import BLOCKWISE4, DYNAMIC8, FLOAT, STATIC8, Precision, precision_named

# Layers that stay float32 in every recipe: CBAM computes gates, which scale whole frames, and is small next to the
# recurrent weights. So does the DFT, whose rounding error would be heard directly; its matrices are no layers.
FLOAT_BLOCKS = ("time_cbam", "spectral_cbam")

RECIPE_SUFFIX = ".json"
FORM = '{"precision": NAME, "layers": {LAYER: NAME}}'
# Of a recipe in a file: it becomes a part of folder names.
NAME = re.compile("[A-Za-z0-9_-]+")
# The name of recipes that a search found.
AUTO = "auto"


@dataclass(frozen=True)
class Recipe:
    """`precision` for every matrix product of a layer, but for those in `layers`.

    Transforms, CBAM, what lies between the products (normalisation, atan2, softmax, gates, applying the masks) and
    every state slot stay float32 in all recipes.
    """

    name: str
    precision: Precision
    summary: str
    layers: Mapping[str, Precision] = field(default_factory=dict)

    @property
    def is_float(self) -> bool:
        """True when nothing is quantized."""
        return all(precision.is_float for precision in (self.precision, *self.layers.values()))

    @property
    def needs_calibration(self) -> bool:
        """True when it takes music: to round weights with feedback, and to fix the ranges of static activations."""
        return not self.is_float

    def precision_of(self, layer: str) -> Precision:
        """The precision of a layer, such as `fusion.rnn.weight_hh_l0`."""
        return FLOAT if is_kept_float(layer) else self.layers.get(layer, self.precision)

    def check(self, layers: Collection[str]) -> None:
        """Raise ConfigError when the recipe names a layer that is not among those of a model, or that stays float."""
        if self.name in RECIPES:
            return  # what these say of layers holds where a model has them
        for layer, precision in self.layers.items():
            named = f"recipe '{self.name}' names layer '{layer}'"
            if layer not in layers:
                close = get_close_matches(layer, [name for name in layers if not is_kept_float(name)], n=1, cutoff=0.0)
                raise ConfigError(f"{named}, the model has none such; did you mean '{close[0]}'? a manifest lists them")
            if is_kept_float(layer) and not precision.is_float:
                raise ConfigError(f"{named}, which stays float32 in every recipe; leave it out")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, which `read_recipe` reads."""
        layers = {layer: precision.name for layer, precision in self.layers.items()}
        return {"name": self.name, "precision": self.precision.name, "layers": layers, "summary": self.summary}


def is_kept_float(layer: str) -> bool:
    """Whether a layer is float32 in every recipe."""
    return layer.split(".")[0] in FLOAT_BLOCKS


FLOAT32 = Recipe("float32", FLOAT, "no quantization: the reference on each target")

INT8 = Recipe(
    "static_wi8_ai8",
    STATIC8,
    "INT8 weights, INT8 activations with ranges calibrated on real music; what --int8 means. Fastest where the "
    "CPU has integer dot products; a level far above the calibration set is clipped",
)

DYNAMIC_INT8 = Recipe(
    "dynamic_wi8_afp32",
    DYNAMIC8,
    "INT8 weights, activation ranges measured on every hop: a small loss, and no level is clipped. On openvino "
    "activations stay float32",
)

INT4 = Recipe(
    "dynamic_wi4b64_wi8_afp32",
    BLOCKWISE4,
    "INT4 weights with a scale for every 64 inputs, rounded with error feedback on real music; two small layers that "
    "bear it badly have INT8; what --int4 means. The smallest bundle",
    dict.fromkeys(("time_memory1.rnn.weight_ih_l0", "spectral_memory2.rnn.weight_ih_l0"), DYNAMIC8),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (FLOAT32, INT8, DYNAMIC_INT8, INT4)}


def recipe_named(name: str) -> Recipe:
    """A recipe by name, or from a file when the name ends in .json. Raises ConfigError."""
    if name.endswith(RECIPE_SUFFIX):
        return read_recipe(Path(name))
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}' and no {RECIPE_SUFFIX} file: {nearest(name, tuple(RECIPES))}")
    return RECIPES[name]


def read_recipe(path: Path) -> Recipe:
    """A recipe as `Recipe.to_dict` writes it; `layers` and `summary` may be left out. Raises ConfigError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"cannot read recipe {path}: {error}; expected {FORM}") from error
    known = ("name", "precision", "layers", "summary")
    if not isinstance(values, dict) or not isinstance(values.get("layers", {}), dict):
        raise ConfigError(f"{path} is no recipe: expected {FORM}")
    for key in values:
        if key not in known:
            raise ConfigError(f"{path}: unknown key '{key}': {nearest(key, known)}")
    if "precision" not in values:
        raise ConfigError(f"{path}: 'precision', that of all layers not named, is missing; try dynamic_wi8_afp32")
    name = str(values.get("name", path.stem))
    if name in (*RECIPES, AUTO) or not NAME.fullmatch(name):
        raise ConfigError(f"{path}: recipe name '{name}' is taken or no file name; use letters, digits, - and _")
    layers = {layer: _precision(value, f"{path}: {layer}") for layer, value in values.get("layers", {}).items()}
    summary = str(values.get("summary", f"from {path.name}"))
    return Recipe(name, _precision(values["precision"], f"{path}: precision"), summary, layers)


def _precision(value: object, where: str) -> Precision:
    try:
        return precision_named(str(value))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
