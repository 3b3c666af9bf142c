"""Melodies that repeat a motif, breathe between phrases and rest on chord tones; voices and leads use them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.training.songs.form import Bar, Form
from ddtasnet_edge.training.songs.score import STEP, Note, chance

# Rhythms of one beat, as lengths in steps, from calm to busy; by steps of the beat.
_BEATS = {
    4: ((4,), (4,), (2, 2), (2, 2), (3, 1), (1, 3), (2, 1, 1), (1, 1, 2), (1, 1, 1, 1)),
    6: ((6,), (4, 2), (4, 2), (2, 4), (2, 2, 2), (3, 3), (2, 2, 1, 1)),
}
Rhythm = tuple[tuple[int, int], ...]  # (step, steps long) within a bar


@dataclass(frozen=True)
class Line:
    """How a melody moves: MIDI range, busyness 0..1, stem whose bars it fills, and whether it keeps to five notes."""

    low: int
    high: int
    busyness: float
    pentatonic: bool


def melody(form: Form, bars: tuple[Bar, ...], line: Line, rng: np.random.Generator) -> tuple[Note, ...]:
    """A melody over these bars, one note at a time, in the key of the song. Every fourth bar ends a phrase."""
    degrees = _allowed(form, line)
    motifs = [_draw_rhythm(form, line, rng) for _ in range(2)]
    place = int(rng.integers(len(degrees) // 3, 2 * len(degrees) // 3 + 1))
    notes: list[Note] = []
    for index, bar in enumerate(bars):
        rhythm = motifs[index % 2] if chance(rng, 0.7) else _draw_rhythm(form, line, rng)
        if index % 2 == 1 or bar.closes:
            rhythm = _ending(rhythm, form.meter.steps)
        for step, long in rhythm:
            place = _move(place, len(degrees), rng)
            chord = form.chord_at(bar, step)
            if step in form.meter.beats and not chord.contains(degrees[place]):
                place = min(
                    (other for other, degree in enumerate(degrees) if chord.contains(degree)),
                    key=lambda other: abs(other - place),
                    default=place,
                )
            velocity = int(70 + 40 * bar.section.energy + 8 * (step in form.meter.beats))
            notes.append(Note(bar.start + step * STEP, long * STEP, form.key.pitch(degrees[place]), velocity))
    return tuple(notes)


def _allowed(form: Form, line: Line) -> tuple[int, ...]:
    degrees = form.key.degrees(line.low, line.high)
    bright = form.key.pitch(2) - form.key.pitch(0) == 4
    avoided = (3, 6) if bright else (1, 5)
    return tuple(degree for degree in degrees if not (line.pentatonic and degree % 7 in avoided))


def _draw_rhythm(form: Form, line: Line, rng: np.random.Generator) -> Rhythm:
    """A bar of beats; calm lines tie beats together or leave them out."""
    beat = form.meter.steps // len(form.meter.beats)
    cells = _BEATS[beat]
    rhythm: list[tuple[int, int]] = []
    for start in form.meter.beats:
        if chance(rng, 0.35 * (1 - line.busyness)) and rhythm:
            step, long = rhythm[-1]
            if chance(rng, 0.7):
                rhythm[-1] = (step, long + beat)
            continue
        place = np.clip(rng.normal(line.busyness, 0.3), 0, 0.999)
        step = start
        for long in cells[int(place * len(cells))]:
            rhythm.append((step, long))
            step += long
    return tuple(rhythm)


def _ending(rhythm: Rhythm, steps: int) -> Rhythm:
    """The first half of a bar, its last note held a little: room to breathe."""
    kept = [(step, long) for step, long in rhythm if step < steps // 2] or [rhythm[0]]
    step, _ = kept[-1]
    return (*kept[:-1], (step, max(2, steps - step - 3)))


def _move(place: int, size: int, rng: np.random.Generator) -> int:
    """Mostly steps, seldom leaps, and back towards the middle from the edges."""
    pull = (0.5 - place / size) * 2.0
    step = int(np.round(rng.normal(pull, 1.4)))
    return int(np.clip(place + step, 0, size - 1))
