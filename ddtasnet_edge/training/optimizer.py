"""Adam with a rate for each width of weight matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddtasnet_edge.training.settings import TrainSettings

# Gradients of the memories' weights are near 1e-8 when the music is quiet: the usual epsilon would hold them still.
EPSILON = 1e-12


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Adam:
    """Adam over all parameters; the rate of a group is the run's times the group's `share`.

    Adam moves every weight by about the rate, whatever its gradient, so one step moves a layer's output by the rate
    times the number of inputs. At a thousand inputs that throws the gates of a memory into saturation within a few
    steps, and they never come back: the memory stands still for good. Rates that fall with the width keep the steps
    of all layers alike (Yang et al. 2022, Tensor Programs V).
    """
    groups: dict[float, list[Tensor]] = {}
    for parameter in model.parameters():
        inputs = parameter.shape[1] if parameter.ndim > 1 else 1
        groups.setdefault(min(1.0, settings.full_rate_inputs / inputs), []).append(parameter)
    return torch.optim.Adam(
        [{"params": parameters, "share": share} for share, parameters in groups.items()],
        lr=settings.learning_rate,
        eps=EPSILON,
        fused=True,
    )
