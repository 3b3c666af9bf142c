"""The committed thresholds of the parity gate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ddtasnet_edge.errors import ConfigError

TFLITE_RUNTIME = "tflite-runtime"
# Under this name the table has the thresholds of all recipes that it does not name.
OWN = "mixed"


@dataclass(frozen=True)
class Thresholds:
    """What one bundle must reach, in dB; None where nothing is demanded."""

    snr_db: float | None = None
    dsdr_db: float | None = None


def read_thresholds() -> dict[str, dict[str, dict[str, Thresholds]]]:
    """All thresholds: target -> recipe -> kind of weights ('random' or 'trained')."""
    values: dict[str, Any] = json.loads((files("ddtasnet_edge.runtimes") / "thresholds.json").read_text("utf-8"))
    return {
        target: {
            recipe: {weights: Thresholds(**limits) for weights, limits in kinds.items()}
            for recipe, kinds in recipes.items()
        }
        for target, recipes in values["thresholds"].items()
    }


def thresholds_for(target: str, recipe: str, weights: str, runtime: str) -> Thresholds:
    """Thresholds of a bundle on the runtime that runs it (`Session.runtime`).

    A recipe that the table does not name, a file of the user's, has those of 'mixed'. Raises ConfigError.
    """
    key = f"{target} on {TFLITE_RUNTIME}" if runtime.startswith(TFLITE_RUNTIME) else target
    try:
        recipes = read_thresholds()[key]
        return recipes.get(recipe, recipes.get(OWN, {}))[weights]
    except KeyError:
        raise ConfigError(
            f"no parity threshold for target '{key}', recipe '{recipe}', {weights} weights; add it to thresholds.json"
        ) from None
