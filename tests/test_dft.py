"""The factorised DFT: equal to numpy's at every even length, exact where the spectral codec relies on it, and small."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddtasnet_edge.models.dft import RealDFT, factors, rotation
from tests.contract import TOLERANCE, assert_close
from tests.small import default_dtype, noise

LENGTHS = st.integers(1, 200).map(lambda half: 2 * half)
LEADING = st.lists(st.integers(1, 3), max_size=3).map(tuple)
DTYPES = st.sampled_from([torch.float32, torch.float64])
# Powers of two, mixed factors, and twice a prime.
SOME_LENGTHS = [2, 4, 6, 22, 60, 64, 512, 882, 1018, 1024, 2048]


def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts by numpy, in double precision, in the dtype of x."""
    expected = np.fft.rfft(x.double().numpy(), norm="ortho")
    return torch.from_numpy(expected.real.copy()).to(x.dtype), torch.from_numpy(expected.imag.copy()).to(x.dtype)


def make(length: int, dtype: torch.dtype = torch.float32) -> RealDFT:
    with default_dtype(dtype):
        return RealDFT(length)


def check(length: int, leading: tuple[int, ...], dtype: torch.dtype) -> None:
    dft, x = make(length, dtype), noise(*leading, length, dtype=dtype)
    for name, part, expected in zip(("real", "imaginary"), dft(x), spectrum(x), strict=True):
        # Relative to the frame: with a length of 2 there is no imaginary part to be relative to.
        assert part.shape == expected.shape, name
        assert (part - expected).abs().max() <= TOLERANCE[dtype] * x.abs().max(), name
    bins = (*leading, length // 2 + 1)
    real, imaginary = noise(*bins, dtype=dtype), noise(2, *bins, dtype=dtype)[1]
    frames = np.fft.irfft((real + 1j * imaginary).to(torch.complex128).numpy(), n=length, norm="ortho")
    assert_close(dft.inverse(real, imaginary), torch.from_numpy(frames).to(dtype), "inverse")


@settings(max_examples=150, deadline=None)
@given(LENGTHS, LEADING, DTYPES)
def test_it_is_the_orthonormal_dft(length: int, leading: tuple[int, ...], dtype: torch.dtype) -> None:
    check(length, leading, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", SOME_LENGTHS)
def test_lengths_of_windows_and_awkward_ones(length: int, dtype: torch.dtype) -> None:
    check(length, (2, 3), dtype)


@pytest.mark.parametrize("length", SOME_LENGTHS)
def test_there_and_back_is_the_identity(length: int) -> None:
    dft, x = make(length), noise(3, length)
    assert_close(dft.inverse(*dft(x)), x, f"length {length}")


@pytest.mark.parametrize("length", SOME_LENGTHS)
def test_the_inverse_is_the_weighted_adjoint(length: int) -> None:
    """<w X, dft(y)> = <inverse(X), y>, where w is two for bins that stand for their mirror image too."""
    dft, y = make(length, torch.float64), noise(length, dtype=torch.float64)
    real, imaginary = noise(2, length // 2 + 1, dtype=torch.float64)
    weight = torch.full_like(real, 2.0)
    weight[[0, -1]] = 1.0
    of_y = dft(y)
    left = (weight * (real * of_y[0] + imaginary * of_y[1])).sum()
    assert left.item() == pytest.approx((dft.inverse(real, imaginary) @ y).item(), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("length", SOME_LENGTHS)
def test_dc_and_nyquist_have_no_imaginary_part(length: int) -> None:
    """Plus zero going in, whatever the rounding, and without any effect coming back."""
    dft, x = make(length), noise(50, length)
    edges = dft(x)[1][:, [0, -1]]
    assert torch.equal(edges, torch.zeros(50, 2))
    assert not edges.signbit().any()
    real, imaginary = noise(length // 2 + 1), noise(length // 2 + 1)
    without = F.pad(imaginary[1:-1], (1, 1))
    assert torch.equal(dft.inverse(real, imaginary), dft.inverse(real, without))


@pytest.mark.parametrize("length", SOME_LENGTHS)
def test_silence_is_exactly_zero_both_ways(length: int) -> None:
    dft, silence = make(length), torch.zeros(2, length)
    real, imaginary = dft(silence)
    assert not real.any()
    assert not imaginary.any()
    assert not dft.inverse(real, imaginary).any()


@given(LENGTHS)
def test_factors_are_the_nearest_to_the_root_that_fit(length: int) -> None:
    first, second = factors(length)
    assert first * second == length
    assert second % 2 == 0
    others = [p for p in range(1, length + 1) if length % p == 0 and (length // p) % 2 == 0]
    assert abs(math.log(first / second)) == pytest.approx(min(abs(math.log(p * p / length)) for p in others))


def test_factors_of_windows() -> None:
    assert [factors(length) for length in (64, 512, 1024, 2048)] == [(8, 8), (16, 32), (32, 32), (32, 64)]


@pytest.mark.parametrize(("length", "most"), [(64, 1_000), (512, 6_000), (1024, 10_000), (2048, 22_000)])
def test_it_is_far_smaller_than_a_dense_matrix(length: int, most: int) -> None:
    assert sum(buffer.numel() for buffer in make(length).buffers()) < most < length * length / 4


def test_it_has_no_weights_to_train_or_to_save() -> None:
    dft = make(64)
    assert not list(dft.parameters())
    assert not dft.state_dict()


@pytest.mark.parametrize("period", [4, 6, 64, 1022])
def test_rotations_are_exact_where_they_are_zero(period: int) -> None:
    row = torch.arange(2 * period)
    cosine, sine = (each[0].numpy() for each in rotation(torch.tensor([1]), row, period))
    exact = np.exp(2j * np.pi * row.numpy() / period)
    np.testing.assert_allclose(cosine + 1j * sine, exact, rtol=0, atol=1e-15 * period)
    np.testing.assert_array_equal(cosine == 0.0, np.abs(exact.real) < 1e-9)
    np.testing.assert_array_equal(sine == 0.0, np.abs(exact.imag) < 1e-9)
