"""What is quantized and what is not in every graph, and that fake quantization computes what runtimes compute."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ddtasnet_edge.bundle import MANIFEST, Bundle, record_files
from ddtasnet_edge.clips import default_clip
from ddtasnet_edge.export import exporter_for
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.metrics import snr
from ddtasnet_edge.quantize import INT8, QUANTIZERS, quantizer_for, recipe_named
from ddtasnet_edge.quantize.layer import QuantizedLayer
from ddtasnet_edge.quantize.plan import quantize_layer, quantize_layers
from ddtasnet_edge.quantize.precision import precision_named
from ddtasnet_edge.quantize.products import stream_hops
from ddtasnet_edge.quantize.recipe import Recipe
from ddtasnet_edge.quantize.simulate import simulated
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.spec import FloatArray
from tests.bundles import MIXED, MIXED_FILE, QUANTIZED, RATE, Workshop
from tests.graphs import StoredWeight, read_graph

FLOAT_BLOCKS = ("time_cbam", "spectral_cbam")
# Fake quantization against the runtime, in dB; the noise of quantization itself is 24 to 46 dB below the stems.
AGREEMENT = 40.0
# There every product rounds its result too. One that falls to the other side of a tie moves a gate by a whole step, and
# the memories carry it on: each product alone agrees to 55 dB and more, all of them together to 38 or 40.
AGREEMENT_STATIC_TFLITE = 35.0
HOPS = 100
PRECISIONS = (
    "static_wi8_ai8", "dynamic_wi8_afp32", "dynamic_wi4_afp32", "dynamic_wi4b64_afp32", "dynamic_wi4b128_afp32",
)  # fmt: skip


def recipe_of(bundle: Bundle) -> Recipe:
    return recipe_named(str(MIXED_FILE) if bundle.manifest.recipe == MIXED else bundle.manifest.recipe)


def planned(bundle: Bundle, tiny: Workshop) -> dict[str, QuantizedLayer]:
    """The layers as they were to be quantized."""
    arithmetic = quantizer_for(bundle.manifest.target).ARITHMETIC
    return quantize_layers(tiny.compiler.source.model, recipe_of(bundle), arithmetic, tiny.compiler.observations)


@pytest.fixture(params=QUANTIZED, ids="-".join)
def bundle(request: pytest.FixtureRequest, tiny: Workshop) -> Bundle:
    """Every target and recipe of the `tiny` preset that is not float."""
    return tiny.bundle(*request.param)


class TestQuantizedGraphs:
    """Read with the format's own reader."""

    def test_the_manifest_says_what_was_quantized(self, bundle: Bundle, tiny: Workshop) -> None:
        facts, recipe = bundle.manifest.quantization, recipe_of(bundle)
        assert facts is not None
        layers = Layers(tiny.compiler.source.model).names
        kept = {layer for layer in layers if layer.startswith(FLOAT_BLOCKS)}
        chosen = {layer: recipe.layers.get(layer, recipe.precision).name for layer in layers - kept}
        assert len(chosen) == 18
        assert facts["layers"] == {layer: name for layer, name in chosen.items() if name != "float32"}
        assert set(facts["float_layers"]) == layers - set(facts["layers"])
        assert facts["recipe"] == recipe.to_dict()

    def test_calibration_is_recorded(self, bundle: Bundle) -> None:
        facts = bundle.manifest.quantization
        assert facts is not None
        assert facts["calibration"]["clips"] == ["song.wav"]
        assert len(facts["calibration"]["sha256"]) == 64

    def test_ranges_hold_what_was_seen_but_no_more_than_gates_hear(self, tiny: Workshop) -> None:
        tflite, seen = quantizer_for("tflite").ARITHMETIC, tiny.compiler.observations
        for name, layer in quantize_layers(tiny.compiler.source.model, INT8, tflite, seen).items():
            assert layer.input is not None
            assert layer.output is not None
            half = 0.51 * layer.input.scale
            assert (layer.input.low, layer.input.high) == pytest.approx((seen[name].low, seen[name].high), abs=half)
            limit = 8.0 if ".rnn." in name else np.inf
            expected = (max(seen[name].low_out, -limit), min(seen[name].high_out, limit))
            assert (layer.output.low, layer.output.high) == pytest.approx(expected, abs=0.51 * layer.output.scale)

    def test_every_graph_holds_the_same_integers_and_scales(self, bundle: Bundle, tiny: Workshop) -> None:
        """Those that were planned, once each, and no others."""
        stored = list(read_graph(bundle).weights)
        for name, layer in planned(bundle, tiny).items():
            matching = [index for index, weight in enumerate(stored) if holds(weight, layer)]
            assert len(matching) == 1, name
            del stored[matching[0]]
        assert not stored

    def test_float_layers_are_float(self, bundle: Bundle, tiny: Workshop) -> None:
        layers = Layers(tiny.compiler.source.model)
        facts = exporter_for(bundle.manifest.target).inspect_graph(bundle.path, layers)
        assert bundle.manifest.quantization is not None
        found = {product.layer for product in facts.products if product.layer and product.dtype == "float32"}
        assert found == set(bundle.manifest.quantization["float_layers"])

    def test_the_dft_is_float(self, bundle: Bundle, tiny: Workshop) -> None:
        """Of its products, the two with a constant on the right: one in the transform, one in its inverse."""
        facts = exporter_for(bundle.manifest.target).inspect_graph(bundle.path, Layers(tiny.compiler.source.model))
        found = [product.shape for product in facts.products if not product.layer and product.dtype == "float32"]
        size = tiny.compiler.source.model.spectral_codec.dft.first.shape
        assert [sorted(shape) for shape in found] == [sorted(size)] * 2

    def test_state_goes_in_and_out_as_float(self, bundle: Bundle) -> None:
        tensors = {**bundle.manifest.graph["inputs"], **bundle.manifest.graph["outputs"]}
        assert {tensor["dtype"] for tensor in tensors.values()} == {"float32"}

    def test_what_is_rounded_is_read_by_matrix_products_only(self, bundle: Bundle) -> None:
        """A state slot is also read by the update of its cell, which must see it unrounded."""
        readers = read_graph(bundle).readers_of_rounded
        assert readers <= {"MatMul", "MatMulIntegerToFloat", "FULLY_CONNECTED"}
        assert bool(readers) == (bundle.manifest.recipe in (INT8.name, MIXED))

    def test_the_graph_is_smaller(self, bundle: Bundle, tiny: Workshop) -> None:
        full = tiny.bundle(bundle.manifest.target, "float32").manifest.graph["weight_bytes"]
        saved = sum(
            (4.0 - layer.weight.bits / 8) * layer.weight.values.size for layer in planned(bundle, tiny).values()
        )
        # Scales, zero points and ranges bring back under a seventh of what is gone.
        assert bundle.manifest.graph["weight_bytes"] <= full - 0.86 * saved


