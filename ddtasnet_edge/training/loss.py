"""The training loss: waveform L1 and multi-resolution STFT magnitude."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

RESOLUTIONS = (512, 2048, 4096)  # FFT lengths in samples; a hop is half of each


def separation_loss(estimate: Tensor, stems: Tensor, stft_weight: float, step: int) -> Tensor:
    """Mean |error| of the waveform plus `stft_weight` times that of the STFT magnitudes.

    estimate and stems: [batch, sources, channels, n] float32. An optimizer step takes one resolution, the next step
    the next: over three steps it is the multi-resolution loss at a third of its cost. The STFT is of the sum of
    the channels, scaled so that white noise has errors of one size in both terms. A segment shorter than a
    resolution goes without it.
    """
    loss = F.l1_loss(estimate, stems)
    lengths = [length for length in RESOLUTIONS if length <= stems.shape[-1]]
    if stft_weight == 0.0 or not lengths:
        return loss
    length = lengths[step % len(lengths)]
    difference = _magnitude(estimate.mean(dim=2), length) - _magnitude(stems.mean(dim=2), length)
    return loss + stft_weight * difference.abs().mean()


def _magnitude(signals: Tensor, length: int) -> Tensor:
    """STFT magnitudes of signals [batch, sources, n], without padding."""
    window = _window(length, signals.device)
    spectrum = torch.stft(signals.flatten(0, 1), length, length // 2, window=window, center=False, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    # The root of zero has no gradient.
    return torch.sqrt(power + 1e-12)


@cache
def _window(length: int, device: torch.device) -> Tensor:
    """A Hann window of unit energy."""
    window = torch.hann_window(length, device=device)
    return window / window.square().sum().sqrt()
