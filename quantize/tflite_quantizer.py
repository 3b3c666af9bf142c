"""Quantized products for LiteRT: FULLY_CONNECTED operators with integer weights, and integer inputs where static."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from ddtasnet_edge.export.tflite_exporter import FILES
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.quantize.layer import Grid, QuantizedLayer
from ddtasnet_edge.quantize.simulate import Arithmetic

# A static FULLY_CONNECTED has no float result; a dynamic one measures the range of each row.
ARITHMETIC = Arithmetic(static_output=True, dynamic8="row", dynamic4="row")

# Versions of the operators as this file uses them; the version of FULLY_CONNECTED says which weights it must know.
CONNECTED_VERSION = {8: 5, 4: 12}
QUANTIZE_VERSION = DEQUANTIZE_VERSION = 2
PAD_VERSION = 1
# Grids have zero points from 0 to 255, INT8 from -128 to 127.
TO_SIGNED = -128


def quantize_graph(folder: Path, layers: Mapping[str, QuantizedLayer]) -> None:
    """Replace these products of `model.tflite`, by the tensor that they write, in place."""
    path = folder / FILES[0]
    with converter_output_captured("writing the quantized TFLite graph"):
        model = flatbuffer_utils.read_model(str(path))
        _Rewrite(model).products(layers)
        flatbuffer_utils.write_model(model, str(path))


class _Rewrite:
    """One model being changed."""

    def __init__(self, model: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]

    def products(self, layers: Mapping[str, QuantizedLayer]) -> None:
        operators: list[Any] = []
        for operator in self._graph.operators:
            name = self._graph.tensors[operator.outputs[0]].name.decode()
            layer = layers.get(name) if self._is_product(operator) else None
            operators += [operator] if layer is None else self._product(operator, layer)
        self._graph.operators = operators
        self._drop_unused()

    def _drop_unused(self) -> None:
        """Empty the buffers of constants that neither an operator reads any more nor the graph returns."""
        read = {int(index) for operator in self._graph.operators for index in operator.inputs}
        read |= {int(index) for index in self._graph.outputs}
        tensors = self._graph.tensors
        scales = [tensors[index].quantization.details for index in read if tensors[index].quantization is not None]
        read |= {details.scales for details in scales if details is not None}
        used = {int(tensors[index].buffer) for index in read}
        for index, tensor in enumerate(tensors):
            if index not in read and int(tensor.buffer) not in used:
                self._model.buffers[tensor.buffer].data = None

    def _is_product(self, operator: Any) -> bool:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return bool(code.builtinCode == schema.BuiltinOperator.FULLY_CONNECTED)

    def _product(self, operator: Any, layer: QuantizedLayer) -> list[Any]:
        operator.opcodeIndex = self._code("FULLY_CONNECTED", CONNECTED_VERSION[layer.weight.bits])
        operator.inputs = list(operator.inputs)
        operator.inputs[1] = self._weight(operator.inputs[1], layer)
        if layer.input is None or layer.output is None:
            return [*self._filled_up(operator, layer), operator]
        x, bias, y = operator.inputs[0], operator.inputs[2], operator.outputs[0]
        operator.inputs[0] = self._like(x, f"{layer.name} input", layer.input)
        operator.outputs = [self._like(y, f"{layer.name} output", layer.output)]
        if bias >= 0:
            operator.inputs[2] = self._bias(bias, layer)
        return [
            self._operator("QUANTIZE", QUANTIZE_VERSION, [x], operator.inputs[0]),
            operator,
            self._operator("DEQUANTIZE", DEQUANTIZE_VERSION, [operator.outputs[0]], y),
        ]

    def _filled_up(self, operator: Any, layer: QuantizedLayer) -> list[Any]:
        """Whole blocks only: zeros behind the input of a product whose last block is not full."""
        missing = layer.weight.missing
        if not missing:
            return []
        x = operator.inputs[0]
        shape = list(self._graph.tensors[x].shape)
        ends = np.array([[0, 0]] * (len(shape) - 1) + [[0, missing]], dtype=np.int32)
        paddings = self._tensor(f"{layer.name} padding", schema.TensorType.INT32, ends.shape, None, ends)
        shape[-1] += missing
        operator.inputs[0] = self._tensor(f"{layer.name} input", schema.TensorType.FLOAT32, shape, None)
        return [self._operator("PAD", PAD_VERSION, [x, paddings], operator.inputs[0])]

    def _weight(self, index: int, layer: QuantizedLayer) -> int:
        weight = layer.weight
        # Rank and order of the float weight, which is [outputs, inputs].
        shape = [*self._graph.tensors[index].shape[:-1], weight.padded.shape[1]]
        kind, data = schema.TensorType.INT8, weight.padded
        if weight.bits == 4:
            nibbles = (weight.padded.ravel() & 0xF).astype(np.uint8)
            kind, data = schema.TensorType.INT4, nibbles[0::2] | nibbles[1::2] << 4
        if weight.per_output:
            return self._tensor(layer.name, kind, shape, _per_output(weight.scales[:, 0]), data)
        half = weight.scales.astype(np.float16)
        scales = self._tensor(f"{layer.name} scales", schema.TensorType.FLOAT16, half.shape, None, half)
        return self._tensor(layer.name, kind, shape, _blockwise(scales, weight.block), data)

    def _bias(self, index: int, layer: QuantizedLayer) -> int:
        """The bias in steps of the product's sum."""
        assert layer.input is not None, "a static product has a grid for its input"
        tensor = self._graph.tensors[index]
        bias = np.frombuffer(bytes(self._model.buffers[tensor.buffer].data), dtype=np.float32)
        scales = layer.weight.scales[:, 0] * np.float32(layer.input.scale)
        limits = np.iinfo(np.int32)
        steps = np.clip(np.round(bias / scales.astype(np.float64)), limits.min, limits.max).astype(np.int32)
        return self._tensor(f"{layer.name} bias", schema.TensorType.INT32, tensor.shape, _per_output(scales), steps)

    def _like(self, index: int, name: str, grid: Grid) -> int:
        """An INT8 tensor of the same shape."""
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.array([grid.scale], dtype=np.float32)
        quantization.zeroPoint = np.array([grid.zero_point + TO_SIGNED], dtype=np.int64)
        return self._tensor(name, schema.TensorType.INT8, self._graph.tensors[index].shape, quantization)

    def _tensor(self, name: str, kind: int, shape: Any, quantization: Any, data: NDArray[Any] | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.quantization = name.encode(), kind, list(shape), quantization
        tensor.buffer = 0  # by convention the empty one
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
            tensor.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, kind: str, version: int, sources: list[int], result: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self._code(kind, version), sources, [result]
        return operator

    def _code(self, kind: str, version: int) -> int:
        """Index of an operator code, added when it is new."""
        builtin = getattr(schema.BuiltinOperator, kind)
        for index, code in enumerate(self._model.operatorCodes):
            if code.builtinCode == builtin and code.version == version:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1


def _per_output(scales: NDArray[np.float32]) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale = scales
    quantization.zeroPoint = np.zeros(len(scales), dtype=np.int64)
    quantization.quantizedDimension = 0
    return quantization


def _blockwise(scales: int, block: int) -> Any:
    details = schema.BlockwiseQuantizationT()
    details.scales, details.zeroPoints, details.blockSize = scales, -1, block
    quantization = schema.QuantizationParametersT()
    quantization.detailsType, quantization.details = schema.QuantizationDetails.BlockwiseQuantization, details
    quantization.quantizedDimension = 0
    return quantization
