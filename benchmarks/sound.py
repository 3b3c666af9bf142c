"""What a benchmark feeds: real music where it is installed, else noise, and the report says which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.clips import default_clip
from ddtasnet_edge.errors import MissingDependencyError
from ddtasnet_edge.spec import FloatArray, StreamSpec

NOISE_SECONDS = 6
# -20 dB below full scale: about the level of mastered music between its peaks.
NOISE_RMS = 0.1


@dataclass(frozen=True, eq=False)
class Sound:
    """hops: consecutive hops, float32 [n, channels, hop]; description: for the report."""

    hops: FloatArray
    description: str


def load_sound(spec: StreamSpec, count: int) -> Sound:
    """Up to `count` hops of the default clip, or of noise on a device that has only the base install."""
    try:
        clip = default_clip(spec, with_stems=False)
    except MissingDependencyError:
        return Sound(_cut(_noise(spec), spec, count), "noise, because the real clip (stempeg, PyAV) is not installed")
    return Sound(_cut(clip.mix, spec, count), f"{clip.name} ({clip.note})")


def _noise(spec: StreamSpec) -> FloatArray:
    shape = (spec.channels, NOISE_SECONDS * spec.sample_rate)
    return np.random.default_rng(0).normal(0.0, NOISE_RMS, shape).clip(-1.0, 1.0).astype(np.float32)


def _cut(samples: FloatArray, spec: StreamSpec, count: int) -> FloatArray:
    """[channels, n] to at most `count` whole hops [hops, channels, hop]."""
    hops = min(count, samples.shape[1] // spec.hop_length)
    whole = samples[:, : hops * spec.hop_length].reshape(spec.channels, hops, spec.hop_length)
    return np.ascontiguousarray(whole.transpose(1, 0, 2))
