"""HAAQI, the hearing-aid audio quality index (Kates and Arehart 2016, doi:10.1109/TASLP.2015.2507858), by pyclarity.

The index models the ear of a listener with a hearing loss and compares what it makes of a reference and of a processed
signal: 1 is no difference, 0 the worst. It was fitted to ratings of music through simulated hearing aids, not to
separated stems: read changes, not values.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from ddtasnet_edge.config import nearest
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.metrics import energy, known_mean
from ddtasnet_edge.spec import FloatArray

# Hearing thresholds in dB HL at these frequencies in Hz. The standard audiograms N2 (mild), N3 (moderate) and N5
# (severe) of Bisgaard, Vlaming and Dahlquist 2010 (doi:10.1177/1084713810379609, table 2; used by IEC 60118-15).
FREQUENCIES = (250, 500, 1000, 2000, 4000, 6000)
AUDIOGRAMS: dict[str, tuple[float, ...]] = {
    "none": (0, 0, 0, 0, 0, 0),
    "mild": (20, 20, 25, 35, 45, 50),
    "moderate": (35, 35, 40, 50, 60, 65),
    "severe": (65, 70, 75, 80, 80, 80),
}
# The model takes about as long as the music lasts, for each channel: only this much of a stem is listened to.
PASSAGE = 4  # seconds
SHORTEST = 0.5  # seconds
# The sound pressure level of a reference without a hearing aid, in dB; the index is defined for this one.
LEVEL = 65.0
# The rate at which the model works, in Hz.
RATE = 24000
# Length of the NAL-R filter in samples at that rate.
_TAPS = 140
# A channel that stays below the last bit of 16-bit audio is silent.
_SILENT = 2.0**-15

Samples = NDArray[np.float64]


def check_audiogram(name: str) -> None:
    """Raise ConfigError for an unknown audiogram, MissingDependencyError without pyclarity."""
    if name not in AUDIOGRAMS:
        raise ConfigError(f"unknown audiogram '{name}': {nearest(name, tuple(AUDIOGRAMS))}")
    # pyclarity as a whole depends on torchaudio and much else that this part of it does not use.
    require(("clarity", "numba", "scipy"), "--listening", "listening", "pip install --no-deps pyclarity")


def haaqi(reference: FloatArray, estimate: FloatArray, sample_rate: int, audiogram: str) -> float:
    """HAAQI of an estimate of a stem, [channels, n], for two ears with the same audiogram; 0 to 1.

    Each channel is heard by one ear, and the result is the mean over ears; a channel in which the reference is silent
    is left out. Only the loudest PASSAGE seconds of the reference count. Reference and estimate both go through the
    hearing aid that NAL-R prescribes for the audiogram, the reference of each ear at 65 dB SPL before it, and the
    estimate with the same gain. NaN without sound or in less than SHORTEST seconds. Raises as `check_audiogram`.
    """
    check_audiogram(audiogram)
    cut = loudest_passage(reference, sample_rate)
    ears = zip(reference[:, cut], estimate[:, cut], strict=True)
    return known_mean([_one_ear(true, found, sample_rate, audiogram) for true, found in ears])


def loudest_passage(reference: FloatArray, sample_rate: int) -> slice:
    """Where the most energy of a signal [channels, n] lies: PASSAGE seconds from a whole second on, or all of it."""
    length = PASSAGE * sample_rate
    starts = range(0, max(1, reference.shape[-1] - length + 1), sample_rate)
    start = max(starts, key=lambda first: energy(reference[:, first : first + length]))
    return slice(start, start + length)


def _one_ear(reference: FloatArray, estimate: FloatArray, sample_rate: int, audiogram: str) -> float:
    if len(reference) < SHORTEST * sample_rate or np.abs(reference).max() < _SILENT:
        return math.nan
    # A rate of its own: the package rounds rates to kHz and corrects levels by what it then finds.
    true, found = (soxr.resample(signal.astype(np.float64), sample_rate, RATE) for signal in (reference, estimate))
    # The level of a signal whose RMS is 1.
    level = LEVEL - 10.0 * math.log10(energy(true) / len(true))
    with _repeatable(), np.errstate(all="ignore"):
        return _model(audiogram)(true, found, level)


@cache
def _model(audiogram: str) -> Callable[[Samples, Samples, float], float]:
    """The index for one audiogram: (reference, estimate, level of an RMS of 1 in dB SPL) -> 0 to 1."""
    from clarity.enhancer.nalr import NALR
    from clarity.evaluator.haaqi import haaqi_v1
    from clarity.utils.audiogram import Audiogram

    logging.getLogger("clarity").setLevel(logging.ERROR)  # it warns of quiet signals, for which it has a value
    listener = Audiogram(levels=np.array(AUDIOGRAMS[audiogram], dtype=np.float64), frequencies=np.array(FREQUENCIES))
    prescription = NALR(_TAPS, RATE)
    taps, _ = prescription.build(listener)

    def run(reference: Samples, estimate: Samples, level: float) -> float:
        aided = [prescription.apply(taps, signal)[_TAPS // 2 :][: len(signal)] for signal in (reference, estimate)]
        # 2: the reference has its NAL-R already.
        value, *_ = haaqi_v1(aided[0], RATE, aided[1], RATE, listener, 2, level)
        return float(value)

    return run


@contextmanager
def _repeatable() -> Iterator[None]:
    """The model adds noise at the hearing threshold, from numpy's global generator: the same noise every time."""
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)
