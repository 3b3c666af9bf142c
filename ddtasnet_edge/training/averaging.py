"""The moving average of the weights, which is what a run keeps."""

from __future__ import annotations

import copy

import torch

from ddtasnet_edge.models.ddtasnet import DDTasNet


class AveragedModel:
    """Exponential moving average of a model's weights, held in a model of its own.

    Early on the decay is min(decay, (1 + n) / (10 + n)), so that the random start is soon forgotten.
    """

    def __init__(self, model: DDTasNet, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    def update(self, model: DDTasNet, steps: int) -> None:
        """Take in the weights after optimizer step number `steps`."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1.0 - decay)
