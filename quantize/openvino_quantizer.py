"""Quantized products for OpenVINO: stored integers with their scales, and the grid of a static input before them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from ddtasnet_edge.export.openvino_exporter import FILES
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.quantize.layer import LEVELS, Grid, QuantizedLayer, QuantizedWeight
from ddtasnet_edge.quantize.simulate import Arithmetic

# With four bits the CPU plugin rounds activations too, in groups of 32 (its default); with eight it does not.
ARITHMETIC = Arithmetic(static_output=False, dynamic8="none", dynamic4="block", widest=32)


def quantize_graph(folder: Path, layers: Mapping[str, QuantizedLayer]) -> None:
    """Replace these products of the IR, by friendly name, in place."""
    with converter_output_captured("writing the quantized OpenVINO graph"):
        graph = ov.Core().read_model(folder / FILES[0])
        for node in graph.get_ordered_ops():
            layer = layers.get(node.friendly_name)
            if layer is not None:
                _quantize(node, layer)
        graph.validate_nodes_and_infer_types()
        # Saved beside and moved: the float weights are memory-mapped from the file that is about to be replaced.
        ov.save_model(graph, folder / "quantized.xml", compress_to_fp16=False)
    del graph
    for name in FILES:
        (folder / f"quantized{Path(name).suffix}").replace(folder / name)


def _quantize(product: ov.Node, layer: QuantizedLayer) -> None:
    weight = _weight(layer.weight)
    if not product.get_attributes()["transpose_b"]:
        weight = ops.transpose(weight, np.array([1, 0]))
    product.input(1).replace_source_output(weight.output(0))
    if layer.input is not None:
        product.input(0).replace_source_output(_rounded(product.input_value(0), layer.input).output(0))
    if layer.weight.missing:
        product.input(0).replace_source_output(_padded(product.input_value(0), layer.weight.missing).output(0))


def _weight(weight: QuantizedWeight) -> ov.Node:
    """Integers -> float -> times their scale, [outputs, inputs]; the CPU plugin keeps them as integers.

    With blocks the inputs are filled up to whole ones: the plugin computes wrong sums with others.
    """
    if weight.per_output:
        return ops.multiply(_as_float(weight.values, weight.bits), ops.constant(weight.scales))
    outputs, blocks = weight.scales.shape
    values = _as_float(weight.padded.reshape(outputs, blocks, weight.block), weight.bits)
    # Scales of blocks fit into float16 by construction (rounding.py).
    scales = ops.convert(ops.constant(weight.scales[:, :, None].astype(np.float16)), np.float32)
    scaled = ops.multiply(values, scales)
    return ops.reshape(scaled, np.array([outputs, blocks * weight.block]), special_zero=False)


def _as_float(values: np.ndarray, bits: int) -> ov.Node:
    if bits == 8:
        return ops.convert(ops.constant(values), np.float32)
    nibbles = (values.ravel() & 0xF).astype(np.uint8)
    # A tensor made from an array would share memory that nobody keeps.
    tensor = ov.Tensor(ov.Type.i4, ov.Shape(values.shape))
    tensor.data.ravel()[:] = nibbles[0::2] | nibbles[1::2] << 4
    return ops.convert(ops.constant(tensor), np.float32)


def _padded(x: ov.Output, count: int) -> ov.Node:
    """x with so many zeros behind its last axis."""
    rank = len(x.get_partial_shape())
    return ops.pad(x, np.zeros(rank, dtype=np.int64), np.array([0] * (rank - 1) + [count]), "constant", np.float32(0))


def _rounded(x: ov.Output, grid: Grid) -> ov.Node:
    low, high = np.float32(grid.low), np.float32(grid.high)
    return ops.fake_quantize(x, low, high, low, high, LEVELS)
