"""The fastest choice of precisions whose predicted effect stays within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.quantize.listen import Effect, dsdr_of, together
from ddtasnet_edge.quantize.precision import FLOAT
from ddtasnet_edge.quantize.sensitivity import Sensitivity

# The worst stem counts, but not alone: with this norm a step that helps several stems is seen too.
NORM = 8
#: layer -> name of a precision
Choice = dict[str, str]


@dataclass(frozen=True)
class Costs:
    """Measured time of a hop in microseconds: with all layers float, and with all of them in each precision."""

    float_us: float
    uniform_us: Mapping[str, float]

    def to_dict(self) -> dict[str, float]:
        """Microseconds by precision."""
        return {FLOAT.name: self.float_us, **self.uniform_us}

    def saved_us(self, precision: str, share: float) -> float:
        """What a layer with that share of all weights saves: batch-1 products take their time to read weights."""
        return 0.0 if precision == FLOAT.name else (self.float_us - self.uniform_us[precision]) * share


class Search:
    """One model on one target."""

    def __init__(self, sensitivity: Sensitivity, costs: Costs) -> None:
        self._effects, self.costs = sensitivity.effects, costs
        total = sum(sensitivity.weights.values())
        self._shares = {layer: weights / total for layer, weights in sensitivity.weights.items()}

    @property
    def all_float(self) -> Choice:
        """Nothing quantized."""
        return dict.fromkeys(self._shares, FLOAT.name)

    def choose(self, budget: float) -> Choice:
        """Precisions by layer; budget: allowed change of the SDR of every stem of every clip, in dB.

        Every layer begins with what is fastest; while the prediction exceeds the budget, the step that takes most off
        it for the time that it costs is taken. All float when nothing else is within the budget.
        """
        choice = {layer: self._fastest(layer) for layer in self._shares}
        while self.predict(choice) > budget:
            steps = [
                (layer, name)
                for layer in choice
                for name in self._possible(layer)
                if self._loudness(choice | {layer: name}) < self._loudness(choice)
            ]
            if not steps:
                break
            choice |= dict([max(steps, key=lambda step: self._worth(choice, *step))])
        return choice

    def predict(self, choice: Choice) -> float:
        """Largest change of SDR to expect of any stem of any clip, in dB."""
        return float(np.nanmax(np.abs(self._dsdr(choice))))

    def predict_us(self, choice: Choice) -> float:
        """Time of a hop to expect, in microseconds."""
        return self.costs.float_us - sum(self._saved(layer, name) for layer, name in choice.items())

    def alone(self, layer: str) -> dict[str, float]:
        """Largest change of SDR of any stem of any clip with that layer alone in each precision, in dB."""
        return {name: effect.worst_dsdr for name, effect in self._effects[layer].items()}

    def _possible(self, layer: str) -> tuple[str, ...]:
        return (FLOAT.name, *self._effects[layer])

    def _fastest(self, layer: str) -> str:
        return max(self._possible(layer), key=lambda name: self._saved(layer, name))

    def _saved(self, layer: str, name: str) -> float:
        return self.costs.saved_us(name, self._shares[layer])

    def _worth(self, choice: Choice, layer: str, name: str) -> float:
        """How much less loud the noise gets for each microsecond that the step costs."""
        gained = self._loudness(choice) - self._loudness(choice | {layer: name})
        cost = self._saved(layer, choice[layer]) - self._saved(layer, name)
        # A step that costs no time is always worth it.
        return gained / max(cost, 1e-6)

    def _loudness(self, choice: Choice) -> float:
        dsdr = self._dsdr(choice)
        return float(np.linalg.norm(dsdr[~np.isnan(dsdr)], NORM))

    def _dsdr(self, choice: Choice) -> np.ndarray:
        chosen = [self._effects[layer][name] for layer, name in choice.items() if name != FLOAT.name]
        return dsdr_of(together(chosen or [_silence(self._effects)]))


def _silence(effects: Mapping[str, Mapping[str, Effect]]) -> Effect:
    """The effect of changing nothing."""
    some = next(iter(next(iter(effects.values())).values()))
    return Effect(np.inf, 0.0 * some.noise, 0.0 * some.growth)
