"""What a stream is: rates, lengths, sources and the named slots of its state. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

MIX = "mix"
STEMS = "stems"


def slot_tensor_names(slot: str) -> tuple[str, str]:
    """Graph tensor names of one slot: (`<slot>_in`, `<slot>_out`). The only place these names are made."""
    return f"{slot}_in", f"{slot}_out"


@dataclass(frozen=True)
class Slot:
    """One named tensor of state: float32 of `shape`, filled with `initial` before the first hop.

    ring: a step makes one row [batch, 1, ...] of it, which takes the place of the oldest of its rows; in what order
    they lie makes no difference to the step. Any other slot is made anew by every step.
    """

    name: str
    shape: tuple[int, ...]
    initial: float = 0.0
    dtype: str = "float32"
    ring: bool = False

    def __post_init__(self) -> None:
        sizes_fit = all(isinstance(size, int) and size >= 0 for size in self.shape)
        if not isinstance(self.name, str) or not sizes_fit or self.dtype != "float32":
            raise ValueError(
                f"state slot {self.name!r} is {self.dtype} {self.shape}, expected float32 with fixed sizes"
            )
        if self.ring and (len(self.shape) < 2 or self.shape[1] < 1):
            raise ValueError(f"state slot {self.name!r} is a ring of shape {self.shape}, expected [batch, rows, ...]")

    @property
    def update_shape(self) -> tuple[int, ...]:
        """Shape of what a step makes."""
        return (self.shape[0], 1, *self.shape[2:]) if self.ring else self.shape

    def initial_value(self) -> FloatArray:
        """A fresh array holding the initial value."""
        return np.full(self.shape, self.initial, dtype=np.dtype(self.dtype))


@dataclass(frozen=True)
class StreamSpec:
    """The contract of one streaming step, the same for every target and runtime.

    sample_rate in Hz, lengths and latency in samples. Output sample n of the stream of stems belongs to input
    sample n - algorithmic_latency. Collecting a hop takes hop_length samples more (buffering latency).
    """

    sample_rate: int
    channels: int
    sources: tuple[str, ...]
    window_length: int
    hop_length: int
    algorithmic_latency: int
    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        lengths = (self.sample_rate, self.channels, self.window_length, self.hop_length)
        if not all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in lengths):
            raise ValueError(f"rate, channels, window and hop are {lengths}, expected positive whole numbers")
        if not isinstance(self.algorithmic_latency, int) or self.algorithmic_latency < 0:
            raise ValueError(f"latency is {self.algorithmic_latency}, expected a whole number of samples")
        if not self.sources or not all(isinstance(name, str) and name.isidentifier() for name in self.sources):
            raise ValueError(f"sources are {self.sources}, expected names")
        names = [slot.name for slot in self.slots]
        if len(set(names)) != len(names):
            raise ValueError(f"slot names must be unique: {names}")

    @property
    def mix_shape(self) -> tuple[int, int, int]:
        """Shape of the graph input `mix`: [1, channels, hop]."""
        return (1, self.channels, self.hop_length)

    @property
    def stems_shape(self) -> tuple[int, int, int, int]:
        """Shape of the graph output `stems`: [1, sources, channels, hop]."""
        return (1, len(self.sources), self.channels, self.hop_length)

    @property
    def hop_budget(self) -> float:
        """Seconds in which one step must be done: hop_length / sample_rate."""
        return self.hop_length / self.sample_rate

    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every graph input by name, `mix` first."""
        return {MIX: self.mix_shape} | {slot_tensor_names(slot.name)[0]: slot.shape for slot in self.slots}

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every graph output by name, `stems` first."""
        return {STEMS: self.stems_shape} | {slot_tensor_names(slot.name)[1]: slot.update_shape for slot in self.slots}

    def initial_state(self) -> dict[str, FloatArray]:
        """A fresh state, slot name to array."""
        return {slot.name: slot.initial_value() for slot in self.slots}

    def hops_for(self, samples: int) -> int:
        """Steps that return all stems of `samples` input samples, the algorithmic latency included."""
        return math.ceil((samples + self.algorithmic_latency) / self.hop_length) if samples else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StreamSpec:
        """The inverse of `to_dict`."""
        slots = tuple(Slot(**{**slot, "shape": tuple(slot["shape"])}) for slot in values["slots"])
        return cls(**{**values, "sources": tuple(values["sources"]), "slots": slots})
