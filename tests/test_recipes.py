"""Precisions and recipes: names, files, and what stays float whatever they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.quantize import FLOAT32, INT4, INT8, RECIPES, Recipe, quantizer_for, recipe_named
from ddtasnet_edge.quantize.plan import layers_of, quantize_layers
from ddtasnet_edge.quantize.precision import BLOCKS, BLOCKWISE4, DYNAMIC4, DYNAMIC8, FLOAT, STATIC8, precision_named
from ddtasnet_edge.quantize.recipe import DYNAMIC_INT8, read_recipe
from tests.small import small_config

LAYERS = tuple(layers_of(create_model(small_config())))


class TestPrecisions:
    @pytest.mark.parametrize("precision", [FLOAT, STATIC8, DYNAMIC8, DYNAMIC4, BLOCKWISE4])
    def test_names_are_read_back(self, precision: Any) -> None:
        assert precision_named(precision.name) == precision

    @pytest.mark.parametrize("block", BLOCKS)
    def test_blocks_are_part_of_the_name(self, block: int) -> None:
        assert precision_named(f"dynamic_wi4b{block}_afp32").block == block

    @pytest.mark.parametrize("name", ["int8", "dynamic_wi4b64", "static_wi8_ai8 ", "dynamic_wi2_afp32", ""])
    def test_another_name_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"unknown precision '{name}': expected float32, static_wi8_ai8, dyn"):
            precision_named(name)

    @pytest.mark.parametrize(
        "name",
        ["static_wi4_ai8", "static_wi8_afp32", "dynamic_wi8_ai8", "dynamic_wi4b48_afp32", "dynamic_wi8b32_afp32"],
    )
    def test_what_no_kernel_computes_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"no kernel for precision '{name}'"):
            precision_named(name)


class TestRecipes:
    @pytest.mark.parametrize("recipe", [INT8, DYNAMIC_INT8, INT4], ids=lambda recipe: recipe.name)
    @pytest.mark.parametrize(
        ("layer", "quantized"),
        [
            ("fusion.rnn.weight_hh_l0", True),
            ("time_encoder.basis_and_gate.weight", True),
            ("time_mask.weight", True),
            ("spectral_mask.weight", True),
            ("time_cbam.squeeze.weight", False),
            ("spectral_cbam.temporal.weight", False),
        ],
    )
    def test_what_is_quantized(self, recipe: Recipe, layer: str, quantized: bool) -> None:
        assert recipe.precision_of(layer) == (recipe.layers.get(layer, recipe.precision) if quantized else FLOAT)
        assert FLOAT32.precision_of(layer) == FLOAT

    def test_names_are_those_of_their_precision(self) -> None:
        for name, recipe in RECIPES.items():
            assert name == recipe.name
            used = {recipe.precision, *recipe.layers.values()}
            assert name.replace("_wi8_afp32", "_afp32") == recipe.precision.name or len(used) == 1
            assert (len(used) == 2) == ("wi4" in name)
            assert recipe.needs_calibration == (recipe is not FLOAT32)

    def test_an_unknown_recipe_suggests_the_nearest(self) -> None:
        assert recipe_named("static_wi8_ai8") is INT8
        with pytest.raises(ConfigError, match=r"recipe 'static_w8_a8' and no .json file: .*mean 'static_wi8_ai8'\?"):
            recipe_named("static_w8_a8")

    def test_the_reference_has_no_quantized_form(self) -> None:
        with pytest.raises(ConfigError, match=r"target 'torch' has no quantized form; .*onnx, openvino, tflite"):
            quantizer_for("torch")

    def test_a_model_without_matrix_products_is_refused(self) -> None:
        import torch

        with pytest.raises(ConfigError, match="no matrix product to quantize; export it as float32"):
            quantize_layers(torch.nn.Identity(), INT8, quantizer_for("onnx").ARITHMETIC, {})  # type: ignore[arg-type]


def write(folder: Path, **values: Any) -> Path:
    path = folder / "mine.json"
    path.write_text(json.dumps(values))
    return path


class TestRecipeFiles:
    def test_a_layer_has_what_the_file_says(self, tmp_path: Path) -> None:
        layers = {"time_mask.weight": "float32", "time_skip.weight": "dynamic_wi4b64_afp32"}
        recipe = recipe_named(str(write(tmp_path, precision="dynamic_wi8_afp32", layers=layers)))
        assert recipe.name == "mine"
        assert recipe.precision_of("time_mask.weight") == FLOAT
        assert recipe.precision_of("time_skip.weight").block == 64
        assert recipe.precision_of("fusion.rnn.weight_hh_l0") == DYNAMIC8
        assert recipe.needs_calibration
        recipe.check(LAYERS)

    def test_it_is_what_a_manifest_holds(self, tmp_path: Path) -> None:
        recipe = Recipe("mine", STATIC8, "by hand", {"time_mask.weight": FLOAT})
        assert read_recipe(write(tmp_path, **recipe.to_dict())) == recipe

    def test_a_layer_that_the_model_lacks_is_refused(self, tmp_path: Path) -> None:
        recipe = read_recipe(write(tmp_path, precision="float32", layers={"time_mask.wieght": "dynamic_wi8_afp32"}))
        with pytest.raises(ConfigError, match=r"names layer 'time_mask.wieght', .*did you mean 'time_mask.weight'\?"):
            recipe.check(LAYERS)

    def test_a_layer_that_stays_float_is_refused(self, tmp_path: Path) -> None:
        layers = {"time_cbam.squeeze.weight": "dynamic_wi8_afp32", "spectral_cbam.excite.weight": "float32"}
        recipe = read_recipe(write(tmp_path, precision="float32", layers=layers))
        with pytest.raises(ConfigError, match="which stays float32 in every recipe; leave it out"):
            recipe.check(LAYERS)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "'precision', that of all layers not named, is missing"),
            ({"precision": "int8"}, "unknown precision 'int8'"),
            ({"precision": "float32", "layers": ["time_mask.weight"]}, "is no recipe: expected"),
            ({"precision": "float32", "layer": {}}, r"unknown key 'layer': .*did you mean 'layers'\?"),
            ({"precision": "float32", "name": "static_wi8_ai8"}, "recipe name 'static_wi8_ai8' is taken"),
            ({"precision": "float32", "name": "../up"}, "recipe name '../up' is taken or no file name"),
            ({"precision": "float32", "name": "auto"}, "recipe name 'auto' is taken"),
            ({"precision": "float32", "name": "é"}, "recipe name 'é' is taken or no file name"),
        ],
    )
    def test_an_odd_file_is_one_line(self, values: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=message):
            read_recipe(write(tmp_path, **values))

    def test_no_file_and_no_json(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"cannot read recipe .*nothing.json"):
            recipe_named(str(tmp_path / "nothing.json"))
        (tmp_path / "broken.json").write_text("{")
        with pytest.raises(ConfigError, match=r"cannot read recipe .*broken.json"):
            recipe_named(str(tmp_path / "broken.json"))
