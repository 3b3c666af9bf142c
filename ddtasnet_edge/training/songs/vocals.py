"""The voice: words sung on the tune, with held vowels, portamento, vibrato, breath, doubles and harmonies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.chords import Key
from ddtasnet_edge.training.songs.effects import overlay
from ddtasnet_edge.training.songs.form import Form
from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.score import Note, chance, randomness
from ddtasnet_edge.training.songs.speech import (
    ACCENTS,
    BINS,
    FRAME,
    HIGH_VOICES,
    LOW_VOICES,
    SILENCE,
    SOUNDS,
    WORDS,
    Array,
    Syllable,
    speak,
    vocoder,
)

_PAUSE = 0.25  # seconds of rest that end a phrase
_HIGH = 57  # median pitch from which a voice is a high one


@dataclass(frozen=True)
class Sung:
    """A word on one or more notes: times of its notes in seconds with their pitches, its end, its loudness."""

    word: str
    times: tuple[float, ...]
    pitches: tuple[float, ...]
    end: float
    gain: float


@dataclass(frozen=True)
class Manner:
    """How a singer sings. portamento in seconds, rate of the vibrato in Hz, breath 0..1, the others in semitones.

    A scoop is how far below its first note a phrase begins.
    """

    portamento: float
    vibrato: float
    rate: float
    breath: float
    drift: float
    scoop: float


@dataclass(frozen=True)
class Layer:
    """One of the voices that sing together: `interval` in scale steps, delay in seconds, pan from -1 to 1."""

    interval: int
    delay: float
    gain: float
    pan: float


def sing(tune: Sequence[Note], form: Form, samples: int) -> FloatArray:
    """The vocal stem: float32 [2, samples], dry. Raises AudioError when espeak-ng fails."""
    rng = randomness(form.seed, "vocals")
    stem = np.zeros((2, samples), dtype=np.float32)
    if not tune:
        return stem
    words = _underlay(tune, form, rng)
    syllables = learn(words, tune, rng)
    manner = _draw_manner(rng)
    for layer in _draw_layers(rng):
        moved = [_shift(sung, layer, form.key, rng) for sung in words]
        left, right = np.cos((layer.pan + 1) * np.pi / 4), np.sin((layer.pan + 1) * np.pi / 4)
        for phrase in phrases(moved):
            voice, first = sing_phrase(phrase, syllables, manner, rng)
            overlay(stem, np.stack([left * voice, right * voice]) * layer.gain, first)
    return stem


def _draw_manner(rng: np.random.Generator) -> Manner:
    return Manner(
        portamento=float(rng.uniform(0.03, 0.12)),
        vibrato=float(rng.uniform(0.1, 0.6)),
        rate=float(rng.uniform(4.6, 6.4)),
        breath=float(rng.uniform(0.0, 0.35) ** 1.5),
        drift=float(rng.uniform(0.03, 0.12)),
        scoop=float(rng.uniform(0.0, 1.6)),
    )


def _draw_layers(rng: np.random.Generator) -> tuple[Layer, ...]:
    """The lead in the centre; now and then doubles at the sides or a harmony."""
    layers = [Layer(0, 0.0, 1.0, float(rng.normal(0.0, 0.05)))]
    if chance(rng, 0.25):
        width = float(rng.uniform(0.3, 0.9))
        layers += [Layer(0, float(rng.uniform(0.012, 0.035)), 0.5, side * width) for side in (-1, 1)]
    if chance(rng, 0.25):
        interval = int(rng.choice((2, 2, -3, 4, 7, -7)))
        layers.append(Layer(interval, float(rng.uniform(0.0, 0.02)), 0.55, float(rng.uniform(-0.6, 0.6))))
    return tuple(layers)


def _underlay(tune: Sequence[Note], form: Form, rng: np.random.Generator) -> tuple[Sung, ...]:
    """Words under the notes: mostly one each, sometimes one word runs over two or three."""
    vocabulary = SOUNDS if chance(rng, 0.15) else WORDS
    # A song keeps to few words, as refrains do; each must be spoken and analysed once.
    lyrics = [str(word) for word in rng.choice(vocabulary, size=min(12, len(vocabulary)), replace=False)]
    runs = float(rng.uniform(0.0, 0.25))
    sung: list[Sung] = []
    for note in tune:
        start, end = form.seconds(note.start), form.seconds(note.end)
        joined = bool(sung) and abs(sung[-1].end - start) < FRAME
        if joined and len(sung[-1].times) < 3 and chance(rng, runs):
            last = sung[-1]
            times, pitches = (*last.times, start), (*last.pitches, float(note.pitch))
            sung[-1] = replace(last, times=times, pitches=pitches, end=end)
            continue
        word = lyrics[len(sung) % len(lyrics)]
        sung.append(Sung(word, (start,), (float(note.pitch),), end, note.velocity / 100.0))
    return tuple(sung)


def learn(words: Sequence[Sung], tune: Sequence[Note], rng: np.random.Generator) -> dict[str, Syllable]:
    """The syllable of each word, spoken by a voice that fits the height of the tune."""
    high = np.median([note.pitch for note in tune]) >= _HIGH
    voice = f"{rng.choice(ACCENTS)}+{rng.choice(HIGH_VOICES if high else LOW_VOICES)}"
    formants = float(rng.uniform(0.95, 1.2) if high else rng.uniform(0.88, 1.08))
    return {word: speak(word, voice, formants) for word in sorted({sung.word for sung in words})}


def _shift(sung: Sung, layer: Layer, key: Key, rng: np.random.Generator) -> Sung:
    """The same word as another layer sings it: later, and some scale steps higher or lower."""
    delay = layer.delay * float(rng.uniform(0.5, 1.5))
    degrees = {key.pitch(degree): degree for degree in key.degrees(0, 127)}
    pitches = tuple(float(key.pitch(degrees[int(pitch)] + layer.interval)) for pitch in sung.pitches)
    return replace(sung, times=tuple(time + delay for time in sung.times), pitches=pitches, end=sung.end + delay)


def phrases(words: Sequence[Sung]) -> Iterator[list[Sung]]:
    """The words between two breaths."""
    phrase = [words[0]]
    for last, sung in pairwise(words):
        if sung.times[0] - last.end > _PAUSE:
            yield phrase
            phrase = []
        phrase.append(sung)
    yield phrase


def sing_phrase(
    phrase: Sequence[Sung], syllables: dict[str, Syllable], manner: Manner, rng: np.random.Generator
) -> tuple[Array, int]:
    """Samples of a phrase and the place of the first in the song, which may be negative."""
    origin = phrase[0].times[0] - syllables[phrase[0].word].begin * FRAME
    frames = int((phrase[-1].end - origin) / FRAME) + 1
    spectrum = np.full((frames, BINS), SILENCE)
    aperiodicity = np.ones((frames, BINS))
    voiced = np.zeros(frames)
    for sung, begin, end in _spans(phrase, syllables, origin, frames):
        syllable = syllables[sung.word]
        places = stretch(syllable, end - begin)
        spectrum[begin:end] = _at(syllable.spectrum, places) * (sung.gain * _fade(end - begin)[:, None]) ** 2
        aperiodicity[begin:end] = _at(syllable.aperiodicity, places)
        voiced[begin:end] = syllable.voiced[np.round(places).astype(int)]
    aperiodicity += (1.0 - aperiodicity) * manner.breath
    pitch = _pitch_curve(phrase, origin, frames, manner, rng) * voiced
    voice = vocoder().synthesize(pitch, spectrum, aperiodicity, SAMPLE_RATE, FRAME * 1000)
    return voice, round(origin * SAMPLE_RATE)


def _spans(
    phrase: Sequence[Sung], syllables: dict[str, Syllable], origin: float, frames: int
) -> Iterator[tuple[Sung, int, int]]:
    """First and last frame of each word: its vowel begins with its note, its first consonants before that."""
    begins = [round((sung.times[0] - origin) / FRAME) - syllables[sung.word].begin for sung in phrase]
    begin = 0
    for index, sung in enumerate(phrase):
        end = round((sung.end - origin) / FRAME)
        if index + 1 < len(phrase):
            end = min(end, begins[index + 1])
        # A quick note keeps at least half of its time, at the cost of the next consonant.
        onset = round((sung.times[0] - origin) / FRAME)
        end = min(max(end, (onset + round((sung.end - origin) / FRAME)) // 2), frames)
        begin = max(begin, begins[index])
        if end - begin >= 2:
            yield sung, begin, end
            begin = end


def stretch(syllable: Syllable, frames: int) -> Array:
    """Which moment of a syllable sounds in each of `frames`: consonants as spoken, the vowel held."""
    onset = np.arange(min(syllable.begin, frames // 3))
    coda = np.arange(syllable.end, min(syllable.frames, syllable.end + frames // 3))
    held = np.linspace(0.0, 1.0, frames - len(onset) - len(coda)) ** 1.4
    vowel = syllable.begin + held * (syllable.end - 1 - syllable.begin)
    return np.concatenate([onset + syllable.begin - len(onset), vowel, coda])


def _at(table: Array, places: Array) -> Array:
    """Rows of a table between its rows."""
    left = places.astype(int)
    right = np.minimum(left + 1, len(table) - 1)
    share = (places - left)[:, None]
    between: Array = table[left] * (1 - share) + table[right] * share
    return between


def _fade(frames: int) -> Array:
    edge = np.minimum(np.arange(1, frames + 1), np.arange(frames, 0, -1))
    return np.minimum(edge / 4.0, 1.0)


def _pitch_curve(phrase: Sequence[Sung], origin: float, frames: int, manner: Manner, rng: np.random.Generator) -> Array:
    """Fundamental frequency in Hz of each frame: notes joined by portamento, vibrato on long ones, a slow drift."""
    times = origin + np.arange(frames) * FRAME
    starts = np.array([time for sung in phrase for time in sung.times])
    pitches = np.array([pitch for sung in phrase for pitch in sung.pitches])
    note = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(starts) - 1)
    held = times - starts[note]
    semitones = _smooth(pitches[note], round(manner.portamento / FRAME))
    semitones -= manner.scoop * np.exp(-np.maximum(times - starts[0], 0.0) / 0.05)
    depth = manner.vibrato * np.clip((held - 0.25) / 0.3, 0.0, 1.0)
    semitones += depth * np.sin(2 * np.pi * manner.rate * times + rng.uniform(0, 2 * np.pi))
    semitones += manner.drift * _smooth(rng.normal(0.0, 4.0, frames), 16)
    return np.asarray(440.0 * 2.0 ** ((semitones - 69.0) / 12.0))


def _smooth(values: Array, width: int) -> Array:
    """A moving average over 2 * width + 1 values with the ends held."""
    kernel = np.hanning(2 * width + 3)[1:-1]
    return np.convolve(np.pad(values, width, mode="edge"), kernel / kernel.sum(), mode="valid")
