"""Fake quantization: what each runtime's arithmetic makes of quantized products, computed in PyTorch floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.quantize.layer import QuantizedLayer, round_to
from ddtasnet_edge.quantize.products import Product


@dataclass(frozen=True)
class Arithmetic:
    """How a runtime computes quantized products, beyond the integers that it is given.

    static_output: the result of a static product is rounded to INT8 too. dynamic8: what shares a range measured on
    the hop, for weights of eight bits: 'tensor' (all rows), 'row', or 'none' where activations stay float. dynamic4:
    the same for four bits, or 'block' for a symmetric range for each block of a row, as long as the block of the
    weight and at most `widest` inputs. aligned: whether blocks must divide the inputs.
    """

    static_output: bool
    dynamic8: str
    dynamic4: str
    widest: int = 0
    aligned: bool = True


def simulated(layers: Mapping[str, QuantizedLayer], arithmetic: Arithmetic, clips: int) -> Product:
    """The products of a model with these layers quantized; the others stay float. clips: played side by side."""
    weights = {name: torch.from_numpy(layer.weight.matrix) for name, layer in layers.items()}

    def product(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer = layers.get(name)
        if layer is None:
            return F.linear(x, weight, bias)
        y = F.linear(_round_input(layer, arithmetic, x, clips), weights[name], bias)
        return round_to(layer.output, y) if layer.output is not None else y

    return product


def _round_input(layer: QuantizedLayer, arithmetic: Arithmetic, x: Tensor, clips: int) -> Tensor:
    if layer.input is not None:
        return round_to(layer.input, x)
    shared = arithmetic.dynamic8 if layer.weight.bits == 8 else arithmetic.dynamic4
    if shared == "none":
        return x
    if shared == "block":
        return _round_blocks(x, min(layer.weight.block, arithmetic.widest))
    if shared == "row":
        return _round_measured(x, (-1,))
    # Streams of one clip are rows of one tensor on the device; here rows of all clips lie stream after stream.
    streams = torch.unflatten(x, 0, (-1, clips))
    return _round_measured(streams, (0, *range(2, streams.ndim))).flatten(0, 1)


def _round_measured(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """x on the grid of 256 values over its own range in `dims`, zero included."""
    low, high = x.amin(dims, keepdim=True).clamp(max=0.0), x.amax(dims, keepdim=True).clamp(min=0.0)
    scale = ((high - low) / 255.0).clamp(min=torch.finfo(x.dtype).tiny)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return (torch.clamp(torch.round(x / scale) + zero, 0, 255) - zero) * scale


def _round_blocks(x: Tensor, block: int) -> Tensor:
    """x on symmetric grids of 255 values, one for each block of each row."""
    inputs = x.shape[-1]
    blocks: Tensor = torch.unflatten(F.pad(x, (0, -inputs % block)), -1, (-1, block))
    scale = (blocks.abs().amax(-1, keepdim=True) / 127.0).clamp(min=torch.finfo(x.dtype).tiny)
    return (torch.round(blocks / scale) * scale).flatten(-2)[..., :inputs]
