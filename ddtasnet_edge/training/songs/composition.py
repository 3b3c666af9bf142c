"""A whole song before it sounds: its form, the parts of each instrumental stem and the melody of the voice."""

from __future__ import annotations

from dataclasses import dataclass

from ddtasnet_edge.training.songs.bass import bass_parts
from ddtasnet_edge.training.songs.drums import drum_parts
from ddtasnet_edge.training.songs.form import Form, draw_form
from ddtasnet_edge.training.songs.harmony import harmony_parts
from ddtasnet_edge.training.songs.melody import Line, melody
from ddtasnet_edge.training.songs.score import Note, Part, chance, randomness

# MIDI ranges of low, middle and high voices.
VOICE_RANGES = ((43, 60), (48, 65), (55, 72), (58, 76))


@dataclass(frozen=True)
class Composition:
    """parts: what drums, bass and other play; tune: what the voice sings, one note at a time."""

    form: Form
    parts: dict[str, tuple[Part, ...]]
    tune: tuple[Note, ...]


def compose(seed: int, seconds: float) -> Composition:
    """Song number `seed`: the same seed and length give the same song."""
    form = draw_form(seed, seconds)
    parts = {"drums": drum_parts(form), "bass": bass_parts(form), "other": harmony_parts(form)}
    return Composition(form, parts, _tune(form))


def _tune(form: Form) -> tuple[Note, ...]:
    rng = randomness(form.seed, "tune")
    low, high = VOICE_RANGES[rng.integers(len(VOICE_RANGES))]
    line = Line(low, high, float(rng.uniform(0.15, 0.7)), pentatonic=chance(rng, 0.4))
    return melody(form, form.playing("vocals"), line, rng)
