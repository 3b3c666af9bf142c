"""How much music a recipe needs to be calibrated on: the same music heard after more and more of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.quantize.listen import Listener
from ddtasnet_edge.quantize.observe import observe
from ddtasnet_edge.quantize.plan import quantize_layers
from ddtasnet_edge.quantize.recipe import Recipe
from ddtasnet_edge.quantize.simulate import Arithmetic

COLUMNS = ("seconds", "recipe", "SNR", "rms dSDR", "worst dSDR")


@dataclass(frozen=True)
class Calibrated:
    """A recipe after so many seconds of calibration, by fake quantization: SNR of all stems together, and the change of
    uSDR over stems and clips, its root mean square and the largest, in dB.
    """

    seconds: float
    recipe: str
    snr_db: float
    rms_dsdr: float
    worst_dsdr: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def study_calibration(
    model: DDTasNet,
    listener: Listener,
    arithmetic: Arithmetic,
    recipes: Sequence[Recipe],
    music: Sequence[Clip],
    begin: Callable[[str], None],
) -> list[Calibrated]:
    """Each recipe calibrated on 1, 2, 4, ... seconds of the music and on all of it; `begin` hears of each."""
    results = []
    for seconds in lengths(music):
        begin(f"calibrating on {seconds:g} s")
        seen = observe(model, first_seconds(music, seconds))
        variants = [quantize_layers(model, recipe, arithmetic, seen) for recipe in recipes]
        for recipe, layers in zip(recipes, variants, strict=True):
            (effect,) = listener.hear([layers], arithmetic)
            spread = float(np.sqrt(np.nanmean(effect.dsdr**2)))
            results.append(Calibrated(seconds, recipe.name, effect.snr_db, spread, abs(effect.worst_dsdr)))
    return results


def lengths(music: Sequence[Clip]) -> list[float]:
    """1, 2, 4, ... seconds, as far as the music goes, and its whole length."""
    whole = sum(clip.mix.shape[1] / clip.sample_rate for clip in music)
    doubled = [2.0**power for power in range(20) if 2.0**power < whole]
    return [*doubled, round(whole, 2)]


def first_seconds(music: Sequence[Clip], seconds: float) -> list[Clip]:
    """As many clips as make up so many seconds, the last of them cut."""
    taken: list[Clip] = []
    for clip in music:
        left = round(seconds * clip.sample_rate) - sum(each.mix.shape[1] for each in taken)
        if left > 0:
            taken.append(replace(clip, mix=clip.mix[:, :left]))
    return taken


def rows(results: Sequence[Calibrated]) -> list[tuple[str, ...]]:
    """Cells of COLUMNS."""
    return [
        (
            f"{each.seconds:g}",
            each.recipe,
            f"{each.snr_db:.1f}",
            f"{each.rms_dsdr:.4f}",
            f"{each.worst_dsdr:.3f}",
        )
        for each in results
    ]
