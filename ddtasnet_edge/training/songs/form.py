"""The outline of a song: key, meter, tempo, swing, sections, and bar by bar what happens in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.training.songs.chords import Chord, Key, draw_key, draw_progression
from ddtasnet_edge.training.songs.score import METERS, STEP, Meter, chance, randomness

TEMPI = (70.0, 180.0)

# How loud and busy a kind of section is, from 0 to 1.
ENERGIES = {"intro": 0.4, "verse": 0.55, "lift": 0.7, "chorus": 0.95, "solo": 0.85, "bridge": 0.6, "break": 0.25}
_FOLLOWERS = {
    "intro": ("verse", "verse", "chorus"),
    "verse": ("chorus", "lift", "verse"),
    "lift": ("chorus",),
    "chorus": ("verse", "bridge", "solo", "break", "chorus"),
    "solo": ("verse", "chorus"),
    "bridge": ("chorus", "solo"),
    "break": ("chorus", "verse"),
}
_SECTION_BARS = (2, 4, 4, 8)
# How often a stem plays in a section: at energy 0 and at energy 1. Voices follow the kind of section instead.
_PRESENCE = {"drums": (0.55, 1.0), "bass": (0.6, 1.0), "other": (0.88, 0.95)}
_SINGING = {"intro": 0.15, "verse": 0.92, "lift": 0.95, "chorus": 0.95, "solo": 0.12, "bridge": 0.7, "break": 0.5}
_NEVER = 0.05  # a stem that a song does not have at all


@dataclass(frozen=True)
class Section:
    """A stretch of bars with one character; `stems` are those that play."""

    kind: str
    energy: float
    stems: frozenset[str]


@dataclass(frozen=True)
class Bar:
    """A bar: start in quarter notes; its chords share it equally; `opens` and `closes` its section."""

    start: float
    section: Section
    chords: tuple[Chord, ...]
    opens: bool
    closes: bool
    fill: bool


@dataclass(frozen=True)
class Form:
    """A whole song before its notes. tempo in quarter notes per minute; swing is the share of the first of a pair."""

    seed: int
    key: Key
    meter: Meter
    tempo: float
    swing: float
    swing_steps: int
    bars: tuple[Bar, ...]

    def seconds(self, quarters: float) -> float:
        """When a moment sounds: swing delays the second of each pair."""
        pair = 2 * self.swing_steps * STEP
        whole, rest = divmod(quarters, pair)
        place = rest / pair
        swung = place * 2 * self.swing if place < 0.5 else self.swing + (place - 0.5) * 2 * (1 - self.swing)
        return (whole + swung) * pair * 60.0 / self.tempo

    def playing(self, stem: str) -> tuple[Bar, ...]:
        """The bars in which a stem plays."""
        return tuple(bar for bar in self.bars if stem in bar.section.stems)

    def chord_at(self, bar: Bar, step: int) -> Chord:
        """The chord at a step of a bar."""
        return bar.chords[step * len(bar.chords) // self.meter.steps]


def draw_form(seed: int, seconds: float) -> Form:
    """The outline of song number `seed`, at least `seconds` long; bars follow each other without a gap."""
    rng = randomness(seed, "form")
    key = draw_key(rng)
    meter = METERS[str(rng.choice(list(METERS), p=(0.76, 0.12, 0.12)))]
    tempo = float(np.round(np.clip(rng.normal(118.0, 24.0), *TEMPI), 1))
    # Triplet feel has no meaning in 6/8, where three eighths make a beat.
    swing = float(rng.uniform(0.55, 0.67)) if meter.name != "6/8" and chance(rng, 0.3) else 0.5
    swing_steps = 2 if tempo > 95.0 else 1
    count = int(np.ceil(seconds * tempo / 60.0 / meter.quarters))
    bars = _draw_bars(key, meter, count, rng)
    return Form(seed, key, meter, tempo, swing, swing_steps, bars)


def _draw_bars(key: Key, meter: Meter, count: int, rng: np.random.Generator) -> tuple[Bar, ...]:
    cast = frozenset(stem for stem in MUSDB_SOURCES if not chance(rng, _NEVER)) or frozenset(MUSDB_SOURCES)
    rich = chance(rng, 0.3)
    rate = float(rng.choice((0.5, 1.0, 2.0), p=(0.15, 0.7, 0.15))) if meter.steps == 16 else 1.0  # chords per bar
    progressions = {kind: draw_progression(key, rng, rich) for kind in ENERGIES}
    kind = str(rng.choice(list(ENERGIES), p=(0.2, 0.3, 0.1, 0.25, 0.05, 0.05, 0.05)))
    bars: list[Bar] = []
    while len(bars) < count:
        length = int(rng.choice(_SECTION_BARS))
        section = Section(kind, ENERGIES[kind], _draw_stems(kind, cast, rng))
        chords = progressions[kind]
        for index in range(length):
            first = int(index * rate)
            played = tuple(chords[each % len(chords)] for each in range(first, first + max(1, int(rate))))
            closes = index == length - 1
            fill = closes or (index % 4 == 3 and chance(rng, 0.6))
            bars.append(Bar(len(bars) * meter.quarters, section, played, index == 0, closes, fill))
        kind = str(rng.choice(_FOLLOWERS[kind]))
    return tuple(bars[:count])


def _draw_stems(kind: str, cast: frozenset[str], rng: np.random.Generator) -> frozenset[str]:
    """Who plays in a section; somebody always does."""
    energy = ENERGIES[kind]
    chances = {stem: low + (high - low) * energy for stem, (low, high) in _PRESENCE.items()}
    chances["vocals"] = _SINGING[kind]
    drawn = {stem: chance(rng, chances[stem]) for stem in MUSDB_SOURCES}
    playing = frozenset(stem for stem in cast if drawn[stem])
    return playing or frozenset([min(cast)])
