"""What a studio does to a stem: equaliser, saturation, compression and rooms, with numpy alone.

Stems are float32 [channels, samples] at 44.1 kHz; every effect but `overlay` returns a new one of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.score import chance

Response = FloatArray | NDArray[np.complexfloating]


@dataclass(frozen=True)
class Equaliser:
    """tilt in dB per octave around 1 kHz, bells as (Hz, dB, octaves wide), passes from highpass to lowpass in Hz."""

    tilt: float
    bells: tuple[tuple[float, float, float], ...]
    highpass: float
    lowpass: float

    def response(self, frequencies: NDArray[np.floating]) -> FloatArray:
        """Gain at frequencies in Hz."""
        octaves = np.log2(np.maximum(frequencies, 10.0) / 1000.0)
        decibels = self.tilt * octaves
        for centre, gain, width in self.bells:
            decibels = decibels + gain * np.exp(-0.5 * ((octaves - np.log2(centre / 1000.0)) / width) ** 2)
        below = (frequencies / self.highpass) ** 4
        above = (frequencies / self.lowpass) ** 48
        return np.asarray(10.0 ** (decibels / 20.0) * below / ((1.0 + below) * (1.0 + above)), dtype=np.float32)


def draw_equaliser(rng: np.random.Generator, tilt: float, highpass: float, lowpass: float) -> Equaliser:
    """A tilt around the given one, in dB per octave, and up to three bells."""
    bells = tuple(
        (float(120.0 * 2.0 ** rng.uniform(0.0, 6.0)), float(rng.normal(0.0, 3.0)), float(rng.uniform(0.3, 1.2)))
        for _ in range(rng.integers(0, 4))
    )
    return Equaliser(tilt + float(np.clip(rng.normal(0.0, 0.8), -2.0, 2.0)), bells, highpass, lowpass)


def equalise(stem: FloatArray, equaliser: Equaliser) -> FloatArray:
    """Zero-phase equaliser."""
    size = _fast_size(stem.shape[1] + SAMPLE_RATE // 4)
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    return _filtered(stem, equaliser.response(frequencies), size)


def draw_room(rng: np.random.Generator) -> FloatArray:
    """An impulse response [2, samples] of unit energy: noise that fades by 60 dB in 0.2 to 2 s, darker in time."""
    fade = float(0.2 * 10.0 ** rng.uniform(0.0, 1.0))
    delay = int(rng.uniform(0.0, 0.04) * SAMPLE_RATE)
    times = np.arange(int(fade * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.normal(size=(2, len(times))) * np.exp(-6.9 * times / fade)
    dark = np.cumsum(noise, axis=1)
    dark[:, 64:] -= dark[:, :-64].copy()  # moving sums: the treble of the late room is gone
    blend = np.clip(times / fade * rng.uniform(1.0, 4.0), 0.0, 1.0)
    tail = noise * (1 - blend) + dark / 8.0 * blend
    room = np.pad(tail, ((0, 0), (delay, 0)))
    return np.asarray(room / np.sqrt(np.mean(np.sum(room**2, axis=1))), dtype=np.float32)


def reverberate(stem: FloatArray, room: FloatArray, wet: float) -> FloatArray:
    """A stem in a room; wet is the gain of the room, the tail beyond the end is cut."""
    size = _fast_size(stem.shape[1] + room.shape[1])
    return stem + np.float32(wet) * _filtered(stem, np.fft.rfft(room, size, axis=1), size)


def saturate(stem: FloatArray, drive: float) -> FloatArray:
    """Soft clipping of what exceeds the RMS by far; drive 0 leaves the stem as it is."""
    level = float(np.sqrt(np.mean(stem**2)))
    if drive <= 0.0 or level == 0.0:
        return stem
    scale = np.float32(drive / (6.0 * level))
    return np.asarray(np.tanh(stem * scale) / scale, dtype=np.float32)


def compression_gain(signal: FloatArray, ratio: float, window: float) -> FloatArray:
    """Gain [samples] of a compressor that turns down what is louder than the RMS of the whole; window in seconds."""
    power = np.mean(signal.astype(np.float64) ** 2, axis=0)
    average = float(power.mean())
    if average == 0.0:
        return np.ones(signal.shape[1], dtype=np.float32)
    width = max(1, int(window * SAMPLE_RATE))
    total = np.cumsum(np.pad(power, (width, width)))
    envelope = np.maximum(total[2 * width :] - total[: -2 * width], 0.0) / (2 * width)
    excess = np.maximum(envelope / average, 1.0)
    return np.asarray(excess ** (0.5 * (1.0 / ratio - 1.0)), dtype=np.float32)


def draw_compression(rng: np.random.Generator) -> tuple[float, float] | None:
    """Ratio and window of a compressor, or none."""
    return (float(rng.uniform(1.5, 6.0)), float(0.002 * 30.0 ** rng.random())) if chance(rng, 0.7) else None


def overlay(stem: FloatArray, sound: FloatArray | NDArray[np.float64], first: int) -> None:
    """Add a sound [2, n] to a stem from sample `first` on, in place; what lies outside of the stem is lost."""
    begin, end = max(first, 0), min(first + sound.shape[1], stem.shape[1])
    if end > begin:
        stem[:, begin:end] += sound[:, begin - first : end - first]


def _filtered(stem: FloatArray, response: Response, size: int) -> FloatArray:
    spectrum = np.fft.rfft(stem, size, axis=1) * response
    return np.asarray(np.fft.irfft(spectrum, size, axis=1)[:, : stem.shape[1]], dtype=np.float32)


def _fast_size(least: int) -> int:
    """The smallest 2^a 3^b 5^c that is at least `least`: transforms of other lengths are slow."""
    best = 1 << (least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            size = three << max(0, (-(-least // three) - 1).bit_length())
            best = min(best, size)
            three *= 3
        five *= 5
    return best
