"""Quantization-aware training: forward with rounded weights, backward as if they had not been rounded."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ddtasnet_edge.models.block import State
from ddtasnet_edge.models.ddtasnet import DDTasNet


class RoundedWeights:
    """The weights of a model as a recipe stores them, computed anew in every step.

    To the nearest value; a checkpoint of rounded weights is on the grid already, so a bundle stores them unchanged.
    Weights only: next to four-bit weights the rounding of activations is hardly heard.
    """

    def __init__(self, model: DDTasNet, recipe: str) -> None:
        """recipe: a name or a .json file. Raises ConfigError when it is unknown, does not fit or rounds nothing."""
        # Inside: the core imports none of the root folders when it is imported.
        from ddtasnet_edge.errors import ConfigError
        from ddtasnet_edge.quantize import recipe_named
        from ddtasnet_edge.quantize.plan import layers_of

        chosen = recipe_named(recipe)
        chosen.check(layers_of(model))
        precisions = {name: chosen.precision_of(name) for name in layers_of(model)}
        self._bits = {name: (each.weight_bits, each.block) for name, each in precisions.items() if not each.is_float}
        if not self._bits:
            raise ConfigError(f"--qat is {recipe}, which rounds no weight; give a quantized recipe, or leave it out")

    def scan(self, model: DDTasNet, hops: Tensor, state: State) -> tuple[Tensor, State]:
        """`model.scan` with rounded weights, whose gradients reach the weights themselves."""
        rounded = {f"model.{name}": weight + (value - weight).detach() for name, weight, value in self._pairs(model)}
        result: tuple[Tensor, State] = torch.func.functional_call(_Scan(model), rounded, (hops, state))
        return result

    def copy(self, model: DDTasNet) -> DDTasNet:
        """A model of its own that has the rounded weights."""
        rounded = copy.deepcopy(model)
        weights = dict(rounded.named_parameters())
        with torch.no_grad():
            for name, _, value in self._pairs(model):
                weights[name].copy_(value)
        return rounded

    def _pairs(self, model: DDTasNet) -> list[tuple[str, Tensor, Tensor]]:
        """Name, weight and rounded weight of every layer that is rounded."""
        from ddtasnet_edge.quantize.rounding import rounded

        weights = dict(model.named_parameters())
        return [(name, weights[name], rounded(weights[name].detach(), *bits)) for name, bits in self._bits.items()]


class _Scan(nn.Module):
    """`functional_call` calls modules only."""

    def __init__(self, model: DDTasNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, hops: Tensor, state: State) -> tuple[Tensor, State]:
        return self.model.scan(hops, state)
