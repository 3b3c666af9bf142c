"""Architectures by name. A new model is one file with a StreamBlock, a config class and one line here."""

from __future__ import annotations

import torch

from ddtasnet_edge.config import DDTasNetConfig
from ddtasnet_edge.models.ddtasnet import DDTasNet

ARCHITECTURES: dict[type[DDTasNetConfig], type[DDTasNet]] = {DDTasNetConfig: DDTasNet}


def create_model(config: DDTasNetConfig, seed: int = 0) -> DDTasNet:
    """A model with random weights that depend on `config` and `seed` alone, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[type(config)](config).eval()
