"""Model configurations and presets. Free of torch: a device reads them from a manifest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from string import digits
from typing import Any, ClassVar

from ddtasnet_edge.errors import ConfigError

MUSDB_SOURCES = ("drums", "bass", "other", "vocals")
CELLS = ("gru", "lstm")
PHASES = ("rotate", "scale")


def nearest(name: str, known: tuple[str, ...]) -> str:
    """The ending of an error message for a name that is not among `known`. Who gives a number means one with one."""
    numbered = [each for each in known if set(each) & set(digits)] if set(name) & set(digits) else []
    close = get_close_matches(name, numbered, n=1) or get_close_matches(name, known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"expected one of {', '.join(known)}{hint}"


@dataclass(frozen=True)
class DDTasNetConfig:
    """Everything that fixes the shape of a causal DDTasNet.

    sample_rate in Hz; window_length and hop_length in samples; attention_frames is the left context of the
    skip attention in frames, own frame included; pooling_rate is the smallest weight of a new frame in CBAM's
    running mean, so its memory is about 1 / pooling_rate frames.
    """

    architecture: ClassVar[str] = "ddtasnet"

    units: int
    bases: int
    sample_rate: int = 44100
    channels: int = 2
    sources: tuple[str, ...] = MUSDB_SOURCES
    window_length: int = 1024
    hop_length: int = 512
    cell: str = "gru"
    phase: str = "rotate"
    attention_frames: int = 64
    cbam_reduction: int = 8
    cbam_taps: int = 7
    pooling_rate: float = 0.01

    def __post_init__(self) -> None:
        if not isinstance(self.sources, list | tuple) or not all(isinstance(name, str) for name in self.sources):
            raise ConfigError(f"sources are {self.sources!r}: expected a list of names such as {list(MUSDB_SOURCES)}")
        object.__setattr__(self, "sources", tuple(self.sources))
        for field in dataclasses.fields(self):
            if field.type == "int":
                _require_positive_int(field.name, getattr(self, field.name))
        if self.cell not in CELLS:
            raise ConfigError(f"cell is '{self.cell}': {nearest(str(self.cell), CELLS)}")
        if self.phase not in PHASES:
            raise ConfigError(f"phase is '{self.phase}': {nearest(str(self.phase), PHASES)}")
        if self.window_length % 2 or self.window_length % self.hop_length:
            raise ConfigError(
                f"hop_length is {self.hop_length} with window_length {self.window_length}: "
                "the window must be even and the hop must divide it; try 512, 256 or 128 with a window of 1024"
            )
        if self.attention_frames < 2 or self.cbam_taps < 2:
            raise ConfigError(
                f"attention_frames is {self.attention_frames} and cbam_taps is {self.cbam_taps}: both look back, "
                "so both must be at least 2"
            )
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ConfigError(f"sources are {list(self.sources)}: give at least one name, each once")
        if not all(name.isidentifier() for name in self.sources):
            raise ConfigError(f"sources are {list(self.sources)}: names become file names; use letters, digits and _")
        if not isinstance(self.pooling_rate, float) or not 0.0 < self.pooling_rate <= 1.0:
            raise ConfigError(f"pooling_rate is {self.pooling_rate}: expected a float above 0 and at most 1")

    @property
    def bins(self) -> int:
        """Frequency bins of one spectral frame: window_length / 2 + 1."""
        return self.window_length // 2 + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the architecture name under `architecture`."""
        return {"architecture": self.architecture, **dataclasses.asdict(self), "sources": list(self.sources)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DDTasNetConfig:
        """The inverse of `to_dict`. Raises ConfigError on an unknown or missing key."""
        known = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in values.items() if key != "architecture"}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ConfigError(f"unknown model setting '{unknown[0]}': {nearest(unknown[0], tuple(sorted(known)))}")
        missing = sorted({"units", "bases"} - set(given))
        if missing:
            raise ConfigError(f"model setting '{missing[0]}' is missing; it has no default")
        return cls(**given)


def _require_positive_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}: expected a positive whole number")


#: Configuration class of each architecture; models/registry.py has the network that belongs to it.
CONFIGS: dict[str, type[DDTasNetConfig]] = {DDTasNetConfig.architecture: DDTasNetConfig}

PRESETS: dict[str, DDTasNetConfig] = {
    "tiny": DDTasNetConfig(units=32, bases=48),
    "small": DDTasNetConfig(units=128, bases=256),
    "base": DDTasNetConfig(units=500, bases=200),
    "large": DDTasNetConfig(units=1000, bases=1000),
}


def preset(name: str) -> DDTasNetConfig:
    """A preset by name. Raises ConfigError that suggests the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}': {nearest(name, tuple(PRESETS))}")
    return PRESETS[name]


def read_config(path: Path) -> DDTasNetConfig:
    """A configuration from a JSON file such as `DDTasNetConfig.to_dict` writes."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"cannot read model configuration {path}: {error}") from error
    return config_from_dict(values)


def config_from_dict(values: object) -> DDTasNetConfig:
    """A configuration of any registered architecture from plain JSON values."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"a model configuration is a JSON object, got {type(values).__name__}")
    architecture = str(values.get("architecture", DDTasNetConfig.architecture))
    if architecture not in CONFIGS:
        raise ConfigError(f"unknown architecture '{architecture}': {nearest(architecture, tuple(CONFIGS))}")
    return CONFIGS[architecture].from_dict(values)
