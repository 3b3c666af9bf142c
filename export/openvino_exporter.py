"""Target `openvino`: torch.export -> ONNX -> OpenVINO IR with fixed shapes and named tensors."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov

from ddtasnet_edge.export import onnx_exporter
from ddtasnet_edge.export.facts import GraphFacts, MatrixProduct, TensorFacts
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.models.ddtasnet import DDTasNet

FILES = ("model.xml", "model.bin")

# Operators between a stored weight and its product: dequantization of compressed or quantized weights.
DEQUANTIZING = ("Convert", "Multiply", "Subtract", "FakeQuantize", "Reshape")


def export_graph(model: DDTasNet, folder: Path) -> None:
    """Write `model.xml` and `model.bin`, float32.

    By way of the ONNX graph, which has the tensor names and fixed shapes already; converted straight from
    torch.export, axes become dynamic and outputs are named after whatever node computes them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        onnx_exporter.export_graph(model, Path(temporary))
        with converter_output_captured("openvino"):
            graph = ov.convert_model(Path(temporary) / onnx_exporter.FILES[0])
            ov.save_model(graph, folder / FILES[0], compress_to_fp16=False)


def inspect_graph(folder: Path, layers: Layers) -> GraphFacts:
    """Facts of the IR."""
    graph = ov.Core().read_model(folder / FILES[0])
    nodes = graph.get_ordered_ops()
    products, name_of = [], layers.naming()
    for node in nodes:
        if node.get_type_name() == "MatMul":
            weight = _constant_behind(node.input_value(1).get_node())
            if weight is not None:
                four_bits = weight.get_element_type() == ov.Type.i4
                data = weight.get_data()
                dtype = "int4" if four_bits else np.dtype(data.dtype).name
                size = _bytes_behind(node.input_value(1).get_node())
                products.append(MatrixProduct(node.friendly_name, name_of(data), tuple(weight.shape), dtype, size))
    return GraphFacts(
        inputs={port.any_name: _tensor_facts(port) for port in graph.inputs},
        outputs={port.any_name: _tensor_facts(port) for port in graph.outputs},
        ops=dict(sorted(Counter(node.get_type_name() for node in nodes).items())),
        custom_ops=tuple(sorted({n.get_type_name() for n in nodes if "extension" in n.get_type_info().version_id})),
        products=tuple(products),
        weight_bytes=sum(n.get_byte_size() for n in nodes if n.get_type_name() == "Constant"),
    )


def _constant_behind(node: ov.Node) -> ov.Node | None:
    """The stored weight that feeds a product, through any dequantization."""
    while node.get_type_name() in DEQUANTIZING:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _bytes_behind(node: ov.Node) -> int:
    """Bytes of a stored weight and of everything that its dequantization multiplies it with or takes from it."""
    if node.get_type_name() == "Constant":
        return int(node.get_byte_size())
    values = node.input_values()[:1] if node.get_type_name() == "Reshape" else node.input_values()
    return sum(_bytes_behind(value.get_node()) for value in values)


def _tensor_facts(port: ov.Output) -> TensorFacts:
    dimensions = port.get_partial_shape()
    shape = tuple(d.get_length() if d.is_static else "?" for d in dimensions)
    return TensorFacts(shape, np.dtype(port.get_element_type().to_dtype()).name)


def embed_metadata(folder: Path, metadata: dict[str, str]) -> None:
    """Write the pairs into the rt_info section of the IR."""
    graph = ov.Core().read_model(folder / FILES[0])
    for key, value in metadata.items():
        graph.set_rt_info(value, key)
    # Saved beside and moved: the weights are memory-mapped from the file that is about to be replaced.
    ov.save_model(graph, folder / "with_metadata.xml", compress_to_fp16=False)
    del graph
    for name in FILES:
        (folder / f"with_metadata{Path(name).suffix}").replace(folder / name)
