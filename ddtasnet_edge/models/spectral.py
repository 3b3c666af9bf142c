"""The spectral codec in real arithmetic: window, DFT, magnitude and phase, and the way back.

Written in real arithmetic (dft.py), so that it is part of the graph on every target; complex types and STFT operators
do not convert. Hazards met here, each with its cure:

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

from ddtasnet_edge.models.dft import RealDFT

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
    """Frames [..., window] <-> Spectrum. No parameters; the constants are buffers rebuilt from the configuration.

    Like every block it has two faces that agree: fast library kernels over a sequence (`fft=True`), short matrix
    products (RealDFT) in the step.

    Analysis window: periodic Hamming, as published. Synthesis window: the same divided by the sum of its
    squares over all hops, which makes analysis, synthesis and overlap-add the identity for any hop that
    divides the window (weighted overlap-add).
    """

    analysis_window: Tensor
    synthesis_window: Tensor
    equalizer: Tensor

    def __init__(self, window_length: int, hop_length: int, sample_rate: int) -> None:
        super().__init__()
        window = torch.hamming_window(window_length, periodic=True, dtype=torch.float64)
        overlap_energy = (window * window).reshape(-1, hop_length).sum(dim=0).repeat(window_length // hop_length)
        default = torch.get_default_dtype()
        self.dft = RealDFT(window_length)
        self.register_buffer("analysis_window", window.to(default), persistent=False)
        self.register_buffer("synthesis_window", (window / overlap_energy).to(default), persistent=False)
        frequency = torch.arange(window_length // 2 + 1, dtype=torch.float64) * (sample_rate / window_length)
        self.register_buffer("equalizer", (torch.sqrt(1.0 + frequency / CORNER) / LEVEL).to(default), persistent=False)

    def analyse(self, frames: Tensor, *, fft: bool = False) -> Spectrum:
        """Frames [..., window] to polar form [..., window / 2 + 1]."""
        windowed = frames * self.analysis_window
        real, imaginary = _fft(windowed) if fft else self.dft(windowed)
        power = real * real + imaginary * imaginary
        phase = self.angle(real, imaginary, power)
        return Spectrum(
            magnitude=power * torch.rsqrt(power + TINY_POWER),
            phase=phase,
            magnitude_feature=torch.sqrt(torch.sqrt(power + POWER_FLOOR)) * self.equalizer - OFFSET,
            phase_feature=PHASE_SCALE * phase * _presence(power) * _distance_from_cut(phase),
        )

    def synthesise(self, magnitude: Tensor, phase: Tensor, *, fft: bool = False) -> Tensor:
        """Polar form [..., window / 2 + 1] to windowed frames [..., window], ready for overlap-add."""
        cosine, sine = self.cosine_and_sine(phase)
        real, imaginary = magnitude * cosine, magnitude * sine
        frames = _inverse_fft(real, imaginary) if fft else self.dft.inverse(real, imaginary)
        return frames * self.synthesis_window

    def angle(self, real: Tensor, imaginary: Tensor, power: Tensor) -> Tensor:
        """The phase of each bin from -pi to pi; 0 for an empty bin, with a finite gradient there."""
        return torch.atan2(imaginary, torch.where(power > TINY_POWER, real, torch.ones_like(real)))

    def cosine_and_sine(self, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Of any angle in radians."""
        return torch.cos(phase), torch.sin(phase)


def _fft(frames: Tensor) -> tuple[Tensor, Tensor]:
    """The same as RealDFT."""
    spectrum = torch.fft.rfft(frames, norm="ortho")
    return spectrum.real, F.pad(spectrum.imag[..., 1:-1], (1, 1))


def _inverse_fft(real: Tensor, imaginary: Tensor) -> Tensor:
    """The same as RealDFT.inverse, whose length is even."""
    spectrum = torch.complex(real, F.pad(imaginary[..., 1:-1], (1, 1)))
    frames: Tensor = torch.fft.irfft(spectrum, norm="ortho")
    return frames


def _presence(power: Tensor) -> Tensor:
    """Near 1 for a bin that carries signal, near 0 for one that carries rounding noise."""
    frame = power.sum(dim=-1, keepdim=True)
    return power / (power + (RELATIVE_FLOOR * frame + POWER_FLOOR))


def _distance_from_cut(phase: Tensor) -> Tensor:
    return ((math.pi - phase.abs()) / PHASE_FADE).clamp(max=1.0)
