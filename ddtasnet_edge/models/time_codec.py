"""The learned time-domain basis: gated encoder with frame normalisation, and linear decoder."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Added to the energy of a frame before its root: -120 dB of a full-scale frame; silence divides to silence.
ENERGY_FLOOR = 1e-9


class TimeEncoder(nn.Module):
    """Frames [..., window] to non-negative features [..., bases] and the norm [..., 1] of each frame.

    features = relu(u) * sigmoid(v) with (u, v) one linear map of frame / norm (Luo & Mesgarani 2018, TasNet).
    No bias: a silent frame has silent features.
    """

    def __init__(self, window_length: int, bases: int) -> None:
        super().__init__()
        self.basis_and_gate = nn.Linear(window_length, 2 * bases, bias=False)
        # Frames have unit energy, not unit variance: the usual start would give features of 0.005.
        nn.init.normal_(self.basis_and_gate.weight)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        norm = torch.sqrt((frames * frames).sum(dim=-1, keepdim=True) + ENERGY_FLOOR)
        basis, gate = self.basis_and_gate(frames / norm).chunk(2, dim=-1)
        return F.relu(basis) * torch.sigmoid(gate), norm


class TimeDecoder(nn.Module):
    """Masked features [..., bases] and norm [..., 1] back to frames [..., window]."""

    def __init__(self, window_length: int, bases: int) -> None:
        super().__init__()
        self.basis = nn.Linear(bases, window_length, bias=False)
        # Quiet at the start: an untrained basis only adds noise to what the spectral masks give.
        nn.init.normal_(self.basis.weight, std=0.1 / math.sqrt(window_length))

    def forward(self, features: Tensor, norm: Tensor) -> Tensor:
        frames: Tensor = self.basis(features) * norm
        return frames
