"""The learned time-domain basis: gated encoder with frame normalisation, and linear decoder."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddtasnet_edge.models.dft import rotation

# Added to the energy of a frame before its root: -120 dB of a full-scale frame; silence divides to silence.
ENERGY_FLOOR = 1e-9
# Frames have unit energy: without it the first features would be far below one.
FEATURE_SCALE = 24.0


class TimeEncoder(nn.Module):
    """Frames [..., window] to non-negative features [..., bases] and the norm [..., 1] of each frame.

    features = relu(u) * sigmoid(v) with (u, v) one linear map of frame / norm (Luo & Mesgarani 2018, TasNet).
    No bias: a silent frame has silent features.
    """

    def __init__(self, window_length: int, bases: int) -> None:
        super().__init__()
        self.basis_and_gate = nn.Linear(window_length, 2 * bases, bias=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        norm = torch.sqrt((frames * frames).sum(dim=-1, keepdim=True) + ENERGY_FLOOR)
        basis, gate = self.project(frames / norm)
        return F.relu(basis) * torch.sigmoid(gate), norm

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Basis and gate."""
        return torch.chunk(self.basis_and_gate(x), 2, dim=-1)


class TimeDecoder(nn.Module):
    """Masked features [..., sources, channels, bases] and norm [..., channels, 1] to frames of window samples."""

    def __init__(self, window_length: int, bases: int) -> None:
        super().__init__()
        self.basis = nn.Linear(bases, window_length, bias=False)

    def forward(self, features: Tensor, norm: Tensor) -> Tensor:
        sources, channels = features.shape[-3:-1]
        # One axis for both: litert-torch 0.10 fails on a product of rank 4 with one channel.
        frames = self.basis(features.flatten(-3, -2)) * torch.cat([norm] * sources, dim=-2)
        return torch.unflatten(frames, -2, (sources, channels))


def start_as_filter_bank(
    encoder: TimeEncoder, decoder: TimeDecoder, analysis_window: Tensor, synthesis_window: Tensor
) -> None:
    """Initial weights with which the time branch takes the lowest bins of a DFT apart and puts them together again.

    Each bin has four bases, its cosine and sine with either sign, because features are not negative. Started at
    random the branch stays silent for thousands of steps: its features are tiny, and its decoder knows nothing.
    The windows [window] are those of SpectralCodec.
    """
    window, bases = len(analysis_window), encoder.basis_and_gate.out_features // 2
    count = min(bases // 4, window // 2 - 1)
    cosine, sine = rotation(torch.arange(1, count + 1), torch.arange(window), window)
    bins = torch.cat([cosine, -sine]) / math.sqrt(window)
    signed = torch.cat([bins, -bins])
    with torch.no_grad():
        encoder.basis_and_gate.weight[: len(signed)] = FEATURE_SCALE * signed * analysis_window
        # Twice because a bin stands for its mirror image too, and again because the gates stand half open.
        decoder.basis.weight[:, : len(signed)] = (4.0 / FEATURE_SCALE) * (signed * synthesis_window).T
