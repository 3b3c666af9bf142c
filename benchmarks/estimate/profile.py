"""What is known about a device: figures with their uncertainty and their source, from benchmarks/devices/*.toml."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge.config import nearest
from ddtasnet_edge.errors import DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).resolve().parent.parent / "devices"
#: The name of the last memory level: what no cache holds.
RAM = "ram"
#: Figures that a device may lack: with dot product instructions, of all cores, of reads that nothing foresaw.
DOT_PRODUCT = "_dotprod"


@dataclass(frozen=True)
class Figure:
    """A value between low and high; source: an address, a paper, or 'assumed: why'."""

    value: float
    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high:
            raise ValueError(f"figure {self.value} is not between {self.low} and {self.high}, or below zero")
        if not self.source:
            raise ValueError(f"figure {self.value} has no source")


@dataclass(frozen=True)
class Cache:
    """A level of cache by which a hop may be served: bytes that it holds and how many cores share them."""

    name: str
    bytes: int
    shared_by: int
    source: str


@dataclass(frozen=True)
class DeviceProfile:
    """A device. caches: the smallest first. figures: by dotted name, such as `read.ram` (GB/s of one core),
    `macs.int8` (multiply-accumulates per cycle of one core) or `litert.operator_us`.

    A figure of a runtime goes before that of all: `litert.macs.int8` before `macs.int8`.
    memory_mb: of the smallest board that is sold. prefetch_streams: how many streams of reads are foreseen at once.
    """

    name: str
    title: str
    soc: str
    cores: int
    memory_mb: int
    prefetch_streams: int
    caches: tuple[Cache, ...]
    figures: Mapping[str, Figure]
    source: str

    def values(self) -> dict[str, float]:
        """The figures without their uncertainty."""
        return {name: figure.value for name, figure in self.figures.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DeviceProfile:
        """The inverse of `to_dict`."""
        rebuilt = {
            "caches": tuple(Cache(**cache) for cache in values["caches"]),
            "figures": {name: Figure(**figure) for name, figure in values["figures"].items()},
        }
        return cls(**{**values, **rebuilt})


def profile_names() -> tuple[str, ...]:
    """Every device that has a profile."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_profile(name: str) -> DeviceProfile:
    """A device by name. Raises DeviceError that suggests the nearest name."""
    if name not in profile_names():
        raise DeviceError(f"no profile of device '{name}': {nearest(name, profile_names())}")
    return read_profile(FOLDER / f"{name}.toml")


def load_profiles() -> list[DeviceProfile]:
    """Every device that has a profile, by name."""
    return [load_profile(name) for name in profile_names()]


def read_profile(path: Path) -> DeviceProfile:
    """A device from a TOML file as docs/DEVICES.md describes it. Raises DeviceError naming the file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        caches = tuple(Cache(**cache) for cache in values.pop("caches"))
        figures = dict(_figures(values.pop("figures")))
        return DeviceProfile(name=path.stem, caches=caches, figures=figures, **values)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"cannot read device profile {path}: {error}; docs/DEVICES.md says what it holds") from error


def _figures(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Figure]]:
    for key, value in table.items():
        if "value" in value:
            yield prefix + key, Figure(**value)
        else:
            yield from _figures(value, f"{prefix}{key}.")