def holds(stored: StoredWeight, layer: QuantizedLayer) -> bool:
    """Whether a stored weight is this layer. ONNX writes one scale per output as equal scales of blocks."""
    outputs, inputs = layer.weight.values.shape
    if stored.values.shape[0] != outputs or not np.array_equal(stored.values[:, :inputs], layer.weight.values):
        return False
    if stored.values[:, inputs:].any():
        return False
    scales = layer.weight.scales
    return np.array_equal(
        stored.scales, np.broadcast_to(scales, stored.scales.shape) if scales.shape[1] == 1 else scales
    )


@pytest.fixture(scope="module")
def hops() -> FloatArray:
    """Real music, [channels, n]."""
    return np.ascontiguousarray(default_clip(with_stems=False).mix[:, 3 * RATE : 3 * RATE + HOPS * 512])


def on_runtime(bundle: Bundle | Path, mix: FloatArray) -> FloatArray:
    with open_session(bundle) as session:
        return np.stack([session.step(mix[:, start : start + 512]).copy() for start in range(0, mix.shape[1], 512)])


def in_pytorch(layers: dict[str, QuantizedLayer], target: str, tiny: Workshop, mix: FloatArray) -> FloatArray:
    product = simulated(layers, quantizer_for(target).ARITHMETIC, clips=1)
    found = stream_hops(tiny.compiler.source.model, torch.from_numpy(mix)[None], product)
    return np.stack([stems[0].numpy() for stems, _ in found])


class TestSimulation:
    def test_agrees_with_the_runtime_on_every_recipe(self, bundle: Bundle, tiny: Workshop, hops: FloatArray) -> None:
        expected = on_runtime(bundle, hops)
        found = in_pytorch(planned(bundle, tiny), bundle.manifest.target, tiny, hops)
        static_tflite = (bundle.manifest.target, bundle.manifest.recipe) == ("tflite", INT8.name)
        assert snr(expected, found) >= (AGREEMENT_STATIC_TFLITE if static_tflite else AGREEMENT)

    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize("target", QUANTIZERS)
    def test_agrees_on_every_kind_of_product(
        self, target: str, precision: str, tiny: Workshop, hops: FloatArray, tmp_path: Path
    ) -> None:
        """Products of one row and of two, with and without bias, of inputs that fill their blocks and that do not."""
        layers = dict(some_layers(target, precision, tiny))
        folder = tmp_path / "quantized"
        shutil.copytree(tiny.bundle(target, "float32").path, folder)
        write_quantized(folder, target, layers, tiny)
        expected = on_runtime(folder, hops)
        assert snr(expected, in_pytorch(layers, target, tiny, hops)) >= AGREEMENT
        # The agreement is not that of two graphs in which nothing happened.
        assert snr(expected, in_pytorch({}, target, tiny, hops)) < 60.0


def some_layers(target: str, precision: str, tiny: Workshop) -> Iterator[tuple[str, QuantizedLayer]]:
    arithmetic, seen = quantizer_for(target).ARITHMETIC, tiny.compiler.observations
    weights = dict(tiny.compiler.source.model.named_parameters())
    for name in (
        "time_encoder.basis_and_gate.weight", "spectral_memory1.rnn.weight_ih_l0", "time_memory1.rnn.weight_hh_l0",
        "spectral_mask.weight", "time_decoder.basis.weight",
    ):  # fmt: skip
        weight = weights[name].detach()
        yield name, quantize_layer(name, weight, precision_named(precision), arithmetic, seen[name])


def write_quantized(folder: Path, target: str, layers: dict[str, QuantizedLayer], tiny: Workshop) -> None:
    """Quantize the float bundle in `folder`."""
    exporter = exporter_for(target)
    products = exporter.inspect_graph(folder, Layers(tiny.compiler.source.model)).products
    chosen = {product.node: layers[product.layer] for product in products if product.layer in layers}
    assert len(chosen) == len(layers)
    quantizer_for(target).quantize_graph(folder, chosen)
    manifest = json.loads((folder / MANIFEST).read_text())
    records = record_files(folder, exporter.FILES)
    manifest["files"] = {file: vars(record) for file, record in records.items()}
    (folder / MANIFEST).write_text(json.dumps(manifest))
