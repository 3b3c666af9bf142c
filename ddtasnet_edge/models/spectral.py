"""The spectral codec in real arithmetic: window, DFT, magnitude and phase, and the way back.

Written as matrix products on real numbers, so that it is part of the graph on every target; complex types and
STFT operators do not convert. Hazards met here, each with its cure:

- atan2 wraps at +-pi and jumps there on one rounding error. The *feature* fades to zero near the cut and in bins
  that hold nothing but rounding noise, so runtimes that round differently still agree; the synthesis uses the
  plain angle, where a jump touches one bin of one frame and is never fed back.
- The sign of zero at DC and Nyquist flips the angle: their imaginary part is not computed but set to +0.
- Silence: 0 / 0 never occurs, and a magnitude of zero gives exactly zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Power at which a bin counts as empty, relative to its whole frame. Rounding errors of a float32 DFT lie about
# 140 dB below the frame, so at -70 dB a phase is still known to 1e-3 radians; far below it is noise.
RELATIVE_FLOOR = 1e-7
# Power at which a bin counts as empty in absolute terms: -100 dB of a full-scale sine (about 75 in this scaling).
POWER_FLOOR = 1e-8
# Inside the root of the magnitude: keeps the gradient finite and zero at zero.
TINY_POWER = 1e-18
# The spectrum of music falls with frequency: the root of the magnitude deviates by LEVEL / sqrt(1 + f / CORNER) over
# time, and its mean is OFFSET times that. Undoing both shows the network bass and treble alike, near 0 +- 1, and the
# treble is where drums and consonants are told from the rest.
LEVEL, CORNER, OFFSET = 0.3, 500.0, 1.5
# The two features share a memory's weights, and phases are noise over +-pi: unscaled, it drowns the magnitudes.
PHASE_SCALE = 0.1
# Radians before the cut over which the phase feature fades: slope pi / 0.1 instead of a jump of 2 pi.
PHASE_FADE = 0.1


@dataclass(frozen=True)
class Spectrum:
    """One or more frames in polar form, each field [..., channels, bins].

    magnitude and phase (radians) are exact and are what the masks multiply; the features are what the network
    hears: the magnitude compressed to its square root and equalized, the phase without its discontinuities.
    """

    magnitude: Tensor
    phase: Tensor
    magnitude_feature: Tensor
    phase_feature: Tensor


class SpectralCodec(nn.Module):
    """Frames [..., window] <-> Spectrum. No parameters; the bases are buffers rebuilt from the configuration.

    Like every block it has two faces that agree: fast library kernels over a sequence (`fft=True`), plain matrix
    products in the step.

    Analysis window: periodic Hamming, as published. Synthesis window: the same divided by the sum of its
    squares over all hops, which makes analysis, synthesis and overlap-add the identity for any hop that
    divides the window (weighted overlap-add).
    """

    analysis: Tensor
    synthesis: Tensor
    analysis_window: Tensor
    synthesis_window: Tensor
    equalizer: Tensor

    def __init__(self, window_length: int, hop_length: int, sample_rate: int) -> None:
        super().__init__()
        window = torch.hamming_window(window_length, periodic=True, dtype=torch.float64)
        overlap_energy = (window * window).reshape(-1, hop_length).sum(dim=0).repeat(window_length // hop_length)
        basis = real_dft_basis(window_length)
        inverse_weight = torch.full((window_length,), 2.0, dtype=torch.float64)
        inverse_weight[[0, window_length // 2]] = 1.0
        default = torch.get_default_dtype()
        self.register_buffer("analysis", (basis * window).to(default), persistent=False)
        synthesis = (basis * inverse_weight[:, None]).T * (window / overlap_energy)[:, None]
        self.register_buffer("synthesis", synthesis.contiguous().to(default), persistent=False)
        self.register_buffer("analysis_window", window.to(default), persistent=False)
        self.register_buffer("synthesis_window", (window / overlap_energy).to(default), persistent=False)
        frequency = torch.arange(window_length // 2 + 1, dtype=torch.float64) * (sample_rate / window_length)
        self.register_buffer("equalizer", (torch.sqrt(1.0 + frequency / CORNER) / LEVEL).to(default), persistent=False)

    def analyse(self, frames: Tensor, *, fft: bool = False) -> Spectrum:
        """Frames [..., window] to polar form [..., window / 2 + 1]."""
        real, inner = self._fft(frames) if fft else self._product(frames)
        imaginary = F.pad(inner, (1, 1))
        power = real * real + imaginary * imaginary
        phase = safe_atan2(imaginary, real, power)
        return Spectrum(
            magnitude=power * torch.rsqrt(power + TINY_POWER),
            phase=phase,
            magnitude_feature=torch.sqrt(torch.sqrt(power + POWER_FLOOR)) * self.equalizer - OFFSET,
            phase_feature=PHASE_SCALE * phase * _presence(power) * _distance_from_cut(phase),
        )

    def synthesise(self, magnitude: Tensor, phase: Tensor, *, fft: bool = False) -> Tensor:
        """Polar form [..., window / 2 + 1] to windowed frames [..., window], ready for overlap-add."""
        real = magnitude * torch.cos(phase)
        imaginary = magnitude[..., 1:-1] * torch.sin(phase[..., 1:-1])
        if fft:
            spectrum = torch.complex(real, F.pad(imaginary, (1, 1)))
            frames: Tensor = torch.fft.irfft(spectrum, n=len(self.synthesis_window), norm="ortho")
            return frames * self.synthesis_window
        return F.linear(torch.cat([real, imaginary], dim=-1), self.synthesis)

    def _product(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Real parts of all bins, imaginary parts of the bins between DC and Nyquist."""
        bins = frames.shape[-1] // 2 + 1
        transformed = F.linear(frames, self.analysis)
        return transformed[..., :bins], transformed[..., bins:]

    def _fft(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The same as `_product`."""
        spectrum = torch.fft.rfft(frames * self.analysis_window, norm="ortho")
        return spectrum.real, spectrum.imag[..., 1:-1]


def real_dft_basis(length: int) -> Tensor:
    """Orthonormally scaled real DFT as a square matrix [length, length], float64.

    Rows 0 ... length / 2 are cosines (real parts), the others minus sines (imaginary parts of the bins
    1 ... length / 2 - 1); the imaginary parts of DC and Nyquist are zero by definition and left out.
    """
    half = length // 2
    # Reduce k * n modulo the period first: the angles stay small and the basis exact to the last bits.
    turns = torch.outer(torch.arange(half + 1), torch.arange(length)) % length
    angle = turns.to(torch.float64) * (2.0 * math.pi / length)
    return torch.cat([torch.cos(angle), -torch.sin(angle[1:half])]) / math.sqrt(length)


def safe_atan2(imaginary: Tensor, real: Tensor, power: Tensor) -> Tensor:
    """atan2 that gives 0 for an empty bin, with a finite gradient there."""
    return torch.atan2(imaginary, torch.where(power > TINY_POWER, real, torch.ones_like(real)))


def _presence(power: Tensor) -> Tensor:
    """Near 1 for a bin that carries signal, near 0 for one that carries rounding noise."""
    frame = power.sum(dim=-1, keepdim=True)
    return power / (power + RELATIVE_FLOOR * frame + POWER_FLOOR)


def _distance_from_cut(phase: Tensor) -> Tensor:
    return ((math.pi - phase.abs()) / PHASE_FADE).clamp(min=0.0, max=1.0)
