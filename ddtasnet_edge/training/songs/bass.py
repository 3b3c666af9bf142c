"""Bass lines: roots, eighths, octaves, walking, syncopated, arpeggiated and held, always in the key."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ddtasnet_edge.training.songs.chords import Chord, Key
from ddtasnet_edge.training.songs.form import Bar, Form
from ddtasnet_edge.training.songs.score import STEP, Note, Part, chance, humanise, randomness

LOW, HIGH = 28, 55  # E1, the lowest string of a bass, to G3

# General MIDI: acoustic, finger, pick, fretless, slap, synth basses; now and then a bowed contrabass or a tuba.
PROGRAMS = (32, 33, 33, 34, 34, 35, 36, 37, 38, 38, 39, 39, 43, 58)

# A line gives (step, steps long, degree, velocity) for one chord that fills `steps` from `first`.
Line = Iterator[tuple[int, int, int, int]]


def bass_parts(form: Form) -> tuple[Part, ...]:
    """The bass of a song, one part; fast or busy lines belong to sections with energy."""
    rng = randomness(form.seed, "bass")
    program, length = int(rng.choice(PROGRAMS)), float(rng.uniform(0.55, 1.0))
    busy, calm = LINES[rng.integers(len(LINES))], CALM_LINES[rng.integers(len(CALM_LINES))]
    octave = 7 * int(rng.integers(0, 2))
    notes = []
    for bar in form.playing("bass"):
        line = busy if bar.section.energy > 0.5 else calm
        for first, steps, chord in _spans(form, bar):
            root = _root(form.key, chord, octave)
            for step, long, degree, velocity in line(first, steps, root, chord, rng):
                pitch = form.key.pitch(_fold(form.key, degree))
                loud = int(velocity * (0.75 + 0.3 * bar.section.energy))
                notes.append(Note(bar.start + step * STEP, long * STEP * length, pitch, min(loud, 127)))
    return (Part(program, humanise(notes, rng)),)


def _spans(form: Form, bar: Bar) -> Iterator[tuple[int, int, Chord]]:
    """First step, steps and chord of each chord of a bar."""
    steps = form.meter.steps // len(bar.chords)
    for index, chord in enumerate(bar.chords):
        yield index * steps, steps, chord


def _root(key: Key, chord: Chord, octave: int) -> int:
    lowest = key.degrees(LOW, HIGH)[0]
    return lowest + (chord.root - lowest) % 7 + octave * (chord.root < 3)


def _fold(key: Key, degree: int) -> int:
    """The same note in the octave that the instrument has."""
    while key.pitch(degree) > HIGH:
        degree -= 7
    while key.pitch(degree) < LOW:
        degree += 7
    return degree


def _held(first: int, steps: int, root: int, _chord: Chord, _rng: np.random.Generator) -> Line:
    yield first, steps, root, 96


def _roots(first: int, steps: int, root: int, _chord: Chord, rng: np.random.Generator) -> Line:
    for step in range(0, steps, 4):
        yield first + step, 4, root + 4 * chance(rng, 0.12), 100 if step == 0 else 88


def _eighths(first: int, steps: int, root: int, _chord: Chord, rng: np.random.Generator) -> Line:
    for step in range(0, steps, 2):
        last = step >= steps - 2
        yield (
            first + step,
            2,
            root + (int(rng.integers(-1, 5)) if last and chance(rng, 0.4) else 0),
            104 - 12 * (step % 4),
        )


def _octaves(first: int, steps: int, root: int, _chord: Chord, _rng: np.random.Generator) -> Line:
    for step in range(0, steps, 2):
        yield first + step, 2, root + 7 * (step % 4 == 2), 98


def _walking(first: int, steps: int, root: int, chord: Chord, rng: np.random.Generator) -> Line:
    degree = root
    for step in range(0, steps, 4):
        yield first + step, 4, degree, 98
        degree += int(rng.choice((-2, -1, 1, 1, 2)))
        if not chord.contains(degree) and chance(rng, 0.4):
            degree += 1


def _syncopated(first: int, steps: int, root: int, chord: Chord, rng: np.random.Generator) -> Line:
    # The same rhythm for the same kind of bar: it is drawn from the chord, not anew.
    hits = [step for step in range(steps) if step == 0 or ((step * 5 + chord.root) % 16) in (3, 6, 10, 11, 14)]
    for step, end in zip(hits, [*hits[1:], steps], strict=True):
        yield first + step, min(end - step, 3), root + int(rng.choice((0, 0, 0, 4, 7))), 106 if step == 0 else 90


def _arpeggio(first: int, steps: int, root: int, chord: Chord, _rng: np.random.Generator) -> Line:
    tones = (*chord.shape[:3], 7)
    for index, step in enumerate(range(0, steps, 2)):
        yield first + step, 2, root + tones[index % len(tones)], 94


def _gallop(first: int, steps: int, root: int, _chord: Chord, _rng: np.random.Generator) -> Line:
    for step in range(steps):
        if step % 4 != 1:
            yield first + step, 1, root, 100 if step % 4 == 0 else 84


LineMaker = Callable[[int, int, int, Chord, np.random.Generator], Line]
LINES: tuple[LineMaker, ...] = (
    _roots,
    _eighths,
    _eighths,
    _octaves,
    _walking,
    _syncopated,
    _syncopated,
    _arpeggio,
    _gallop,
    _held,
)
CALM_LINES: tuple[LineMaker, ...] = (_held, _held, _roots, _arpeggio)
