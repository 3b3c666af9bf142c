"""What a composition is made of: notes, parts, meters and seeded randomness.

Musical time is in quarter notes from the start of the song; a step is a sixteenth, a quarter of that unit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

STEP = 0.25


@dataclass(frozen=True)
class Note:
    """A note: start and duration in quarter notes, MIDI pitch 0..127, MIDI velocity 1..127."""

    start: float
    duration: float
    pitch: int
    velocity: int

    @property
    def end(self) -> float:
        return self.start + self.duration


@dataclass(frozen=True)
class Part:
    """What one General MIDI instrument plays. program 0..127 (a kit when `percussion`); pan, volume 0..127."""

    program: int
    notes: tuple[Note, ...]
    percussion: bool = False
    pan: int = 64
    volume: int = 100


@dataclass(frozen=True)
class Meter:
    """A bar of `steps` sixteenths with its beats at the steps `beats`."""

    name: str
    steps: int
    beats: tuple[int, ...]

    @property
    def quarters(self) -> float:
        return self.steps * STEP


METERS = {
    "4/4": Meter("4/4", 16, (0, 4, 8, 12)),
    "3/4": Meter("3/4", 12, (0, 4, 8)),
    "6/8": Meter("6/8", 12, (0, 6)),
}


def randomness(seed: int, purpose: str) -> np.random.Generator:
    """An independent stream of random numbers for each purpose, so that one part does not disturb another."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def humanise(notes: Iterable[Note], rng: np.random.Generator, looseness: float = 0.012) -> tuple[Note, ...]:
    """Notes as a person plays them: starts off by about `looseness` quarter notes, velocities by about a tenth."""
    return tuple(
        Note(
            max(0.0, note.start + float(rng.normal(0.0, looseness))),
            note.duration,
            note.pitch,
            int(np.clip(note.velocity * rng.normal(1.0, 0.08), 1, 127)),
        )
        for note in notes
    )
