"""Target `onnx`: torch.export -> ONNX -> onnxsim -> matrix products that quantize well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxscript.optimizer
import onnxsim
import torch
from onnx import helper, numpy_helper

from ddtasnet_edge.errors import ExportError
from ddtasnet_edge.export.facts import GraphFacts, MatrixProduct, TensorFacts
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.trace import converter_output_captured, example_inputs, output_nodes, trace_step
from ddtasnet_edge.models.ddtasnet import DDTasNet

Constant: TypeAlias = np.ndarray[Any, Any]

FILES = ("model.onnx",)

OPSET = 20
# Domains whose operators every ONNX Runtime build has; its own quantized kernels are in com.microsoft.
STANDARD_DOMAINS = ("", "ai.onnx", "com.microsoft")
# Operators that multiply by a weight, with the inputs that hold it: weight, then scales, then zero points.
PRODUCT_OPS = {
    "MatMul": (1,),
    "Gemm": (1,),
    "DynamicQuantizeMatMul": (1, 2, 3),
    "MatMulIntegerToFloat": (1, 3, 5),
    "MatMulNBits": (1, 2, 3),
}


def export_graph(model: DDTasNet, folder: Path) -> None:
    """Write `model.onnx`, opset 20, simplified and checked."""
    with converter_output_captured("torch.onnx.export"):
        program = trace_step(model)
        exported = torch.onnx.export(
            program,
            (),
            kwargs=example_inputs(model),
            output_names=list(output_nodes(program)),
            opset_version=OPSET,
            dynamo=True,
            # The full optimizer also rewrites patterns, and takes constants below 1e-8 for zero in them; ours are
            # the floors that keep silence from becoming NaN. Folding alone is safe.
            optimize=False,
            verbose=False,
        )
        assert exported is not None, "torch.onnx.export with dynamo=True returns a program"
        onnxscript.optimizer.fold_constants(exported.model)
        onnxscript.optimizer.remove_unused_nodes(exported.model)
        graph = exported.model_proto
    with converter_output_captured("onnxsim"):
        graph, simplified = onnxsim.simplify(graph)
    if not simplified:
        raise ExportError("onnxsim could not validate the simplified graph against the original")
    # Left over from the exporter and stale after the passes: they break shape inference in the quantizer.
    del graph.graph.value_info[:]
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, folder / FILES[0])


def inspect_graph(folder: Path, layers: Layers) -> GraphFacts:
    """Facts of `model.onnx`."""
    model = onnx.load(folder / FILES[0])
    constants = _constants(model)
    # What makes a constant runs when the graph is loaded, not in a step.
    read = {name for node in model.graph.node if node.output[0] not in constants for name in node.input}
    return GraphFacts(
        inputs={tensor.name: _tensor_facts(tensor) for tensor in model.graph.input},
        outputs={tensor.name: _tensor_facts(tensor) for tensor in model.graph.output},
        ops=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        custom_ops=tuple(
            sorted({f"{n.domain}.{n.op_type}" for n in model.graph.node if n.domain not in STANDARD_DOMAINS})
        ),
        products=tuple(_products(model, constants, layers)),
        weight_bytes=sum(constants[name].nbytes for name in read if name in constants),
    )


def _constants(model: onnx.ModelProto) -> dict[str, Constant]:
    """What a step finds in memory, by name: stored tensors, and those that the runtime casts when it loads them."""
    constants: dict[str, Constant] = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(helper.get_node_attr_value(node, "value"))
        elif node.op_type == "Cast" and node.input[0] in constants:
            dtype = helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to"))
            constants[node.output[0]] = constants[node.input[0]].astype(dtype)
    return constants


def _products(model: onnx.ModelProto, constants: Mapping[str, Constant], layers: Layers) -> Iterator[MatrixProduct]:
    name_of = layers.naming()
    for node in model.graph.node:
        if node.op_type in PRODUCT_OPS and node.input[1] in constants:
            weight = constants[node.input[1]]
            dtype = "int4" if node.op_type == "MatMulNBits" else weight.dtype.name
            held = [node.input[index] for index in PRODUCT_OPS[node.op_type] if index < len(node.input)]
            size = sum(constants[name].nbytes for name in held if name)
            yield MatrixProduct(node.name, name_of(weight), weight.shape, dtype, size)


def _tensor_facts(tensor: onnx.ValueInfoProto) -> TensorFacts:
    kind = tensor.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim)
    return TensorFacts(shape, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name)


def embed_metadata(folder: Path, metadata: dict[str, str]) -> None:
    """Add key-value pairs to the model's metadata_props."""
    model = onnx.load(folder / FILES[0])
    helper.set_model_props(model, metadata)
    onnx.save(model, folder / FILES[0])
