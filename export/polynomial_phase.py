"""Forms of the spectral codec whose angles are polynomials: additions and products, which every runtime has fast.

LiteRT's delegate has no atan2, so the graph falls apart into three pieces around it; OpenVINO computes atan, sine and
cosine one value at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from torch import Tensor

from ddtasnet_edge.models.spectral import SpectralCodec

# A product with it, cut off at one, is the sign of a value: no comparison, no selection. Values within 1e-30 of zero,
# which lie on a cut anyway, get something between.
STEEP = 1e30
# Keeps 0 / 0 away from silence; nothing against any magnitude whose square a float32 can hold.
TINY = 1e-30

Samples = NDArray[np.float64]


class PolynomialAngle(SpectralCodec):
    """Angles by a polynomial, to 5e-7 radians.

    Bins that the network takes for empty, below 1e-9, have an angle here too; nobody hears it, as their magnitude is
    what it is multiplied with.
    """

    def angle(self, real: Tensor, imaginary: Tensor, power: Tensor) -> Tensor:
        # Half the angle has a tangent between -1 and 1 if the bin is turned to the right first: no octants.
        tangent = imaginary / (torch.sqrt(power) + (real.abs() + TINY))
        angle = tangent * _horner(TWICE_ARCTANGENT, tangent * tangent)
        # Upwards for an imaginary part of zero, which DC and Nyquist have: their angle is 0 or plus pi.
        quarter = (0.5 * math.pi) * (imaginary * STEEP + 1.0).clamp(-1.0, 1.0)
        # To the right for silence, whose angle is 0.
        left = (real * -STEEP - 1.0).clamp(-1.0, 1.0)
        return quarter + left * (quarter - angle)


class PolynomialSine(SpectralCodec):
    """Cosines and sines by polynomials, to 8e-7 within a turn; beyond, to the rounding of the angle itself."""

    def cosine_and_sine(self, phase: Tensor) -> tuple[Tensor, Tensor]:
        turns = phase * (0.5 / math.pi)
        # From -1 to 1 in half turns.
        rest = 2.0 * (turns - torch.round(turns))
        square = rest * rest
        return _horner(COSINE, square), rest * _horner(SINE, square)


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """The polynomial with these coefficients, highest power first."""
    y = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        y = y * x + coefficient
    return y


def _fit(function: Callable[[Samples], Samples], degree: int) -> tuple[float, ...]:
    """A polynomial through the Chebyshev points of 0 ... 1: nearly the best of its degree. Highest power first."""
    series = Chebyshev.interpolate(function, degree, domain=[0.0, 1.0])
    return tuple(float(value) for value in series.convert(kind=Polynomial).coef[::-1])


# Of the square of the argument: odd functions are divided by it. Chebyshev points leave out zero.
TWICE_ARCTANGENT = _fit(lambda square: 2.0 * np.arctan(np.sqrt(square)) / np.sqrt(square), 9)
COSINE = _fit(lambda square: np.cos(math.pi * np.sqrt(square)), 7)
SINE = _fit(lambda square: np.sin(math.pi * np.sqrt(square)) / np.sqrt(square), 7)
