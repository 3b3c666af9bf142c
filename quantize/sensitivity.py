"""Which layer can be quantized how far: the effect of each one alone, in each precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge import files
from ddtasnet_edge.clips import Clip, hash_clips
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.quantize.listen import Effect, Listener
from ddtasnet_edge.quantize.observe import Observation
from ddtasnet_edge.quantize.plan import layers_of, quantize_layer
from ddtasnet_edge.quantize.precision import BLOCKWISE4, DYNAMIC4, DYNAMIC8, STATIC8
from ddtasnet_edge.quantize.recipe import is_kept_float
from ddtasnet_edge.quantize.simulate import Arithmetic

# Goes up when rounding or simulation change: what was heard before is then heard anew.
FORMAT = 2
# What is tried on every layer.
TRIED = (STATIC8, DYNAMIC8, BLOCKWISE4, DYNAMIC4)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """effects: layer -> name of a precision -> what it does when that layer alone has it; weights: layer -> count."""

    effects: Mapping[str, Mapping[str, Effect]]
    weights: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            layer: {
                "weights": self.weights[layer],
                **{
                    name: {
                        "snr_db": effect.snr_db,
                        "mean_dsdr_db": np.nanmean(effect.dsdr, axis=0).tolist(),
                        "worst_dsdr_db": effect.worst_dsdr,
                    }
                    for name, effect in found.items()
                },
            }
            for layer, found in self.effects.items()
        }


class EffectCache:
    """Effects on disk, so that an interrupted study goes on where it was. Other music or weights: another file."""

    def __init__(self, folder: Path, model: DDTasNet, clips: Sequence[Clip], calibration: Sequence[Clip]) -> None:
        tried = [precision.name for precision in TRIED]
        facts = [FORMAT, tried, model.config.to_dict(), hash_clips(clips), hash_clips(calibration)]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for name, weight in model.state_dict().items():
            digest.update(name.encode() + weight.numpy().tobytes())
        self._path = folder / f"effects-{digest.hexdigest()[:16]}.json"
        self._known = self._read()

    def _read(self) -> dict[str, dict[str, Effect]]:
        """What is there and whole; a damaged file is measured anew."""
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                key: {
                    name: Effect(float(values["snr_db"]), _table(values["noise"]), _table(values["growth"]))
                    for name, values in effects.items()
                }
                for key, effects in stored.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def get(self, key: str, make: Callable[[], dict[str, Effect]]) -> dict[str, Effect]:
        """The effects of that key, made and written when they are not known."""
        if key not in self._known:
            self._known[key] = make()
            files.make_folder(self._path.parent)
            files.write_text(self._path, json.dumps({key: _plain(effects) for key, effects in self._known.items()}))
        return self._known[key]


def _plain(effects: Mapping[str, Effect]) -> dict[str, Any]:
    return {
        name: {"snr_db": effect.snr_db, "noise": effect.noise.tolist(), "growth": effect.growth.tolist()}
        for name, effect in effects.items()
    }


def _table(rows: Any) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64)


def measure_sensitivity(
    model: DDTasNet,
    listener: Listener,
    arithmetic: Arithmetic,
    observations: Mapping[str, Observation],
    cache: EffectCache,
    begin: Callable[[str], None],
) -> Sensitivity:
    """Every layer that may be quantized, alone, in every precision of TRIED; `begin` hears of each layer."""
    weights = {name: weight for name, weight in layers_of(model).items() if not is_kept_float(name)}

    def effects_of(layer: str) -> dict[str, Effect]:
        alone = [
            {layer: quantize_layer(layer, weights[layer], precision, arithmetic, observations[layer])}
            for precision in TRIED
        ]
        heard = listener.hear(alone, arithmetic)
        return {precision.name: effect for precision, effect in zip(TRIED, heard, strict=True)}

    effects = {}
    for number, layer in enumerate(weights, 1):
        begin(f"layer {number} of {len(weights)}, {layer}")
        effects[layer] = cache.get(f"{arithmetic} {layer}", partial(effects_of, layer))
    return Sensitivity(effects, {name: weight.numel() for name, weight in weights.items()})
