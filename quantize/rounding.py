"""Weights to integers: by the largest weight, by least error, or with the error of one input made up for by others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.quantize.layer import QuantizedWeight

# Scales tried, as shares of the one that just holds the largest weight.
SHARES = tuple(0.4 + 0.02 * step for step in range(31))
# Added to the diagonal of the moment, as a share of its mean: inputs that were hardly heard may not be bent at will.
DAMPING = 0.01
# Inputs whose rounding errors are carried on one by one; beyond, all of them at once.
GROUP = 64


def round_nearest(weight: Tensor, bits: int, block: int | None) -> QuantizedWeight:
    """Weight [outputs, inputs] with the scales that just hold the largest weight of each block."""
    size = block or weight.shape[1]
    return _store(weight, _largest(weight, bits, size), bits, size)


def rounded(weight: Tensor, bits: int, block: int | None) -> Tensor:
    """What `round_nearest` stands for, [outputs, inputs], on the device of the weight."""
    size = block or weight.shape[1]
    steps = _spread(_largest(weight, bits, size), size, weight.shape[1])
    return _to_grid(weight, steps, bits) * steps


def round_least_error(weight: Tensor, bits: int, block: int | None, power: Tensor) -> QuantizedWeight:
    """The same, each scale chosen for the least squared error; power [inputs]: how much that of an input counts."""
    size = block or weight.shape[1]
    return _store(weight, _least_error(weight, bits, size, power), bits, size)


def round_with_feedback(weight: Tensor, bits: int, block: int | None, moment: Tensor) -> QuantizedWeight:
    """Input after input, the error of rounding its weights is made up for by the inputs not yet rounded.

    moment [inputs, inputs]: the mean of x x' over the inputs x of the product, so that what is small is the error
    of its output (Frantar et al. 2022, GPTQ, with the scales of `round_least_error` and the inputs that carry
    most power first).
    """
    size = block or weight.shape[1]
    damped = moment.double() + DAMPING * moment.diagonal().mean().clamp(min=1e-12) * torch.eye(len(moment))
    scales = _least_error(weight, bits, size, damped.diagonal())
    order = torch.argsort(damped.diagonal(), descending=True)
    factor = _inverse_factor(damped[order][:, order]).float()
    steps = _spread(scales, size, weight.shape[1])[:, order]
    left = weight.detach()[:, order].clone()
    for start in range(0, left.shape[1], GROUP):
        end = min(start + GROUP, left.shape[1])
        errors = torch.empty(len(left), end - start)
        for index in range(start, end):
            rounded = _to_grid(left[:, index], steps[:, index], bits) * steps[:, index]
            error = (left[:, index] - rounded) / factor[index, index]
            left[:, index + 1 : end] -= torch.outer(error, factor[index, index + 1 : end])
            left[:, index] = rounded
            errors[:, index - start] = error
        left[:, end:] -= errors @ factor[start:end, end:]
    back = torch.argsort(order)
    return _store(left[:, back], scales, bits, size)


def _inverse_factor(moment: Tensor) -> Tensor:
    """Upper triangular U with U' U the inverse of the moment."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def _limits(bits: int) -> tuple[int, int]:
    """Eight bits are used symmetrically, as every INT8 kernel expects; of four bits none is given away."""
    return (-127, 127) if bits == 8 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _blocks(weight: Tensor, size: int) -> Tensor:
    """[outputs, inputs] to [outputs, blocks, size], filled up with zeros."""
    padded = F.pad(weight, (0, -weight.shape[1] % size))
    return torch.unflatten(padded, 1, (-1, size))


def _spread(scales: Tensor, size: int, inputs: int) -> Tensor:
    """Scales [outputs, blocks] to one per weight, [outputs, inputs]."""
    return scales.repeat_interleave(size, dim=1)[:, :inputs]


def _to_grid(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    return torch.clamp(torch.round(weight / step), *_limits(bits))


def _largest(weight: Tensor, bits: int, size: int) -> Tensor:
    largest = _blocks(weight.detach(), size).abs().amax(dim=2) / _limits(bits)[1]
    return _storable(largest, size < weight.shape[1])


def _storable(scales: Tensor, blockwise: bool) -> Tensor:
    """Scales of blocks as LiteRT stores them, in float16, so that all targets have the same; never zero."""
    kind = torch.float16 if blockwise else torch.float32
    smallest = torch.finfo(kind).smallest_normal
    return scales.clamp(min=smallest).to(kind).float()


def _least_error(weight: Tensor, bits: int, size: int, power: Tensor) -> Tensor:
    blocks = _blocks(weight.detach(), size)
    counts = _blocks(power.float()[None], size)
    largest = _largest(weight, bits, size)
    best, least = largest, torch.full_like(largest, torch.inf)
    for share in SHARES:
        scales = _storable(largest * share, size < weight.shape[1])
        step = scales[:, :, None]
        error = (counts * (_to_grid(blocks, step, bits) * step - blocks) ** 2).sum(dim=2)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


def _store(weight: Tensor, scales: Tensor, bits: int, size: int) -> QuantizedWeight:
    values = _to_grid(weight.detach(), _spread(scales, size, weight.shape[1]), bits)
    return QuantizedWeight(values.to(torch.int8).numpy(), scales.float().numpy(), bits, size)
