"""The floor counts the weights that a step reads: held against a count by hand at `tiny`, from its configuration."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from onnx import TensorProto, helper, numpy_helper

from ddtasnet_edge.config import preset
from ddtasnet_edge.export import exporter_for, onnx_exporter
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.models.registry import create_model
from tests.bundles import FIXED, Workshop
from tests.small import small_config

TARGETS = ("onnx", "openvino", "tflite")
FLOAT, INT8, INT8_STATIC, INT4 = "float32", "dynamic_wi8_afp32", "static_wi8_ai8", "dynamic_wi4b64_wi8_afp32"
# Gates stay float in every recipe; these two bear four bits badly.
ALWAYS_FLOAT = ("time_cbam", "spectral_cbam")
EIGHT_OF_INT4 = ("time_memory1.rnn.weight_ih_l0", "spectral_memory2.rnn.weight_ih_l0")
BLOCK = 64
# Shapes, axes and scalars, and a vector of ones for every bin: what a graph holds besides weights and transforms.
SUNDRIES = 8192

CONFIG = preset("tiny")
H, C, S, B, W = CONFIG.units, CONFIG.channels, len(CONFIG.sources), CONFIG.bases, CONFIG.window_length
F = W // 2 + 1


def branch(name: str, features: int) -> dict[str, tuple[int, int]]:
    """Layers of the time or the spectral branch as [outputs, inputs]; a GRU has three gates."""
    return {
        f"{name}_memory1.rnn.weight_ih_l0": (3 * H, C * features),
        f"{name}_memory1.rnn.weight_hh_l0": (3 * H, H),
        f"{name}_attention.query_key_value.weight": (3 * H, H),
        f"{name}_cbam.squeeze.weight": (H // 8, H),
        f"{name}_cbam.excite.weight": (H, H // 8),
        f"{name}_cbam.temporal.weight": (1, 7),
        f"{name}_memory2.rnn.weight_ih_l0": (3 * H, H),
        f"{name}_memory2.rnn.weight_hh_l0": (3 * H, H),
        f"{name}_skip.weight": (H, C * features),
        f"{name}_mask.weight": (S * C * features, H),
    }


WITHOUT_BIAS = {"time_encoder.basis_and_gate.weight": (2 * B, W), "time_decoder.basis.weight": (W, B)}
WITH_BIAS = {
    **branch("time", B),
    **branch("spectral", F),
    "fusion.rnn.weight_ih_l0": (9 * H, 3 * H),
    "fusion.rnn.weight_hh_l0": (9 * H, 3 * H),
}
# Two windows, an equalizer, and the DFT of 32 * 32 samples: both stages, two rotations and a weight per bin.
TRANSFORM = 4 * (2 * W + F + 32 * 64 + 33 * 64 + 2 * 32 * 64 + 33 * 32)


def bits(layer: str, recipe: str) -> int:
    if recipe == FLOAT or layer.startswith(ALWAYS_FLOAT):
        return 32
    return 4 if recipe == INT4 and layer not in EIGHT_OF_INT4 else 8


def stored(outputs: int, inputs: int, width: int, target: str) -> int:
    """Bytes of a weight with its scales and zero points."""
    if width == 32:
        return 4 * outputs * inputs
    if width == 8:
        # A float scale for each output, and in ONNX a byte of zero point.
        return outputs * (inputs + 4 + (target == "onnx"))
    if inputs <= BLOCK:
        # One scale for each output. ONNX says that as a block that holds all inputs, a power of two.
        columns = max(16, 2 ** math.ceil(math.log2(inputs))) if target == "onnx" else inputs
        return outputs * (columns // 2 + 4)
    # Whole blocks, with scales in half precision where the runtime reads it.
    return outputs * math.ceil(inputs / BLOCK) * (BLOCK // 2 + (4 if target == "onnx" else 2))


def test_the_hand_knows_every_parameter() -> None:
    weights = {**WITHOUT_BIAS, **WITH_BIAS}
    biases = sum(outputs for outputs, _ in WITH_BIAS.values())
    counted = sum(outputs * inputs for outputs, inputs in weights.values()) + biases
    model = create_model(CONFIG)
    assert counted == sum(parameter.numel() for parameter in model.parameters())
    assert set(weights) == Layers(model).names


@pytest.mark.parametrize("recipe", FIXED)
@pytest.mark.parametrize("target", TARGETS)
def test_every_product_has_the_bytes_of_the_hand_count(target: str, recipe: str, tiny: Workshop) -> None:
    products = tiny.bundle(target, recipe).manifest.graph["products"]
    found = {product["layer"]: product["weight_bytes"] for product in products if product["layer"]}
    weights = {**WITHOUT_BIAS, **WITH_BIAS}
    assert found == {layer: stored(*shape, bits(layer, recipe), target) for layer, shape in weights.items()}


@pytest.mark.parametrize("recipe", FIXED)
@pytest.mark.parametrize("target", TARGETS)
def test_the_floor_is_the_hand_count_of_all_weights(target: str, recipe: str, tiny: Workshop) -> None:
    weights = {**WITHOUT_BIAS, **WITH_BIAS}
    by_hand = sum(stored(*shape, bits(layer, recipe), target) for layer, shape in weights.items())
    by_hand += 4 * sum(outputs for outputs, _ in WITH_BIAS.values())
    floor = tiny.bundle(target, recipe).manifest.graph["weight_bytes"]
    # Constants of the transforms appear once, or once for the way there and once for the way back.
    assert by_hand + TRANSFORM <= floor <= by_hand + 2 * TRANSFORM + SUNDRIES


@pytest.mark.parametrize("target", TARGETS)
def test_less_precision_reads_less(target: str, tiny: Workshop) -> None:
    bytes_of = {recipe: tiny.bundle(target, recipe).manifest.graph["weight_bytes"] for recipe in FIXED}
    assert bytes_of[INT4] < min(bytes_of[INT8], bytes_of[INT8_STATIC])
    assert max(bytes_of[INT8], bytes_of[INT8_STATIC]) < bytes_of[FLOAT] / 3


def test_onnx_constants_count_once_as_what_they_are_cast_to_and_unread_ones_not_at_all(tmp_path: Path) -> None:
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    inline = helper.make_tensor("inline", TensorProto.FLOAT16, [4], [1.0] * 4)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["a"], name="first"),
        helper.make_node("MatMul", ["y", "weight"], ["b"], name="second"),
        helper.make_node("Constant", [], ["short"], value=inline),
        helper.make_node("Cast", ["short"], ["offset"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Add", ["c", "offset"], ["z"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")],
        [value("z", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(weight, "unread")],
    )
    onnx.save(helper.make_model(graph), tmp_path / onnx_exporter.FILES[0])
    facts = onnx_exporter.inspect_graph(tmp_path, Layers(create_model(small_config())))
    assert facts.weight_bytes == 4 * (12 + 4)
    assert [product.weight_bytes for product in facts.products] == [48, 48]


def test_tflite_constants_that_no_operator_reads_do_not_count(tiny: Workshop, tmp_path: Path) -> None:
    bundle = tiny.bundle("tflite", INT4)
    path = shutil.copy(bundle.graph_path, tmp_path)
    model = flatbuffer_utils.read_model(str(path))
    tensor, buffer = schema.TensorT(), schema.BufferT()
    buffer.data = np.ones(1000, dtype=np.uint8)
    tensor.name, tensor.type, tensor.shape = b"unread", schema.TensorType.INT8, [1000]
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    model.subgraphs[0].tensors.append(tensor)
    flatbuffer_utils.write_model(model, str(path))
    facts = exporter_for("tflite").inspect_graph(tmp_path, Layers(tiny.compiler.source.model))
    assert facts.weight_bytes == bundle.manifest.graph["weight_bytes"]
