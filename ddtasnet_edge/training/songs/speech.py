"""Spoken syllables from espeak-ng, taken apart by the WORLD vocoder (Morise et al. 2016) so that they can be sung."""

from __future__ import annotations

import io
import warnings
import wave
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.render import run_program

Array = NDArray[np.float64]

FRAME = 0.005  # seconds between two frames
BINS = 1025  # of a spectrum at SAMPLE_RATE
SILENCE = 1e-16  # power of a frame without sound

# One syllable each, so that one word is one note or a run of notes on one vowel.
_LYRICS = (
    "all and are back be bed been black blue blow bone born break bright bring burn call calm can care chain change "
    "child clear close cloud cold come could cry dance dark day deep door down dream drive dry dust each eyes face "
    "fade fall far fast fear feel fight find fire first flame fly fool for found free friend from ghost girl give go "
    "gold gone good ground grow guide hand hang hard have he hear heart heat here high hold home hope hour house how "
    "hurt I ice in it just keep kind king kiss know land last laugh lay lead learn leave left let lie life light like "
    "line lips live long look lose lost loud love low made make man me mean mind mine moon more most move my name "
    "near need new night no noise now of old on one our out pain past place play please pull rain reach real red rest "
    "ride right ring rise road rock roll room rope round run sad safe said sail same save say sea see shade shake "
    "shame she shine ship shore should shout show side sign sing skin sky sleep slow smile smoke so some song soul "
    "sound speak stand star stay steal still stone storm street strong such sun sweet take talk tears tell that the "
    "their then they things think this those thought thread through tide time to touch town trace train tree true try "
    "turn two wait wake walk wall want warm was watch wave way we weak well were what when where while white who why "
    "wild will wind wings wish with world would write wrong years you young your"
)
WORDS = tuple(_LYRICS.split())
SOUNDS = ("la", "la", "na", "oh", "ooh", "ah", "yeah", "hey", "da", "doo", "bah", "mm", "whoa")

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029")
LOW_VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt3")
HIGH_VOICES = ("f1", "f2", "f3", "f4", "f5")


@dataclass(frozen=True, eq=False)
class Syllable:
    """Frames of a word at SAMPLE_RATE: power spectrum and aperiodicity [frames, BINS], voiced [frames].

    The vowel is frames [begin, end); consonants lie around it. Its mean power is one.
    """

    spectrum: Array
    aperiodicity: Array
    voiced: Array
    begin: int
    end: int

    @property
    def frames(self) -> int:
        return len(self.voiced)


def speak(word: str, voice: str, formants: float) -> Syllable:
    """A word as an espeak-ng voice says it, its formants moved up by a factor.

    Raises AudioError when espeak-ng fails.
    """
    world = vocoder()
    samples, rate = _recite(word, voice)
    pitch, times = world.dio(samples, rate, frame_period=FRAME * 1000)
    pitch = world.stonemask(samples, pitch, times, rate)
    size = 2 * (BINS - 1) * rate // SAMPLE_RATE
    spectrum = world.cheaptrick(samples, pitch, times, rate, fft_size=size)
    aperiodicity = world.d4c(samples, pitch, times, rate, fft_size=size)
    spectrum = _move_formants(_extend(spectrum), formants)
    aperiodicity = np.pad(aperiodicity, ((0, 0), (0, BINS - aperiodicity.shape[1])), constant_values=1.0)
    return _trim(spectrum, aperiodicity, pitch > 0)


def vocoder() -> Any:
    """The module pyworld. Its import warns of its own use of pkg_resources, which is nothing a user could change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld
    return pyworld


def _recite(word: str, voice: str) -> tuple[Array, int]:
    """Samples in [-1, 1] and their rate, 22050 Hz."""
    spoken = run_program(["espeak-ng", "-v", voice, "-s", "140", "--stdout", word])
    # The header of a stream does not know its length; the reader takes what there is.
    with wave.open(io.BytesIO(spoken)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples / 32768.0, file.getframerate()


def _extend(spectrum: Array) -> Array:
    """The half spectrum that speech at 22050 Hz has, continued to the full band with a falling slope."""
    known = spectrum.shape[1] * 9 // 10  # the last tenth holds the edge of a filter
    level = spectrum[:, known - 40 : known].mean(axis=1, keepdims=True)
    slope = (np.arange(known, BINS) / known) ** -4.0
    return np.concatenate([spectrum[:, :known], level * slope], axis=1)


def _move_formants(spectrum: Array, factor: float) -> Array:
    bins = np.arange(BINS)
    source = np.clip(bins / factor, 0, BINS - 1)
    left = np.minimum(source.astype(int), BINS - 2)
    share = source - left
    moved: Array = spectrum[:, left] * (1 - share) + spectrum[:, left + 1] * share
    return moved


def _trim(spectrum: Array, aperiodicity: Array, voiced: NDArray[np.bool_]) -> Syllable:
    """Cut the silence around a word and find its vowel: the longest loud voiced run."""
    power = spectrum.mean(axis=1)
    loud = np.flatnonzero(power > 1e-4 * power.max())
    cut = slice(int(loud[0]), int(loud[-1]) + 1)
    spectrum, aperiodicity, voiced, power = spectrum[cut], aperiodicity[cut], voiced[cut], power[cut]
    begin, end = _longest_run(voiced & (power > 0.1 * power.max()))
    if end == begin:  # whispered or clipped by the analysis: the middle serves as its vowel
        begin, end = len(power) // 3, max(2 * len(power) // 3, len(power) // 3 + 1)
    level = power[begin:end].mean()
    return Syllable(spectrum / level + SILENCE, aperiodicity, voiced.astype(np.float64), begin, end)


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    begin, end = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
    return int(begin), int(end)
