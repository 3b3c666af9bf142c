"""Weights on disk: safetensors with the configuration inside; PyTorch files are read, never their code."""

from __future__ import annotations

import json
import lzma
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ddtasnet_edge import files
from ddtasnet_edge.config import DDTasNetConfig, config_from_dict, nearest, read_config
from ddtasnet_edge.errors import CheckpointError, ConfigError, EdgeError, MissingDependencyError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model

# Goes up whenever the same weights mean another function: 2 has equalized features and masks around an equal share.
FORMAT = 2
# One entry only: safetensors writes several in random order, and the same model should give the same bytes.
METADATA = "ddtasnet_edge"
# Where the safetensors format keeps that: in the JSON at its start, behind the length of this JSON in eight bytes.
HEADER_KEY, LENGTH_BYTES = "__metadata__", 8
# Differences between a checkpoint and its configuration that an error names; the rest are counted.
NAMED = 5

PLAIN, PACKED = ".safetensors", ".safetensors.xz"

Contents = tuple[DDTasNetConfig, Mapping[str, Tensor]]


def save_checkpoint(
    model: DDTasNet, path: Path, *, training: Mapping[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write the weights as safetensors, with format version and configuration in the metadata.

    training: facts that stay with the weights, plain JSON values; `data` says what they were trained on and under
    which licence. dtype: float16 halves the file; it is read back into float32. The file is whole or not there.
    Raises CheckpointError when the place cannot be written.
    """
    save_file = _safetensors().torch.save_file
    tensors = {name: value.detach().cpu().to(dtype).contiguous() for name, value in model.state_dict().items()}
    facts = {"format": FORMAT, "config": model.config.to_dict(), "training": dict(training or {})}
    metadata = {METADATA: json.dumps(facts)}
    try:
        with files.writing_file(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except EdgeError as error:
        raise CheckpointError(str(error)) from error
    except _safetensors().SafetensorError as error:
        raise CheckpointError(
            f"cannot write {path}: {_first_line(error)}; free space or choose another place"
        ) from error


def load_checkpoint(path: Path) -> DDTasNet:
    """A model with the weights of a checkpoint, in evaluation mode.

    path: `.safetensors` with the configuration in its metadata (what `save_checkpoint` writes), the same as
    `.safetensors.xz` (what `xz -9e` makes of it), or `.pt` / `.pth` with a dictionary of `state_dict` and `config`,
    or with a bare state dict and `<name>.json` beside it.
    Raises CheckpointError when the file is missing, damaged, holds pickled code, does not fit its configuration
    or holds NaN or infinity.
    """
    suffix = checkpoint_suffix(path)
    if suffix is None:
        raise CheckpointError(f"{path} is no checkpoint: {nearest(path.suffix, tuple(READERS))}")
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file at {path}; check the path")
    config, tensors = READERS[suffix](path)
    model = create_model(config)
    _check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model


def read_training(path: Path) -> dict[str, Any]:
    """The facts about the training that `save_checkpoint` wrote; empty where there are none.

    Raises CheckpointError when a .safetensors file is missing or damaged.
    """
    if checkpoint_suffix(path) not in (PLAIN, PACKED):
        return {}
    with _opened(path) as file:
        values = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    found = values.get("training", {}) if isinstance(values, dict) else {}
    return found if isinstance(found, dict) else {}


def checkpoint_suffix(path: Path) -> str | None:
    """The ending by which a checkpoint is read; None for what is none."""
    return next((suffix for suffix in READERS if path.name.endswith(suffix)), None)


class _Unpacked:
    """A compressed file, read as safetensors' own open ones are."""

    def __init__(self, path: Path) -> None:
        with lzma.open(path) as file:
            data = file.read()
        self._tensors: dict[str, Tensor] = _safetensors().torch.load(data)
        length = int.from_bytes(data[:LENGTH_BYTES], "little")
        self._metadata: dict[str, str] = json.loads(data[LENGTH_BYTES:][:length]).get(HEADER_KEY, {})

    def metadata(self) -> dict[str, str]:
        return self._metadata

    def keys(self) -> Iterable[str]:
        return self._tensors.keys()

    def get_tensor(self, name: str) -> Tensor:
        return self._tensors[name]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    safetensors = _safetensors()
    try:
        if path.name.endswith(PACKED):
            yield _Unpacked(path)
            return
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged ({_first_line(error)}); copy or save it again") from error


def _read_safetensors(path: Path) -> Contents:
    with _opened(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if METADATA not in metadata:
        raise CheckpointError(f"{path} has no '{METADATA}' in its metadata; write checkpoints with save_checkpoint")
    try:
        values = json.loads(metadata[METADATA])
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']}, this version reads format {FORMAT}: the network "
                "has changed since; train it again, or install the version of ddtasnet-edge that wrote it"
            )
        return config_from_dict(values["config"]), tensors
    except (json.JSONDecodeError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} has unusable metadata: {_first_line(error)}; save it again") from error


def _read_torch(path: Path) -> Contents:
    contents = _load_plain(path)
    values = contents.get("config")
    try:
        config = read_config(path.with_suffix(".json")) if values is None else config_from_dict(values)
    except ConfigError as error:
        hint = f"; put the model's configuration beside it as {path.stem}.json" if values is None else ""
        raise CheckpointError(f"{path} comes without a usable configuration: {error}{hint}") from error
    tensors = contents.get("state_dict", contents)
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path} holds more than tensors; save the model's state_dict(), or a .safetensors file")
    return config, tensors


def _load_plain(path: Path) -> Mapping[str, Any]:
    """The dictionary in a PyTorch file, unpickled without running code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it is damaged, or holds Python objects that could run code; "
            "save the weights as .safetensors"
        ) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path} is damaged ({_first_line(error)}); copy or save it again") from error
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"{path} holds a {type(contents).__name__}, expected a state dict; save state_dict()")
    return contents


READERS: dict[str, Callable[[Path], Contents]] = {
    PLAIN: _read_safetensors,
    PACKED: _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
}


def _check_tensors(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    differences = [text for name in [*expected, *found] if (text := _difference(name, found, expected))]
    # A name in both mappings is met twice.
    differences = list(dict.fromkeys(differences))
    if differences:
        more = f" and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
        raise CheckpointError(
            f"{path} does not fit its configuration: {'; '.join(differences[:NAMED])}{more}; "
            "give the configuration that it was trained with"
        )
    odd = [name for name, value in found.items() if not value.isfinite().all()]
    if odd:
        more = f" and {len(odd) - 1} more tensors" if len(odd) > 1 else ""
        raise CheckpointError(f"{path} holds NaN or infinity in {odd[0]}{more}; train or save it again")


def _difference(name: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    if name not in found:
        return f"{name} is missing"
    if name not in expected:
        return f"{name} is unexpected"
    if found[name].shape != expected[name].shape:
        return f"{name} has shape {list(found[name].shape)}, expected {list(expected[name].shape)}"
    if not found[name].is_floating_point():
        return f"{name} is {found[name].dtype}, expected a floating-point type"
    return None


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingDependencyError(
            "checkpoints need safetensors, which is not installed; pip install 'ddtasnet-edge[export]'"
        ) from error
    return safetensors


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
