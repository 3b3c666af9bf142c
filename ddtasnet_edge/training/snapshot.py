"""Everything that a run needs to go on as if it had not stopped, in one safetensors file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ddtasnet_edge import files
from ddtasnet_edge.errors import CheckpointError, EdgeError
from ddtasnet_edge.models.block import State
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.training.averaging import AveragedModel
from ddtasnet_edge.training.history import Row

FORMAT = 2  # goes up with that of checkpoints
METADATA = "ddtasnet_edge_training"


@dataclass
class Position:
    """Where a run stands: the next optimizer step, the time used, and the sums since the last validation."""

    step: int = 0
    seconds: float = 0.0
    validations: int = 0
    best: float = -float("inf")
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    steps_summed: int = 0
    waited: float = 0.0
    seconds_at_row: float = 0.0
    rows: list[Row] = field(default_factory=list)

    def describe(self, loss: float) -> str:
        """For a progress bar."""
        best = f", best {self.best:.2f} dB" if self.rows else ""
        return f"step {self.step}, loss {loss:.4f}{best}"


@dataclass(frozen=True, eq=False)
class Learner:
    """What an optimizer step changes."""

    model: DDTasNet
    average: AveragedModel
    optimizer: torch.optim.Adam

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name; loading copies into the same tensors."""
        found: dict[str, Tensor] = {f"model.{name}": value for name, value in self.model.named_parameters()}
        found |= {f"average.{name}": value for name, value in self.average.model.named_parameters()}
        for name, parameter in self.model.named_parameters():
            for key, value in self._moments(parameter).items():
                found[f"{key}.{name}"] = value
        return found

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """Adam's own state; made here before the first step makes it, so that a snapshot can be loaded into it."""
        state = self.optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return dict(state)


def save_snapshot(path: Path, learner: Learner, stream: State, position: Position, identity: dict[str, Any]) -> None:
    """Write atomically. identity: what must be equal when the run goes on (model, settings, music)."""
    tensors = learner.tensors() | {f"stream.{name}": value for name, value in stream.items()}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {
        METADATA: json.dumps({"format": FORMAT, "identity": identity, "position": dataclasses.asdict(position)})
    }
    try:
        with files.writing_file(path) as temporary:
            safetensors.torch.save_file(plain, temporary, metadata=metadata)
    except (EdgeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{error}; the last good snapshot is kept, go on with --resume") from error


def load_snapshot(path: Path, learner: Learner, identity: dict[str, Any]) -> tuple[State, Position]:
    """Fill `learner` and return the recurrent state and the position.

    Raises CheckpointError when the file is missing or damaged, or belongs to a run with another identity.
    """
    check_snapshot(path, identity)
    with _opened(path) as file:
        values = json.loads(file.metadata()[METADATA])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        position = Position(**values["position"])
        position.rows = [Row.from_dict(row) for row in values["position"]["rows"]]
        for name, tensor in learner.tensors().items():
            if found[name].shape != tensor.shape:
                raise ValueError(f"{name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}")
            with torch.no_grad():
                tensor.copy_(found[name])
    prefix = "stream."
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}, position


def check_snapshot(path: Path, identity: dict[str, Any]) -> None:
    """Raise CheckpointError unless there is a snapshot of a run with this identity, or with this part of it."""
    if not path.is_file():
        raise CheckpointError(f"no run to resume: {path} is missing; start without --resume")
    with _opened(path) as file:
        values = json.loads((file.metadata() or {})[METADATA])
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']}, this version reads format {FORMAT}; start in another --out"
            )
        known = {part: values["identity"][part] for part in identity}
    _check_identity(path, known, identity)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); start again in another --out") from error


def _check_identity(path: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    before, now = _flat(known), _flat(json.loads(json.dumps(given)))
    for name in sorted(before | now):
        if before.get(name) != now.get(name):
            raise CheckpointError(
                f"{path} was trained with {name} {before.get(name)}, not {now.get(name)}; "
                "resume with the same options and music, or start in another --out"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out
