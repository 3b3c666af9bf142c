"""Drum machines and synthesiser basses, computed: sounds that no sampled instrument of the sound font has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.drums import (
    CLAP,
    CLOSED_HAT,
    CRASHES,
    KICKS,
    OPEN_HAT,
    RIDES,
    SIDE_STICK,
    SNARES,
    TOMS,
)
from ddtasnet_edge.training.songs.effects import overlay
from ddtasnet_edge.training.songs.form import Form
from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.score import Note

Array = NDArray[np.float64]

_HARMONICS = 24
_TAIL = 0.03  # seconds in which a note dies away after its end


def play_machine(notes: Sequence[Note], form: Form, samples: int, rng: np.random.Generator) -> FloatArray:
    """Notes on a drum machine whose sounds are drawn: float32 [2, samples]."""
    stem = np.zeros((2, samples), dtype=np.float32)
    sounds = {pitch: _drum(pitch, rng) for pitch in sorted({note.pitch for note in notes})}
    for note in notes:
        overlay(stem, sounds[note.pitch] * (note.velocity / 127.0) ** 2, _place(form, note.start))
    return stem


def play_synth_bass(notes: Sequence[Note], form: Form, samples: int, rng: np.random.Generator) -> FloatArray:
    """Notes on a synthesiser whose filter closes while a note sounds: float32 [2, samples].

    Instead of filtering, each harmonic fades faster the higher it is.
    """
    stem = np.zeros((2, samples), dtype=np.float32)
    slope, closing = rng.uniform(0.7, 2.2), 10.0 ** rng.uniform(-1.0, 0.7)
    square = rng.random() < 0.4
    orders = np.arange(1, _HARMONICS + 1, 1 + square)[:, None]
    for note in notes:
        times = np.arange(int((form.seconds(note.end) - form.seconds(note.start) + _TAIL) * SAMPLE_RATE)) / SAMPLE_RATE
        frequency = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
        partials = np.sin(2 * np.pi * frequency * orders * times) * np.exp(-closing * (orders - 1) * times)
        ending = np.clip((times[-1] - times) / _TAIL, 0.0, 1.0) if len(times) else times
        attack = np.minimum(times / 0.004, 1.0)
        sound = (partials / orders**slope).sum(axis=0) * attack * ending * (note.velocity / 127.0) ** 2
        overlay(stem, np.stack([sound, sound]), _place(form, note.start))
    return stem


def _place(form: Form, quarters: float) -> int:
    return round(form.seconds(quarters) * SAMPLE_RATE)


def _drum(pitch: int, rng: np.random.Generator) -> Array:
    """The sound of a drum of the General MIDI map: [2, n]."""
    if pitch in KICKS:
        return _centred(_sweep(rng.uniform(42, 65), rng.uniform(2, 6), rng.uniform(0.12, 0.6), rng))
    if pitch in TOMS:
        return _centred(_sweep(2.2 * pitch, 1.5, rng.uniform(0.15, 0.35), rng))
    if pitch in (*SNARES, CLAP, SIDE_STICK):
        body = _sweep(rng.uniform(160, 240), 1.4, rng.uniform(0.06, 0.14), rng)
        rattle = _hiss(rng.uniform(0.08, 0.3), 1, rng)
        body = np.pad(body, (0, max(0, rattle.shape[1] - len(body))))[: rattle.shape[1]]
        return rattle * rng.uniform(0.4, 1.2) + body * rng.uniform(0.2, 1.0)
    if pitch in CRASHES:
        return _hiss(rng.uniform(0.8, 2.0), 2, rng) * 0.5
    if pitch in (OPEN_HAT, *RIDES):
        return _hiss(rng.uniform(0.2, 0.6), 3, rng) * 0.35
    if pitch == CLOSED_HAT or pitch < 60:
        return _hiss(rng.uniform(0.02, 0.09), 3, rng) * 0.4
    return _centred(_sweep(12.0 * pitch, 1.1, rng.uniform(0.04, 0.15), rng)) * 0.4  # a blip for percussion


def _centred(sound: Array) -> Array:
    return np.stack([sound, sound])


def _sweep(frequency: float, rise: float, fade: float, rng: np.random.Generator) -> Array:
    """A sine that falls from `rise` times its frequency to it and fades by 60 dB in three times `fade` seconds."""
    times = np.arange(int(3 * fade * SAMPLE_RATE)) / SAMPLE_RATE
    speed = rng.uniform(20.0, 60.0)
    phase = 2 * np.pi * frequency * (times + (rise - 1.0) * (1.0 - np.exp(-speed * times)) / speed)
    return np.asarray(np.sin(phase) * np.exp(-2.3 * times / fade))


def _hiss(fade: float, brightness: int, rng: np.random.Generator) -> Array:
    """Noise on two sides, differentiated `brightness` times, that fades by 60 dB in three times `fade` seconds."""
    times = np.arange(int(3 * fade * SAMPLE_RATE)) / SAMPLE_RATE
    shared, sides = rng.normal(size=(1, len(times) + brightness)), rng.normal(size=(2, len(times) + brightness))
    noise = np.diff(0.8 * shared + 0.3 * sides, n=brightness, axis=1)
    return np.asarray(noise / noise.std() * np.exp(-2.3 * times / fade))
