"""Target `tflite`: litert-torch with keyword inputs and dictionary outputs, whose names become the signature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils

from ddtasnet_edge.export.facts import GraphFacts, MatrixProduct, TensorFacts
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.trace import converter_output_captured, example_inputs
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.step import StepGraph

FILES = ("model.tflite",)

# Of weights.
DTYPES = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8", schema.TensorType.INT4: "int4"}


def export_graph(model: DDTasNet, folder: Path) -> None:
    """Write `model.tflite`."""
    with converter_output_captured("litert-torch"):
        import litert_torch

        converted = litert_torch.convert(StepGraph(model).eval(), sample_kwargs=example_inputs(model))
        converted.export(str(folder / FILES[0]))


def inspect_graph(folder: Path, layers: Layers) -> GraphFacts:
    """Facts of `model.tflite`. A product is named by the tensor that it writes."""
    path = folder / FILES[0]
    signature = _signature(path)
    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    ops = [_op_name(model, op) for op in graph.operators]
    products, name_of = [], layers.naming()
    for op, name in zip(graph.operators, ops, strict=True):
        if name == "FULLY_CONNECTED":
            weight = graph.tensors[op.inputs[1]]
            data = model.buffers[weight.buffer].data
            if data is not None and len(data):
                output, dtype = graph.tensors[op.outputs[0]].name.decode(), DTYPES[weight.type]
                # Our quantizer names what it stores after the layer.
                layer = name_of(_array(data, weight)) if dtype == "float32" else weight.name.decode()
                size = len(data) + _scale_bytes(model, weight)
                products.append(MatrixProduct(output, layer, tuple(int(size) for size in weight.shape), dtype, size))
    return GraphFacts(
        inputs={name: _tensor_facts(detail) for name, detail in signature.get_input_details().items()},
        outputs={name: _tensor_facts(detail) for name, detail in signature.get_output_details().items()},
        ops=dict(sorted(Counter(ops).items())),
        custom_ops=tuple(sorted({name for name in ops if name.startswith("CUSTOM")})),
        products=tuple(products),
        weight_bytes=_bytes_read(model),
    )


def _signature(path: Path) -> Any:
    interpreter = Interpreter(
        model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    return interpreter.get_signature_runner()


def _op_name(model: Any, op: Any) -> str:
    code = model.operatorCodes[op.opcodeIndex]
    if code.builtinCode == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{code.customCode.decode()}"
    return str(flatbuffer_utils.opcode_to_name(model, op.opcodeIndex))


def _array(data: Any, tensor: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytes(data), dtype=np.float32).reshape(tuple(tensor.shape))


def _bytes_read(model: Any) -> int:
    """Bytes of the constants that operators read, each once, with the scales of the integers among them."""
    graph = model.subgraphs[0]
    read = {int(index) for op in graph.operators for index in op.inputs if index >= 0}
    constants = {graph.tensors[index].buffer: graph.tensors[index] for index in read}
    stored = {buffer: tensor for buffer, tensor in constants.items() if model.buffers[buffer].data is not None}
    return sum(len(model.buffers[buffer].data) + _scale_bytes(model, tensor) for buffer, tensor in stored.items())


def _scale_bytes(model: Any, weight: Any) -> int:
    """Bytes of the scales of an integer weight. Its zero points are all zero, which kernels know from the start."""
    if weight.type not in (schema.TensorType.INT8, schema.TensorType.INT4):
        return 0
    if weight.quantization.details is None:
        return int(np.asarray(weight.quantization.scale, dtype=np.float32).nbytes)
    scales = model.subgraphs[0].tensors[weight.quantization.details.scales]
    return len(model.buffers[scales.buffer].data)


def _tensor_facts(detail: dict[str, Any]) -> TensorFacts:
    signature = detail.get("shape_signature", detail["shape"])
    shape = tuple("?" if size < 0 else int(size) for size in signature)
    return TensorFacts(shape, np.dtype(detail["dtype"]).name)


def embed_metadata(folder: Path, metadata: dict[str, str]) -> None:
    """Add one metadata buffer per key."""
    path = folder / FILES[0]
    model = flatbuffer_utils.read_model(str(path))
    model.metadata = model.metadata or []
    for key, value in metadata.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = np.frombuffer(value.encode(), dtype=np.uint8)
        entry.name, entry.buffer = key.encode(), len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    flatbuffer_utils.write_model(model, str(path))
