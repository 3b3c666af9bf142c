"""Quantized products for ONNX Runtime: its own operators, one per product, written as they are computed.

Written directly and not as QuantizeLinear / DequantizeLinear pairs, which onnxruntime fuses at load time as it sees
fit: a statically quantized MatMul + Add it fuses back into float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ddtasnet_edge.export.onnx_exporter import FILES
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.quantize.layer import QuantizedLayer
from ddtasnet_edge.quantize.simulate import Arithmetic

# Blocks of a weight with one scale per output: MatMulNBits has no other way to say it.
NARROWEST_BLOCK, WIDEST_BLOCK = 16, 256
ARITHMETIC = Arithmetic(static_output=False, dynamic8="tensor", dynamic4="block", widest=WIDEST_BLOCK, aligned=False)

DOMAIN = "com.microsoft"
# MatMulNBits computes with integers at this level only, two to forty times faster than without it.
ACCURACY_LEVEL = 4

AddConstant = Callable[[str, NDArray[Any]], str]


def quantize_graph(folder: Path, layers: Mapping[str, QuantizedLayer]) -> None:
    """Replace these products of `model.onnx`, by node name, in place."""
    path = folder / FILES[0]
    with converter_output_captured("writing the quantized ONNX graph"):
        model = onnx.load(path)
        constants = {tensor.name: tensor for tensor in model.graph.initializer}

        def constant(name: str, value: NDArray[Any]) -> str:
            constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
            return name

        nodes: list[NodeProto] = []
        for node in model.graph.node:
            layer = layers.get(node.name)
            nodes += [node] if layer is None else _product(node, layer, constant)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        _keep_used(model, constants)
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        onnx.checker.check_model(model)
        onnx.save(model, path)


def _product(node: NodeProto, layer: QuantizedLayer, constant: AddConstant) -> Iterator[NodeProto]:
    x, bias, name, output = node.input[0], node.input[2] if len(node.input) > 2 else "", node.name, node.output[0]
    if layer.weight.bits == 4:
        yield from _four_bits(name, x, bias, output, layer, constant)
        return
    weight = constant(f"{name}_weight", layer.weight.values.T)
    scale = constant(f"{name}_scale", layer.weight.scales[:, 0])
    zero = constant(f"{name}_zero", np.zeros(len(layer.weight.values), dtype=np.int8))
    if layer.input is None:
        inputs = [x, weight, scale, zero, bias]
        yield helper.make_node("DynamicQuantizeMatMul", inputs, [output], name=name, domain=DOMAIN)
        return
    x_scale = constant(f"{name}_input_scale", np.array(layer.input.scale, dtype=np.float32))
    x_zero = constant(f"{name}_input_zero", np.array(layer.input.zero_point, dtype=np.uint8))
    yield helper.make_node("QuantizeLinear", [x, x_scale, x_zero], [f"{name}_input"], name=f"{name}_input")
    inputs = [f"{name}_input", weight, x_scale, scale, x_zero, zero, bias]
    yield helper.make_node("MatMulIntegerToFloat", inputs, [output], name=name, domain=DOMAIN)


def _four_bits(
    name: str, x: str, bias: str, output: str, layer: QuantizedLayer, constant: AddConstant
) -> Iterator[NodeProto]:
    values, block = layer.weight.values, layer.weight.block
    outputs, inputs = values.shape
    scales = layer.weight.scales
    if layer.weight.per_output:
        # The smallest power of two that holds all inputs, as far as there is one.
        block = min(WIDEST_BLOCK, max(NARROWEST_BLOCK, 1 << (inputs - 1).bit_length()))
        scales = np.repeat(scales, -(-inputs // block), axis=1)
    padded = np.pad(values + 8, ((0, 0), (0, -inputs % block)), constant_values=8).astype(np.uint8)
    packed = (padded[:, 0::2] | padded[:, 1::2] << 4).reshape(outputs, -1, block // 2)
    scale = f"{name}_scale"
    if layer.weight.per_output:
        constant(scale, scales.ravel())
    else:
        # The kernel wants float32; the file holds the float16 that they are, and they are cast once, at load.
        short = constant(f"{scale}_float16", scales.ravel().astype(np.float16))
        yield helper.make_node("Cast", [short], [scale], name=scale, to=TensorProto.FLOAT)
    yield helper.make_node(
        "MatMulNBits",
        [x, constant(f"{name}_weight", packed), scale, "", "", bias],
        [output],
        name=name,
        domain=DOMAIN,
        K=inputs,
        N=outputs,
        bits=4,
        block_size=block,
        accuracy_level=ACCURACY_LEVEL,
    )


def _keep_used(model: ModelProto, constants: Mapping[str, TensorProto]) -> None:
    """Only the constants that a node still reads."""
    used = {name for node in model.graph.node for name in node.input}
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensor for name, tensor in constants.items() if name in used)
