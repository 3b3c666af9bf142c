"""What a user may name as a model: a preset, a checkpoint or a configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.config import PRESETS, preset, read_config
from ddtasnet_edge.errors import CheckpointError
from ddtasnet_edge.models.checkpoint import READERS, load_checkpoint
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model

SEED = 0


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A model and where it came from. weights: 'random' or 'trained'; they have different parity thresholds."""

    name: str
    model: DDTasNet
    weights: str
    source: str

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.source}: {self.parameters / 1e6:.2f} M weights"


def find_model(source: str | Path) -> NamedModel:
    """The model that `source` names.

    A preset or a configuration (.json) gives seeded random weights, a checkpoint (.safetensors, .pt, .pth)
    trained ones. Raises ConfigError for an unknown preset, CheckpointError for a missing or unsuitable file.
    """
    path = Path(source)
    if str(source) in PRESETS:
        model = create_model(preset(str(source)), SEED)
        return NamedModel(str(source), model, "random", f"preset {source}, random weights of seed {SEED}")
    if not path.suffix and len(path.parts) == 1:
        preset(str(source))  # raises, with the nearest name
    if path.suffix == ".json":
        model = create_model(read_config(path), SEED)
        return NamedModel(path.stem, model, "random", f"configuration {path.name}, random weights of seed {SEED}")
    if path.suffix not in READERS:
        raise CheckpointError(
            f"{path} is no model: expected a preset ({', '.join(PRESETS)}), a checkpoint ({', '.join(READERS)}) "
            "or a configuration (.json)"
        )
    return NamedModel(path.stem, load_checkpoint(path), "trained", f"checkpoint {path.name}")
