"""What a user may name as a model: a preset, a checkpoint or a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddtasnet_edge.config import PRESETS, preset, read_config
from ddtasnet_edge.errors import CheckpointError
from ddtasnet_edge.models.checkpoint import PACKED, READERS, checkpoint_suffix, load_checkpoint, read_training
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model

SEED = 0
#: Trained weights that come with the package, one compressed checkpoint per preset, and their model card.
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A model and where it came from.

    weights: 'random' or 'trained'; they have different parity thresholds. training: what is known about it.
    """

    name: str
    model: DDTasNet
    weights: str
    source: str
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.source}: {self.parameters / 1e6:.2f} M weights"


def find_model(source: str | Path) -> NamedModel:
    """The model that `source` names.

    A preset has the trained weights that come with the package, or seeded random ones where there are none, and
    says which; a configuration (.json) has random weights, a checkpoint (.safetensors, .pt, ...) trained ones.
    Raises ConfigError for an unknown preset, CheckpointError for a missing or unsuitable file.
    """
    path = Path(source)
    if str(source) in PRESETS:
        return _preset(str(source))
    if not path.suffix and len(path.parts) == 1:
        preset(str(source))  # raises, with the nearest name
    if path.suffix == ".json":
        model = create_model(read_config(path), SEED)
        return NamedModel(path.stem, model, "random", f"configuration {path.name}, random weights of seed {SEED}")
    suffix = checkpoint_suffix(path)
    if suffix is None:
        raise CheckpointError(
            f"{path} is no model: expected a preset ({', '.join(PRESETS)}), a checkpoint ({', '.join(READERS)}) "
            "or a configuration (.json)"
        )
    name = path.name.removesuffix(suffix)
    return NamedModel(name, load_checkpoint(path), "trained", f"checkpoint {path.name}", read_training(path))


def _preset(name: str) -> NamedModel:
    path = WEIGHTS / f"{name}{PACKED}"
    if path.is_file():
        return NamedModel(name, load_checkpoint(path), "trained", f"preset {name}, trained", read_training(path))
    model = create_model(preset(name), SEED)
    return NamedModel(name, model, "random", f"preset {name}, random weights of seed {SEED} (none are shipped)")
