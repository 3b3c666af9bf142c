"""Looks into the graph file of a bundle with the format's own reader, independently of `export/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.spec import FloatArray

SPEC_KEY = "ddtasnet_edge.spec"


@dataclass(frozen=True, eq=False)
class Int8Weight:
    """A stored weight, integers [outputs, inputs] and one scale per output."""

    values: NDArray[np.int8]
    scales: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """The weight that these integers stand for."""
        return self.values.astype(np.float32) * self.scales[:, None]


@dataclass(frozen=True)
class GraphFile:
    """What tests want to know of a graph.

    spec: the metadata entry. scalars: every float32 constant of one element. weights: the INT8 matrices.
    readers_of_rounded: the operators that read an activation after its rounding to INT8.
    """

    spec: str
    scalars: frozenset[float]
    weights: tuple[Int8Weight, ...]
    readers_of_rounded: frozenset[str]


def read_graph(bundle: Bundle) -> GraphFile:
    """Read the graph of a compiled bundle."""
    return READERS[bundle.manifest.target](bundle.graph_path)


def _read_onnx(path: Path) -> GraphFile:
    model = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inline = [numpy_helper.to_array(node.attribute[0].t) for node in model.graph.node if node.op_type == "Constant"]
    dequantized = {
        n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in constants
    }
    integers = {out for n in model.graph.node if n.op_type == "DynamicQuantizeLinear" for out in n.output[:1]}
    return GraphFile(
        spec={entry.key: entry.value for entry in model.metadata_props}[SPEC_KEY],
        scalars=_scalars([*constants.values(), *inline]),
        weights=tuple(_onnx_weights(model, constants)),
        readers_of_rounded=frozenset(
            node.op_type for node in model.graph.node if (dequantized | integers).intersection(node.input)
        ),
    )


def _onnx_weights(model: ModelProto, constants: dict[str, NDArray[Any]]) -> Iterator[Int8Weight]:
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and constants.get(node.input[0], np.empty(0)).ndim == 2:
            (axis,) = (helper.get_attribute_value(entry) for entry in node.attribute if entry.name == "axis")
            yield Int8Weight(np.moveaxis(constants[node.input[0]], axis, 0), constants[node.input[1]])
        if node.op_type == "MatMulInteger":
            name = node.input[1].removesuffix("_quantized")
            yield Int8Weight(constants[node.input[1]].T, constants[f"{name}_scale"])


def _read_openvino(path: Path) -> GraphFile:
    import openvino as ov  # here, because import_backend comes first: it keeps openvino off the network

    graph = ov.Core().read_model(path)
    nodes = graph.get_ordered_ops()
    constants = [node.get_data() for node in nodes if node.get_type_name() == "Constant"]
    rounded = [node for node in nodes if node.get_type_name() == "FakeQuantize"]
    return GraphFile(
        spec=graph.get_rt_info(SPEC_KEY).astype(str),
        scalars=_scalars(constants),
        weights=tuple(weight for node in nodes if (weight := _openvino_weight(node)) is not None),
        readers_of_rounded=frozenset(
            target.get_node().get_type_name() for node in rounded for target in node.output(0).get_target_inputs()
        ),
    )


def _openvino_weight(node: Any) -> Int8Weight | None:
    """Constant (int8) -> Convert -> Multiply by a scale."""
    if node.get_type_name() != "Multiply" or node.input_value(0).get_node().get_type_name() != "Convert":
        return None
    integers = node.input_value(0).get_node().input_value(0).get_node()
    if integers.get_type_name() != "Constant" or integers.get_data().dtype != np.int8:
        return None
    scales = node.input_value(1).get_node()
    while scales.get_type_name() == "Convert":
        scales = scales.input_value(0).get_node()
    assert scales.get_data().shape == (integers.get_data().shape[0], 1), "one scale per output"
    return Int8Weight(integers.get_data().copy(), scales.get_data().astype(np.float32).ravel())


def _read_tflite(path: Path) -> GraphFile:
    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    constants = [(tensor, model.buffers[tensor.buffer].data) for tensor in graph.tensors]
    stored = [(tensor, bytes(data)) for tensor, data in constants if data is not None and len(data)]
    names = {id(op): flatbuffer_utils.opcode_to_name(model, op.opcodeIndex) for op in graph.operators}
    rounded = {op.outputs[0] for op in graph.operators if names[id(op)] == "QUANTIZE"}
    metadata = {entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode() for entry in model.metadata}
    return GraphFile(
        spec=metadata[SPEC_KEY],
        scalars=_scalars([np.frombuffer(data, np.float32) for tensor, data in stored if tensor.type == 0]),
        weights=tuple(
            Int8Weight(
                np.moveaxis(
                    np.frombuffer(data, np.int8).reshape(tensor.shape), tensor.quantization.quantizedDimension, 0
                ),
                np.asarray(tensor.quantization.scale, dtype=np.float32),
            )
            for tensor, data in stored
            if tensor.type == 9
        ),
        readers_of_rounded=frozenset(names[id(op)] for op in graph.operators if rounded.intersection(op.inputs)),
    )


def _scalars(constants: list[NDArray[Any]]) -> frozenset[float]:
    return frozenset(each.item() for each in constants if each.size == 1 and each.dtype == np.float32)


READERS: dict[str, Callable[[Path], GraphFile]] = {
    "onnx": _read_onnx,
    "openvino": _read_openvino,
    "tflite": _read_tflite,
}
