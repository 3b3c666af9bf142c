"""INT8 for ONNX Runtime: its own static (QDQ) and dynamic quantizers, restricted to the chosen products."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
            onnx.save(_inputs_apart(onnx.load(path), shared["nodes_to_quantize"]), path)
            quantize_static(
                path,
                quantized,
                _Reader(feeds),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                # A product's result stays float: one rounding per product, not two.
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
                **shared,
            )
        else:
            onnx.save(_gemm_as_matmul(onnx.load(path)), path)
            quantize_dynamic(path, quantized, extra_options={"MatMulConstBOnly": True}, **shared)
    quantized.replace(path)
    onnx.checker.check_model(str(path))


def _inputs_apart(model: ModelProto, products: Collection[str]) -> ModelProto:
    """Each of these products reads a copy of its input.

    The static quantizer rounds a product's input for everyone who reads it. A memory's state is read by a product
    and by the update of the cell: rounded for both, it would live on a grid of 256 values.
    """
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name in products:
            copy = f"{node.name}_input"
            nodes.append(helper.make_node("Identity", [node.input[0]], [copy], name=f"{copy}_copy"))
            node.input[0] = copy
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
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
