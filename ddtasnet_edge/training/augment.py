"""Random passages of music: which stems play together, and how each is changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.signal
import soxr

from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.material import Material
from ddtasnet_edge.training.settings import Augmentation

LOW_SHELF, HIGH_SHELF = (60.0, 400.0), (1200.0, 7000.0)  # corner frequencies, Hz


@dataclass(frozen=True)
class Batch:
    """mix [batch, channels, n] and its stems [batch, sources, channels, n], float32."""

    mix: FloatArray
    stems: FloatArray


def make_batch(material: Material, how: Augmentation, seed: int, index: int, batch: int, length: int) -> Batch:
    """Batch number `index` of a run; it depends on nothing but the arguments."""
    rng = np.random.default_rng([seed, index])
    stems = np.stack([_passage(material, how, rng, length) for _ in range(batch)])
    return Batch(stems.sum(axis=1), stems)


def _passage(material: Material, how: Augmentation, rng: np.random.Generator, length: int) -> FloatArray:
    """Stems [sources, channels, length] whose sum stays within full scale."""
    together = rng.random() < how.together
    shared = _Place.draw(material, how, rng, length)
    sources = material.tracks[0].shape[0]
    stems = np.stack(
        [
            _vary(
                (shared if together else _Place.draw(material, how, rng, length)).read(material, source, length),
                how,
                material.sample_rate,
                rng,
            )
            for source in range(sources)
        ]
    )
    loudest = float(np.abs(stems.sum(axis=0)).max())
    return stems / np.float32(max(loudest, 1.0))


@dataclass(frozen=True)
class _Place:
    """Where a stem is read: track, first sample, and speed (1 is as recorded)."""

    track: int
    start: int
    speed: float

    @classmethod
    def draw(cls, material: Material, how: Augmentation, rng: np.random.Generator, length: int) -> _Place:
        varied = rng.random() < how.varispeed
        speed = 2.0 ** (rng.uniform(-how.semitones, how.semitones) / 12.0) if varied else 1.0
        track = int(rng.integers(len(material.tracks)))
        room = material.tracks[track].shape[-1] - math.ceil(length * speed)
        return cls(track, int(rng.integers(max(room, 0) + 1)), speed)

    def read(self, material: Material, source: int, length: int) -> FloatArray:
        if self.speed == 1.0:
            return material.read(self.track, source, self.start, length)
        samples = material.read(self.track, source, self.start, math.ceil(length * self.speed))
        heard = soxr.resample(samples.T, self.speed, 1.0, quality="LQ").T[:, :length]
        return np.pad(heard, ((0, 0), (0, length - heard.shape[1])))


def _vary(stem: FloatArray, how: Augmentation, sample_rate: int, rng: np.random.Generator) -> FloatArray:
    if rng.random() < how.mute:
        return np.zeros_like(stem)
    if rng.random() < how.shelf:
        for corners, sign in ((LOW_SHELF, -1), (HIGH_SHELF, 1)):
            corner = float(np.exp(rng.uniform(*np.log(corners))))
            gain = float(rng.uniform(-how.shelf_gain, how.shelf_gain))
            stem = _shelf(stem, corner / sample_rate, gain, sign)
    if rng.random() < how.swap:
        stem = stem[::-1]
    gain = 10.0 ** (rng.uniform(-how.gain, how.gain) / 20.0)
    return stem * np.float32(-gain if rng.random() < how.invert else gain)


def _shelf(stem: FloatArray, corner: float, gain: float, side: int) -> FloatArray:
    """First-order shelf filter: `gain` dB above (side 1) or below (side -1) `corner`, 0 dB on the other side.

    corner: frequency as a share of the sample rate. Bilinear transform of (g s + w) / (s + w) for the high shelf,
    (s + g w) / (s + w) for the low one.
    """
    warped = math.tan(math.pi * corner)
    high, low = (10.0 ** (gain / 20.0), 1.0) if side > 0 else (1.0, 10.0 ** (gain / 20.0))
    numerator = np.array([high + low * warped, low * warped - high], dtype=np.float32) / np.float32(1.0 + warped)
    denominator = np.array([1.0, (warped - 1.0) / (warped + 1.0)], dtype=np.float32)
    return np.asarray(scipy.signal.lfilter(numerator, denominator, stem), dtype=np.float32)
