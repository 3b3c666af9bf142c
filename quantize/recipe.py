"""Recipes: what is quantized, how, and with how many bits. Saved with every bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.config import nearest
from ddtasnet_edge.errors import ConfigError

# Layers that stay float32 in every recipe: CBAM computes gates, which scale whole frames, and is small next to the
# recurrent weights. So does the DFT, whose rounding error would be heard directly; its matrices are no layers.
FLOAT_BLOCKS = ("time_cbam", "spectral_cbam")


@dataclass(frozen=True)
class Recipe:
    """`<method>_wi<weight bits>_a<activations>`: what a bundle's matrix products are computed with.

    Weights are quantized symmetrically per output channel. Only matrix products of layers are; transforms, CBAM,
    what lies between the products (normalisation, atan2, softmax, gates, applying the masks) and every state slot
    stay float32.
    """

    name: str
    method: str
    weight_bits: int
    activation_bits: int | None
    summary: str

    @property
    def is_float(self) -> bool:
        """True for the recipe that quantizes nothing."""
        return self.method == "float"

    @property
    def needs_calibration(self) -> bool:
        """True when activation ranges are fixed in advance from real music."""
        return self.method == "static"

    def quantizes(self, layer: str | None) -> bool:
        """Whether the matrix product of this layer is quantized; a product that is no layer never is."""
        return (
            not self.is_float and layer is not None and layer.removeprefix("model.").split(".")[0] not in FLOAT_BLOCKS
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


FLOAT32 = Recipe("float32", "float", 32, None, "no quantization: the reference on each target")

INT8 = Recipe(
    "static_wi8_ai8",
    "static",
    8,
    8,
    "INT8 weights, INT8 activations with ranges calibrated on real music; what --int8 means. Fastest where the "
    "CPU has integer dot products; a level far above the calibration set is clipped",
)

DYNAMIC_INT8 = Recipe(
    "dynamic_wi8_afp32",
    "dynamic",
    8,
    None,
    "INT8 weights, activation ranges measured on every hop: no calibration and the smaller loss. On openvino this "
    "is weight-only INT8: NNCF stores INT8 weights and leaves it to the CPU plugin to quantize activations",
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (FLOAT32, INT8, DYNAMIC_INT8)}


def recipe_named(name: str) -> Recipe:
    """A recipe by name. Raises ConfigError that suggests the nearest."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}': {nearest(name, tuple(RECIPES))}")
    return RECIPES[name]
