"""INT8 for ONNX Runtime: its own static (QDQ) and dynamic quantizers, restricted to the chosen products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from ddtasnet_edge.export.facts import MatrixProduct
from ddtasnet_edge.export.onnx_exporter import FILES
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.quantize.calibration import Feeds
from ddtasnet_edge.quantize.recipe import Recipe


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Feeds) -> None:
        self._hops: Iterator[dict[str, Any]] = iter(feeds)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._hops, None)


def quantize_graph(folder: Path, recipe: Recipe, products: Sequence[MatrixProduct], feeds: Feeds | None) -> None:
    """Quantize these products of `model.onnx` in place."""
    path, quantized = folder / FILES[0], folder / "quantized.onnx"
    shared: dict[str, Any] = {
        "nodes_to_quantize": [product.node for product in products],
        "op_types_to_quantize": ["MatMul", "Gemm"],
        "per_channel": True,
        "weight_type": QuantType.QInt8,
    }
    with converter_output_captured("onnxruntime.quantization"):
        if recipe.needs_calibration:
            assert feeds is not None, "a calibrated recipe comes with feeds"
            quantize_static(
                path,
                quantized,
                _Reader(feeds),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                extra_options={
                    # A product's result stays float: one rounding per product, not two.
                    "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                    # Without this, an input shared with a product that stays float would be rounded for both.
                    "DedicatedQDQPair": True,
                },
                **shared,
            )
        else:
            onnx.save(_gemm_as_matmul(onnx.load(path)), path)
            quantize_dynamic(path, quantized, extra_options={"MatMulConstBOnly": True}, **shared)
    quantized.replace(path)
    onnx.checker.check_model(str(path))


def _outputs_apart(model: ModelProto) -> ModelProto:
    """A graph output that is also read inside the graph becomes a copy of what is read.

    The static quantizer rounds the input of a product; where that is a state slot, it would hand out the rounded
    tensor, and the state would live on a grid of 256 values.
    """
    read = {name for node in model.graph.node for name in node.input}
    inner = {output.name: f"{output.name}_inner" for output in model.graph.output if output.name in read}
    for node in model.graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    model.graph.node.extend(helper.make_node("Identity", [inside], [output]) for output, inside in inner.items())
    return model


def _gemm_as_matmul(model: ModelProto) -> ModelProto:
    """Gemm(x, W, b, transB) becomes MatMul(x, W transposed) + b.

    The dynamic quantizer does this itself, but renames the products on the way and transposes a weight twice
    that feeds two of them.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        x, weight, bias = node.input
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        assert attributes.keys() <= {"alpha", "beta", "transA", "transB"}, "a Gemm of torch.export's linear"
        if attributes.get("transB", 0):
            transposed = np.ascontiguousarray(numpy_helper.to_array(weights[weight]).T)
            weights[weight].CopyFrom(numpy_helper.from_array(transposed, weight))
        product = f"{node.output[0]}_product"
        nodes.append(helper.make_node("MatMul", [x, weight], [product], name=node.name))
        nodes.append(helper.make_node("Add", [product, bias], list(node.output), name=f"{node.name}_bias"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
