"""Keys, chords and chord progressions. A degree counts the notes of the scale, seven to the octave, from MIDI 0 up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.training.songs.score import chance

PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# Semitones above the tonic.
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
_MODE_WEIGHTS = (0.34, 0.28, 0.08, 0.12, 0.1, 0.04, 0.04)

# Chord tones as scale steps above the root, and how often they are used.
SHAPES = {
    "triad": (0, 2, 4),
    "seventh": (0, 2, 4, 6),
    "ninth": (0, 2, 4, 6, 8),
    "sus2": (0, 1, 4),
    "sus4": (0, 3, 4),
    "fifth": (0, 4),
}
_PLAIN = ("triad", "triad", "triad", "triad", "sus2", "sus4", "fifth")
_RICH = ("seventh", "seventh", "ninth", "triad", "sus4")

# Roots, one per chord, as scale steps above the tonic.
_BRIGHT = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 3, 0, 4), (1, 4, 0, 0), (0, 2, 3, 4),
    (3, 0, 4, 5), (0, 0, 3, 4), (0, 6, 3, 0), (3, 4, 2, 5), (0, 4, 1, 3), (1, 4, 0, 5), (0, 1, 3, 0),
)  # fmt: skip
_DARK = (
    (0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 4), (0, 5, 3, 4), (0, 2, 6, 3), (0, 3, 5, 4), (0, 0, 5, 6),
    (0, 6, 3, 0), (5, 6, 0, 0), (0, 4, 5, 3), (0, 2, 5, 4), (1, 4, 0, 0), (0, 1, 0, 6), (3, 0, 4, 0),
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A tonic (0 = C .. 11 = B) and a mode."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        return f"{PITCH_NAMES[self.tonic]} {self.mode}"

    @property
    def pitch_classes(self) -> frozenset[int]:
        return frozenset((self.tonic + step) % 12 for step in MODES[self.mode])

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a degree."""
        octave, step = divmod(degree, 7)
        return self.tonic + 12 * octave + MODES[self.mode][step]

    def degrees(self, low: int, high: int) -> tuple[int, ...]:
        """All degrees whose pitch lies in [low, high]."""
        return tuple(degree for degree in range(-7, 84) if low <= self.pitch(degree) <= high)


@dataclass(frozen=True)
class Chord:
    """A root (scale step 0..6) and the scale steps above it."""

    root: int
    shape: tuple[int, ...]

    def contains(self, degree: int) -> bool:
        return (degree - self.root) % 7 in {step % 7 for step in self.shape}

    def voicing(self, key: Key, low: int, high: int) -> tuple[int, ...]:
        """Pitches of all chord tones in [low, high], ascending."""
        return tuple(key.pitch(degree) for degree in key.degrees(low, high) if self.contains(degree))


def draw_key(rng: np.random.Generator) -> Key:
    """A key."""
    return Key(int(rng.integers(12)), str(rng.choice(list(MODES), p=_MODE_WEIGHTS)))


def draw_progression(key: Key, rng: np.random.Generator, rich: bool) -> tuple[Chord, ...]:
    """A progression of four or eight chords; `rich` prefers sevenths and ninths."""
    bright = MODES[key.mode][2] == 4
    families = _BRIGHT if bright else _DARK
    roots: tuple[int, ...] = families[rng.integers(len(families))]
    if chance(rng, 0.3):
        roots += families[rng.integers(len(families))]
    if chance(rng, 0.2):
        roots = tuple(int(root) for root in np.roll(roots, int(rng.integers(len(roots)))))
    shapes = _RICH if rich else _PLAIN
    return tuple(Chord(root, SHAPES[shapes[rng.integers(len(shapes))]]) for root in roots)
