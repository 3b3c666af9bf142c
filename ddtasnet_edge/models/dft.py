"""The discrete Fourier transform of real frames in two short stages of real arithmetic."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RealDFT(nn.Module):
    """Frames [..., length] <-> bins [..., length / 2 + 1], orthonormally scaled, as plain products of real matrices.

    A dense matrix of a DFT has length ** 2 elements, and a step that handles one frame reads them all. Split instead
    the length into P * Q, both near its root, and the sum over samples n = Q p + q for bin k = P j + i into a sum
    over p and one over q (Cooley & Tukey 1965), with W(x) = exp(-2 pi sqrt(-1) x):

        X[P j + i] = sum_q W(q j / Q) * W(q i / length) * sum_p W(p i / P) * x[Q p + q]

    - first: a frame is P rows of Q samples, and each of its columns goes through a DFT of P samples:
      [Q, P] x [P, 2 P], real parts beside imaginary parts.
    - turn: every element is rotated by an angle of its own. With z the real and imaginary parts and `swapped` the
      same with halves exchanged this is z * cosines + swapped * sines: fewer operators than a complex product.
    - second: DFTs of Q samples across the columns, their constant on the left, so that bins come out in their natural
      order: [Q + 1, 2 Q] x [2 Q, P]. Half the bins describe a real frame, so only the rows j up to length / 2 are
      there: Q / 2 + 1 of real parts, the last for Nyquist alone, and Q / 2 of imaginary parts.

    About 2 length (P + Q) multiplications instead of length ** 2, and 9 length constants: for 1024 = 32 * 32 that is
    0.13 million and 37 kB, where a dense matrix has 1 million and 4 MB. The inverse is the same chain backwards with
    every matrix transposed, because that is what undoes an orthonormal transform; bins that stand for their mirror
    image too count twice.

    The length is even, and so is Q, so that imaginary parts fill whole rows. Where the length has a large prime
    factor, one stage is as large as that factor.
    """

    first: Tensor
    second: Tensor
    cosines: Tensor
    sines: Tensor
    weight: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.bins = length, length // 2 + 1
        p, q = self.factors = factors(length)
        rows, columns, bins = torch.arange(p), torch.arange(q), torch.arange(q // 2 + 1)
        cosine, sine = rotation(rows, rows, p)
        self._constant("first", torch.cat([cosine, -sine], dim=1) / math.sqrt(length))
        cosine, sine = rotation(columns, rows, length)
        self._constant("cosines", torch.cat([cosine, cosine], dim=1))
        self._constant("sines", torch.cat([sine, -sine], dim=1))
        cosine, sine = rotation(bins, columns, q)
        real, imaginary = torch.stack([cosine, sine], dim=-1), torch.stack([-sine, cosine], dim=-1)
        self._constant("second", torch.cat([real, imaginary[:-1]]).flatten(1))
        weight = torch.full((q + 1, p), 2.0, dtype=torch.float64)
        weight[[0, q // 2], 0] = 1.0
        self._constant("weight", weight)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts [..., length / 2 + 1] of frames [..., length].

        The imaginary parts of DC and Nyquist are not computed but set to +0.
        """
        p, q = self.factors
        columns = frames.reshape(-1, p, q).transpose(1, 2)
        z = self._turn(columns @ self.first, self.sines)
        bins = (self.second @ z.reshape(-1, 2 * q, p)).reshape(*frames.shape[:-1], -1)
        return bins[..., : self.bins], F.pad(bins[..., self.bins + p :], (1, 1))

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Frames [..., length] of real and imaginary parts [..., length / 2 + 1].

        The imaginary parts of DC and Nyquist do not matter: one meets sines of zero only, the other is left out.
        """
        p, q = self.factors
        bins = torch.cat([F.pad(real, (0, p - 1)), imaginary[..., :-1]], dim=-1).reshape(-1, q + 1, p)
        z = self.second.T @ (bins * self.weight)
        columns = F.linear(self._turn(z.reshape(-1, q, 2 * p), -self.sines), self.first)
        return columns.transpose(1, 2).reshape(*real.shape[:-1], self.length)

    def _turn(self, z: Tensor, sines: Tensor) -> Tensor:
        real, imaginary = z.chunk(2, dim=-1)
        return z * self.cosines + torch.cat([imaginary, real], dim=-1) * sines

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.to(torch.get_default_dtype()).contiguous(), persistent=False)


def factors(length: int) -> tuple[int, int]:
    """The two factors of an even length that lie nearest to its root, the second of them even.

    >>> factors(1024), factors(512), factors(18), factors(22)
    ((32, 32), (16, 32), (3, 6), (11, 2))
    """
    first = min((p for p in range(1, length) if length % (2 * p) == 0), key=lambda p: (p + length // p, p))
    return first, length // first


def rotation(rows: Tensor, columns: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [rows, columns] of 2 pi row * column / period for whole numbers, float64.

    Exact where the value is 0, because RealDFT relies on it, and to the last bits elsewhere: whole turns are taken off
    before the angle is rounded.
    """
    turns = torch.outer(rows, columns) % period
    angle = turns.to(torch.float64) * (2.0 * math.pi / period)
    quarters = 4 * turns % (2 * period)
    return torch.cos(angle).masked_fill(quarters == period, 0.0), torch.sin(angle).masked_fill(quarters == 0, 0.0)
