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
class StoredWeight:
    """A stored weight: integers [outputs, inputs], filled up to whole blocks, and scales [outputs, blocks]."""

    values: NDArray[np.int8]
    scales: FloatArray


@dataclass(frozen=True)
class GraphFile:
    """What tests want to know of a graph.

    spec: the metadata entry. scalars: every float32 constant of one element. weights: the integer matrices.
    readers_of_rounded: the operators that read an activation after its rounding to INT8.
    """

    spec: str
    scalars: frozenset[float]
    weights: tuple[StoredWeight, ...]
    readers_of_rounded: frozenset[str]


def read_graph(bundle: Bundle) -> GraphFile:
    """Read the graph of a compiled bundle."""
    return READERS[bundle.manifest.target](bundle.graph_path)


def _read_onnx(path: Path) -> GraphFile:
    model = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inline = [numpy_helper.to_array(node.attribute[0].t) for node in model.graph.node if node.op_type == "Constant"]
    rounded = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return GraphFile(
        spec={entry.key: entry.value for entry in model.metadata_props}[SPEC_KEY],
        scalars=_scalars([*constants.values(), *inline]),
        weights=tuple(_onnx_weights(model, constants)),
        readers_of_rounded=frozenset(node.op_type for node in model.graph.node if rounded.intersection(node.input)),
    )


def _onnx_weights(model: ModelProto, constants: dict[str, NDArray[Any]]) -> Iterator[StoredWeight]:
    cast = {node.output[0]: constants[node.input[0]] for node in model.graph.node if node.op_type == "Cast"}
    constants = constants | {name: value.astype(np.float32) for name, value in cast.items()}
    for node in model.graph.node:
        if node.op_type == "DynamicQuantizeMatMul":
            yield StoredWeight(constants[node.input[1]].T, constants[node.input[2]][:, None])
        if node.op_type == "MatMulIntegerToFloat":
            yield StoredWeight(constants[node.input[1]].T, constants[node.input[3]][:, None])
        if node.op_type == "MatMulNBits":
            packed, scales = constants[node.input[1]], constants[node.input[2]]
            sizes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            values = _nibbles(packed).reshape(sizes["N"], -1) - 8
            yield StoredWeight(values.astype(np.int8), scales.reshape(sizes["N"], -1))


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Two numbers from 0 to 15 in each byte, the lower four bits first."""
    return np.stack([packed & 0xF, packed >> 4], axis=-1).astype(np.int8).ravel()


def _signed(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The same from -8 to 7, in two's complement."""
    return ((_nibbles(packed) ^ 8) - 8).astype(np.int8)


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


def _openvino_weight(node: Any) -> StoredWeight | None:
    """Constant (integers) -> Convert -> Multiply by the scales."""
    if node.get_type_name() != "Multiply" or node.input_value(0).get_node().get_type_name() != "Convert":
        return None
    stored = node.input_value(0).get_node().input_value(0).get_node()
    if stored.get_type_name() != "Constant" or stored.get_element_type().get_type_name() not in ("i4", "i8"):
        return None
    outputs, *blocks = stored.shape
    four_bits = stored.get_element_type().get_type_name() == "i4"
    values = _signed(stored.get_data().view(np.uint8).ravel()) if four_bits else stored.get_data().copy()
    scale_node = node.input_value(1).get_node()
    if scale_node.get_type_name() == "Convert":
        scale_node = scale_node.input_value(0).get_node()
    scales = scale_node.get_data().astype(np.float32)
    assert scales.shape == ((outputs, blocks[0], 1) if len(blocks) == 2 else (outputs, 1))
    return StoredWeight(values.reshape(outputs, -1), scales.reshape(outputs, -1))


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
        weights=tuple(_tflite_weight(model, tensor, data) for tensor, data in stored if tensor.type in (9, 17)),
        readers_of_rounded=frozenset(names[id(op)] for op in graph.operators if rounded.intersection(op.inputs)),
    )


def _tflite_weight(model: Any, tensor: Any, data: bytes) -> StoredWeight:
    integers = np.frombuffer(data, np.int8) if tensor.type == 9 else _signed(np.frombuffer(data, np.uint8))
    quantization = tensor.quantization
    assert quantization.quantizedDimension == 0
    values = integers.reshape(tensor.shape[-2:])
    if quantization.details is None:
        return StoredWeight(values, np.asarray(quantization.scale, dtype=np.float32)[:, None])
    scales = model.subgraphs[0].tensors[quantization.details.scales]
    halves = np.frombuffer(bytes(model.buffers[scales.buffer].data), np.float16).reshape(scales.shape)
    assert halves.shape[1] * quantization.details.blockSize == values.shape[1]
    return StoredWeight(values, halves.astype(np.float32))


def _scalars(constants: list[NDArray[Any]]) -> frozenset[float]:
    return frozenset(each.item() for each in constants if each.size == 1 and each.dtype == np.float32)


READERS: dict[str, Callable[[Path], GraphFile]] = {
    "onnx": _read_onnx,
    "openvino": _read_openvino,
    "tflite": _read_tflite,
}
