"""Everything that fixes a training run besides the model and the music."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from ddtasnet_edge.config import nearest
from ddtasnet_edge.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Augmentation:
    """How passages are varied. Probabilities are per passage for `together`, else per stem."""

    together: float = 0.5  # all stems from one song at one moment, as music is; otherwise each from anywhere
    gain: float = 3.0  # largest change, dB
    swap: float = 0.5  # left for right
    invert: float = 0.5  # polarity
    mute: float = 0.03
    varispeed: float = 0.2  # pitch and tempo together, as a tape does
    semitones: float = 3.0  # largest change of varispeed
    shelf: float = 0.3  # a low and a high shelf filter
    shelf_gain: float = 8.0  # largest change, dB


@dataclass(frozen=True)
class TrainSettings:
    """One run. Exactly one of steps and minutes is its length.

    A batch is `batch` passages of `segments` segments of `segment_hops` hops. One optimizer step sees one segment
    of every passage; the recurrent state is carried from segment to segment, as it is in a stream.
    """

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    batch: int = 8
    segments: int = 8
    segment_hops: int = 64
    learning_rate: float = 3e-3  # of biases and narrow matrices
    full_rate_inputs: int = 32  # a matrix with n times as many inputs learns at an n-th of the rate
    warmup: int = 100  # steps
    final_rate: float = 0.02  # of learning_rate, where the cosine ends
    max_norm: float = 0.1  # of the gradient; several times what is usual
    average: float = 0.999  # decay of the moving average of the weights
    stft_weight: float = 0.5  # of the spectral loss beside the waveform's
    validations: int = 20  # spread evenly over the run
    precision: str = "float32"
    qat: str | None = None  # the recipe whose rounding the weights are trained for
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError("a run has either steps or minutes; give exactly one of them")
        if self.minutes is not None and not 0.0 < self.minutes < math.inf:
            raise ConfigError(f"minutes is {self.minutes}: expected more than 0, and finite")
        for name in ("steps", "batch", "segments", "segment_hops", "validations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: expected at least 1")
        if not 0.0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate is {self.learning_rate}: expected more than 0, and finite; try 0.001")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision is '{self.precision}': {nearest(self.precision, PRECISIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def progress(self, steps: int, seconds: float) -> float:
        """How much of the run is done after `steps` optimizer steps or `seconds`, 0 to 1."""
        done = steps / self.steps if self.steps is not None else seconds / 60.0 / (self.minutes or 1.0)
        return min(done, 1.0)

    def rate_at(self, steps: int, seconds: float) -> float:
        """Learning rate: a linear rise over `warmup` steps, times a cosine from 1 to `final_rate` over the run."""
        rise = min(1.0, (steps + 1) / self.warmup) if self.warmup else 1.0
        fall = 0.5 * (1.0 + math.cos(math.pi * self.progress(steps, seconds)))
        return self.learning_rate * rise * (self.final_rate + (1.0 - self.final_rate) * fall)
