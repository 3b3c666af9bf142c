"""Weights to integers: to the nearest, or with the error of one input made up for by others."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.quantize.layer import QuantizedWeight

# Scales of four bits are whole multiples, at most so many, of one unit per output. Weights trained for four bits
# then lie on one even grid per output, and eight bits hold them without a loss too: 7 * 15 steps are less than 127.
UNITS = 15
# Scales tried for eight bits, besides that unit, as shares of the one that just holds the largest weight.
SHARES = tuple(0.9 + 0.02 * step for step in range(6))
# By how much of a unit a block may exceed its scale: the unit itself is rounded, and moves the largest by less.
SLACK = 0.1
# Added to the diagonal of the moment, as a share of its mean: inputs that were hardly heard may not be bent at will.
DAMPING = 0.01
# Inputs whose rounding errors are carried on one by one; beyond, all of them at once.
GROUP = 64


def rounded(weight: Tensor, bits: int, block: int | None) -> Tensor:
    """Weight [outputs, inputs] to the nearest value of the finest grids that hold it, on the device of the weight.

    What is rounded stays as it is, but for rare blocks that are much smaller than the largest of their output.
    """
    size = block or weight.shape[1]
    scales = _largest(weight, bits, size)
    if bits == 4:
        # A block that was rounded down may fit a finer grid, but it lies on the one that it was rounded to.
        wider = torch.minimum(scales + _unit(weight), UNITS * _unit(weight))
        blocks, step = _blocks(weight.detach(), size), wider[:, :, None]
        lossless = (_to_grid(blocks, step, bits) * step == blocks).all(dim=2)
        scales = torch.where(lossless, wider, scales)
    steps = _spread(scales, size, weight.shape[1])
    return _to_grid(weight, steps, bits) * steps


def round_with_feedback(weight: Tensor, bits: int, block: int | None, moment: Tensor) -> QuantizedWeight:
    """Input after input, the error of rounding its weights is made up for by the inputs not yet rounded.

    moment [inputs, inputs]: the mean of x x' over the inputs x of the product, so that what is small is the error
    of its output (Frantar et al. 2022, GPTQ, with scales chosen for the least squared error of the weights and the
    inputs that carry most power first).
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
            stored = _to_grid(left[:, index], steps[:, index], bits) * steps[:, index]
            error = (left[:, index] - stored) / factor[index, index]
            left[:, index + 1 : end] -= torch.outer(error, factor[index, index + 1 : end])
            left[:, index] = stored
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
    """The smallest scales that hold every weight, [outputs, blocks]."""
    largest = _blocks(weight.detach(), size).abs().amax(dim=2)
    if bits == 8:
        return _storable(largest / 127, size < weight.shape[1])
    units = torch.ceil(largest / 7 / _unit(weight) - SLACK).clamp(1, UNITS)
    return _storable(units * _unit(weight), size < weight.shape[1])


def _unit(weight: Tensor) -> Tensor:
    """What scales of four bits are multiples of, [outputs, 1]: of so few bits that float16 holds the multiples."""
    unit = _not_zero(weight.detach().abs().amax(dim=1, keepdim=True) / (7 * UNITS))
    mantissa, exponent = torch.frexp(unit)
    return torch.ldexp(torch.round(mantissa * 128.0) / 128.0, exponent)


def _scales(weight: Tensor, bits: int, size: int) -> Iterator[Tensor]:
    """All scales to try for each block, [outputs, blocks]."""
    largest, unit = _largest(weight, bits, size), _unit(weight)
    if bits == 8:
        yield from (_storable(largest * share, size < weight.shape[1]) for share in SHARES)
        yield unit.expand_as(largest)
    else:
        yield from (_storable(unit.expand_as(largest) * count, size < weight.shape[1]) for count in range(1, UNITS + 1))


def _storable(scales: Tensor, blockwise: bool) -> Tensor:
    """Scales of blocks as LiteRT stores them, in float16, so that all targets have the same; never zero."""
    kind = torch.float16 if blockwise else torch.float32
    return _not_zero(scales, kind).to(kind).float()


def _not_zero(scales: Tensor, kind: torch.dtype = torch.float32) -> Tensor:
    return scales.clamp(min=torch.finfo(kind).smallest_normal)


def _least_error(weight: Tensor, bits: int, size: int, power: Tensor) -> Tensor:
    """The scales of least squared error, [outputs, blocks]; power [inputs]: how much that of an input counts."""
    blocks = _blocks(weight.detach(), size)
    counts = _blocks(power.float()[None], size)
    best, least = torch.zeros_like(blocks[..., 0]), torch.full_like(blocks[..., 0], torch.inf)
    for scales in _scales(weight, bits, size):
        step = scales[:, :, None]
        error = (counts * (_to_grid(blocks, step, bits) * step - blocks) ** 2).sum(dim=2)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


def _store(weight: Tensor, scales: Tensor, bits: int, size: int) -> QuantizedWeight:
    values = _to_grid(weight.detach(), _spread(scales, size, weight.shape[1]), bits)
    return QuantizedWeight(values.to(torch.int8).numpy(), scales.float().numpy(), bits, size)
