"""From dry stems to a mix: each stem gets its sound and its level, all share a room, and the mix is their sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.effects import (
    compression_gain,
    draw_compression,
    draw_equaliser,
    draw_room,
    equalise,
    reverberate,
    saturate,
)
from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.score import chance, randomness

# Level in dB of a stem while it plays, against the others, and how much it varies from song to song.
_LEVELS = {"drums": (0.0, 3.0), "bass": (-2.0, 3.0), "other": (-1.5, 3.0), "vocals": (0.5, 3.0)}
_HIGHPASS = {"drums": 25.0, "bass": 25.0, "other": 60.0, "vocals": 80.0}
# dB per octave that bring the sampled instruments near to recorded ones: brighter basses, duller cymbals.
_TILTS = {"drums": -0.7, "bass": 1.5, "other": 0.8, "vocals": 0.2}
_DRIVES = {"drums": 1.5, "bass": 6.0, "other": 2.5, "vocals": 1.0}
_WETNESS = {"drums": 0.2, "bass": 0.04, "other": 0.3, "vocals": 0.35}
_PEAKS = (-14.0, -0.5)  # dB below full scale
_FULL_SCALE = 32768  # of 16 bit


def mix_down(dry: Mapping[str, FloatArray], seed: int) -> FloatArray:
    """The stems of a mix: float32 [sources, 2, samples] in the order of MUSDB18; their sum is the mix.

    Every sample is a whole number of 1/32768, so 16-bit files keep it. No stem and no sum reaches full scale.
    """
    rng = randomness(seed, "mix")
    room = draw_room(rng)
    # Some music comes from lossy files, which end near 16 kHz; the others end where hearing does.
    lowpass = float(rng.uniform(14e3, 17e3) if chance(rng, 0.35) else rng.uniform(18e3, 22e3))
    treated = {source: _treated(dry[source], source, room, lowpass, rng) for source in MUSDB_SOURCES}
    stems = np.stack([_levelled(stem, source, rng) for source, stem in treated.items()])
    if chance(rng, 0.6):  # a bus compressor moves all stems alike, so they still sum to the mix
        stems *= compression_gain(stems.sum(axis=0), float(rng.uniform(1.2, 4.0)), float(0.003 * 30.0 ** rng.random()))
    peak = max(float(np.abs(stems).max()), float(np.abs(stems.sum(axis=0)).max()))
    if peak > 0.0:
        # Loud masters are the rule, quiet ones the exception.
        decibels = _PEAKS[1] + (_PEAKS[0] - _PEAKS[1]) * float(rng.random()) ** 2
        stems *= np.float32(10.0 ** (decibels / 20.0) / peak)
    return np.asarray(np.round(stems * _FULL_SCALE) / _FULL_SCALE, dtype=np.float32)


def to_pcm(stem: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """The 16-bit integers of a stem from `mix_down`."""
    return (stem * _FULL_SCALE).astype(np.int16)


def _treated(stem: FloatArray, source: str, room: FloatArray, lowpass: float, rng: np.random.Generator) -> FloatArray:
    """A stem after its chain of effects, in the room of the song."""
    stem = equalise(stem, draw_equaliser(rng, _TILTS[source], _HIGHPASS[source], lowpass))
    compression = draw_compression(rng)
    if compression is not None:
        stem = stem * compression_gain(stem, *compression)
    if chance(rng, 0.5):
        stem = saturate(stem, float(rng.uniform(0.2, 1.0)) * _DRIVES[source])
    if source in ("drums", "other"):
        stem = _widened(stem, float(rng.uniform(0.3, 1.3)))
    return reverberate(stem, room, float(rng.random()) ** 2 * 2.0 * _WETNESS[source])


def _widened(stem: FloatArray, width: float) -> FloatArray:
    """The same stem with its difference between the sides times `width`."""
    middle, side = (stem[0] + stem[1]) / 2, (stem[0] - stem[1]) / 2 * np.float32(width)
    return np.stack([middle + side, middle - side])


def _levelled(stem: FloatArray, source: str, rng: np.random.Generator) -> FloatArray:
    """A stem at its drawn level, balanced a little to one side."""
    mean, spread = _LEVELS[source]
    decibels, balance = rng.normal(mean, spread), rng.normal(0.0, 0.06)
    level = _playing_level(stem)
    if level == 0.0:
        return stem
    sides = np.array([[1.0 - balance], [1.0 + balance]]) * 10.0 ** (decibels / 20.0) / level
    return np.asarray(stem * sides, dtype=np.float32)


def _playing_level(stem: FloatArray) -> float:
    """RMS of the tenths of a second in which a stem plays: those within 40 dB of the loudest."""
    block = SAMPLE_RATE // 10
    power = np.mean(stem.astype(np.float64) ** 2, axis=0)
    blocks = np.pad(power, (0, -len(power) % block)).reshape(-1, block).mean(axis=1)
    return float(np.sqrt(blocks[blocks >= 1e-4 * blocks.max()].mean()))
