"""Everything that is neither drums, bass nor voice: pads, strums, stabs, arpeggios, riffs and leads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ddtasnet_edge.training.songs.drums import euclid
from ddtasnet_edge.training.songs.form import Bar, Form
from ddtasnet_edge.training.songs.melody import Line, melody
from ddtasnet_edge.training.songs.score import STEP, Note, Part, chance, humanise, randomness

# General MIDI programs by role. Choirs are left out: nobody could tell whether they are voices.
KEYS = (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 21, 23)
GUITARS = (24, 25, 26, 27, 28, 29, 30, 105, 106)
PADS = (48, 49, 50, 51, 88, 89, 90, 92, 93, 94, 95, 16, 18, 19, 21, 44, 61)
STABS = (*KEYS, *GUITARS, 55, 61, 62, 63, 80, 81)
ARPEGGIOS = (0, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 24, 25, 45, 46, 80, 81, 84, 98, 104, 107, 108)
LEADS = (
    4, 11, 22, 26, 27, 29, 30, 40, 41, 42, 56, 57, 59, 60, 64, 65, 66, 67, 68, 69, 71, 72, 73, 75, 80, 81, 82, 83, 84,
    87, 104, 109, 110,
)  # fmt: skip

LOW, HIGH = 40, 88  # E2, the lowest string of a guitar, to E6
_STRUM = 0.03  # quarter notes between two strings

# A layer turns the bars in which it plays into notes.
Layer = Callable[[Form, tuple[Bar, ...], np.random.Generator], Iterator[Note]]


def harmony_parts(form: Form) -> tuple[Part, ...]:
    """The accompaniment of a song: one to five layers, each in the sections it was given, some doubled."""
    rng = randomness(form.seed, "other")
    parts: list[Part] = []
    for number in range(int(rng.choice((1, 2, 3, 4, 5), p=(0.08, 0.25, 0.34, 0.23, 0.1)))):
        # The first layer carries the chords, so that a song is never left with a lead alone.
        layer, programs = LAYERS[rng.integers(_CHORDAL if number == 0 else len(LAYERS))]
        bars = _share(form.playing("other"), rng, 1.0 if number == 0 else 0.7)
        notes = humanise(layer(form, bars, rng), rng)
        volume = int(rng.integers(70, 115))
        pan = int(np.clip(rng.normal(64, 28), 5, 122))
        parts.append(Part(int(rng.choice(programs)), notes, pan=pan, volume=volume))
        if chance(rng, 0.2):  # a double on the other side
            parts.append(Part(int(rng.choice(programs)), humanise(notes, rng, 0.03), pan=127 - pan, volume=volume - 10))
    return tuple(parts)


def _share(bars: tuple[Bar, ...], rng: np.random.Generator, share: float) -> tuple[Bar, ...]:
    """About `share` of the sections, or all bars when none was drawn."""
    kinds = {bar.section.kind: chance(rng, share) for bar in bars}
    return tuple(bar for bar in bars if kinds[bar.section.kind]) or bars


def _voicing_range(rng: np.random.Generator) -> tuple[int, int]:
    low = int(rng.integers(48, 62))
    return low, low + int(rng.integers(12, 18))


def _pad(form: Form, bars: tuple[Bar, ...], rng: np.random.Generator) -> Iterator[Note]:
    low, high = _voicing_range(rng)
    for bar in bars:
        long = form.meter.quarters / len(bar.chords)
        for index, chord in enumerate(bar.chords):
            for pitch in chord.voicing(form.key, low, high):
                yield Note(bar.start + index * long, long * 0.98, pitch, int(56 + 36 * bar.section.energy))


def _stabs(form: Form, bars: tuple[Bar, ...], rng: np.random.Generator) -> Iterator[Note]:
    low, high = _voicing_range(rng)
    steps = form.meter.steps
    rhythm = euclid(int(rng.integers(2, steps // 2 + 1)), steps)
    length = float(rng.choice((0.4, 0.9, 1.8)))
    spread = _STRUM * chance(rng, 0.5)
    for bar in bars:
        for step, sign in enumerate(rhythm):
            if sign == "." or chance(rng, 0.06):
                continue
            pitches = form.chord_at(bar, step).voicing(form.key, low, high)
            upwards = pitches if step % 4 == 0 else pitches[::-1]
            for index, pitch in enumerate(upwards):
                start = bar.start + step * STEP + index * spread
                yield Note(start, length * STEP * 2, pitch, int(60 + 40 * bar.section.energy + 8 * (step % 4 == 0)))


def _arpeggio(form: Form, bars: tuple[Bar, ...], rng: np.random.Generator) -> Iterator[Note]:
    low = int(rng.integers(48, 68))
    every, hold = int(rng.choice((1, 2, 2))), float(rng.choice((0.9, 1.0, 3.0)))
    order = int(rng.integers(3))
    for bar in bars:
        for index, step in enumerate(range(0, form.meter.steps, every)):
            tones = form.chord_at(bar, step).voicing(form.key, low, low + 19)
            cycle = (tones, tones[::-1], tones + tones[-2:0:-1])[order]
            pitch = cycle[index % len(cycle)]
            accent = 12 * (step in form.meter.beats)
            yield Note(bar.start + step * STEP, every * STEP * hold, pitch, int(58 + 34 * bar.section.energy + accent))


def _power_chords(form: Form, bars: tuple[Bar, ...], rng: np.random.Generator) -> Iterator[Note]:
    every, hold = int(rng.choice((1, 2, 2, 4))), float(rng.choice((0.5, 0.95)))
    for bar in bars:
        for step in range(0, form.meter.steps, every):
            chord = form.chord_at(bar, step)
            degree = next(each for each in form.key.degrees(LOW, LOW + 20) if (each - chord.root) % 7 == 0)
            accent = 20 * (step in form.meter.beats)
            for tone in (0, 4, 7):
                pitch = form.key.pitch(degree + tone)
                yield Note(
                    bar.start + step * STEP, every * STEP * hold, pitch, int(60 + 30 * bar.section.energy + accent)
                )


def _lead(form: Form, bars: tuple[Bar, ...], rng: np.random.Generator) -> Iterator[Note]:
    low = int(rng.integers(58, 70))
    line = Line(low, low + 17, float(rng.uniform(0.3, 0.9)), pentatonic=chance(rng, 0.5))
    yield from melody(form, bars, line, rng)


def _riff(form: Form, bars: tuple[Bar, ...], rng: np.random.Generator) -> Iterator[Note]:
    """One bar of melody that comes back in every bar."""
    low = int(rng.integers(48, 64))
    line = Line(low, low + 14, float(rng.uniform(0.5, 0.95)), pentatonic=True)
    if not bars:
        return
    pattern = melody(form, bars[:1], line, rng)
    for bar in bars:
        for note in pattern:
            yield Note(note.start - bars[0].start + bar.start, note.duration, note.pitch, note.velocity)


LAYERS: tuple[tuple[Layer, tuple[int, ...]], ...] = (
    (_pad, PADS),
    (_stabs, STABS),
    (_arpeggio, ARPEGGIOS),
    (_stabs, GUITARS),
    (_power_chords, (27, 28, 29, 30)),
    (_stabs, KEYS),
    (_lead, LEADS),
    (_lead, LEADS),
    (_riff, (*LEADS, *KEYS)),
)
_CHORDAL = 6
