"""How close two signals are, in dB: SNR between implementations; SDR, SI-SDR and LSD against the true stems.

All sums are float64, whatever the dtype of the signals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

Decibels = NDArray[np.float64]

# Added to both energies by the definition of uSDR.
_USDR_DELTA = 1e-7

# Windows of the log-spectral distance in samples: 12, 46 and 186 ms at 44.1 kHz, each a quarter apart.
LSD_WINDOWS = (512, 2048, 8192)
# What is weaker counts as this, so that silence has a level: a sinusoid of one step of 16-bit audio, -90.3 dBFS.
LSD_FLOOR = 2.0**-30
# Samples in the frames that are transformed at once: bounds memory to some 50 MB however long the clip.
_LSD_BLOCK = 2**20


def max_abs_error(reference: FloatArray, estimate: FloatArray) -> float:
    """Largest absolute difference of two arrays of one shape; 0 when they are empty."""
    return float(np.abs(_difference(reference, estimate)).max(initial=0.0))


def snr(reference: FloatArray, estimate: FloatArray) -> float:
    """Energy of the reference over energy of the difference, in dB, over all samples of two arrays of one shape.

    Equal arrays give +inf, silent ones included; any difference from a silent reference gives -inf.
    """
    return snr_of(energy(reference), error_energy(reference, estimate))


def usdr(reference: FloatArray, estimate: FloatArray) -> float:
    """Utterance SDR in dB of one stem, [channels, n]: one ratio over the whole clip.

    The SDR of the Music Demixing Challenge 2021 (arXiv 2108.13559): 10 log10 ((sum s^2 + d) / (sum (s - s_hat)^2 + d))
    with d = 1e-7. DTTNet leaves d out, which shows only near silence: here silence for silence gives 0 dB.
    """
    return usdr_of(energy(reference), error_energy(reference, estimate))


def si_sdr(reference: FloatArray, estimate: FloatArray) -> float:
    """Scale-invariant SDR in dB of one stem, [channels, n]: what SDR becomes when loudness is not judged.

    Le Roux et al. 2019 (arXiv 1811.02508): 10 log10 (sum (a s)^2 / sum (a s - s_hat)^2) with a = sum s s_hat / sum s^2,
    one factor for all channels, means left in. NaN for a silent reference, minus infinity for a silent estimate.
    """
    signal = energy(reference)
    if signal == 0.0:
        return math.nan
    factor = float(np.multiply(reference, estimate, dtype=np.float64).sum()) / signal
    target = factor * reference.astype(np.float64)
    if not estimate.any():
        return -math.inf
    return snr_of(energy(target), error_energy(target, estimate))


def log_spectral_distance(reference: FloatArray, estimate: FloatArray) -> float:
    """Multi-resolution log-spectral distance in dB of one stem, [channels, n]; 0 for equal spectra, always finite.

    For every window of LSD_WINDOWS: Hann frames a quarter of it apart, the last one filled with zeros; the level of a
    bin is 20 log10 of its magnitude, scaled so that a sinusoid of amplitude 1 has 0 dB, and at least LSD_FLOOR; the
    distance of a frame is the root of the mean over bins of the squared difference of levels. The result is the mean
    over frames and channels, then over windows. A gain of g dB on a signal above the floor everywhere gives g.
    """
    _check_shapes(reference, estimate)
    return float(np.mean([_spectral_distance(reference, estimate, window) for window in LSD_WINDOWS]))


def csdr(references: FloatArray, estimates: FloatArray, sample_rate: int) -> Decibels:
    """Chunk SDR in dB of each stem, [sources, channels, n] -> [sources]: median over `chunk_sdr`.

    As the SiSEC 2018 campaign reports it with BSS Eval v4 (arXiv 1804.06267). NaN when no chunk counts.
    """
    chunks = chunk_sdr(references, estimates, sample_rate)
    counted = chunks[:, ~np.isnan(chunks).any(axis=0)]
    return np.median(counted, axis=1) if counted.shape[1] else np.full(len(chunks), np.nan)


def chunk_sdr(references: FloatArray, estimates: FloatArray, sample_rate: int) -> Decibels:
    """SDR in dB of each stem in each second, [sources, channels, n] -> [sources, chunks], as museval has it.

    In BSS Eval v4 for images the spatial, interference and artifact errors add up to estimate - reference, so the
    filters it fits cancel and SDR is the plain energy ratio of the chunk. Chunks do not overlap and the unfinished
    one at the end is left out, unless it is the only one. A chunk in which any reference or estimate is silent
    is NaN for all stems; silent means that the channels add up to zero at every sample.
    """
    _check_shapes(references, estimates)
    if references.ndim != 3:
        raise AudioError(f"stems have shape {list(references.shape)}, expected [sources, channels, samples]")
    length = references.shape[-1]
    count = max(1, length // sample_rate)
    result = np.full((len(references), count), np.nan)
    for index in range(count):
        chunk = slice(index * sample_rate, min((index + 1) * sample_rate, length))
        if _any_silent(references[..., chunk]) or _any_silent(estimates[..., chunk]):
            continue
        pairs = zip(references[..., chunk], estimates[..., chunk], strict=True)
        result[:, index] = [snr(reference, estimate) for reference, estimate in pairs]
    return result


def energy(signal: NDArray[np.floating]) -> float:
    """Sum of squares."""
    return float(np.square(signal, dtype=np.float64).sum())


def error_energy(reference: NDArray[np.floating], estimate: NDArray[np.floating]) -> float:
    """Sum of squared differences of two arrays of one shape."""
    return energy(_difference(reference, estimate))


def snr_of(signal: float, error: float) -> float:
    """SNR in dB of two energies, as `snr` has it in the corners."""
    if error == 0.0:
        return float("inf")
    return float("-inf") if signal == 0.0 else 10.0 * float(np.log10(signal / error))


def usdr_of(signal: float, error: float) -> float:
    """uSDR in dB of two energies."""
    return snr_of(signal + _USDR_DELTA, error + _USDR_DELTA)


def change(before: float, after: float) -> float:
    """What was added, in dB; none between two equal infinities."""
    return 0.0 if before == after else after - before


def furthest(values: Sequence[float]) -> float:
    """The value furthest from zero of those that are not NaN; NaN without any."""
    return max((value for value in values if not math.isnan(value)), key=abs, default=math.nan)


def known_mean(values: Sequence[float]) -> float:
    """Mean of those that are not NaN; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _any_silent(stems: FloatArray) -> bool:
    return bool((stems.sum(axis=1) == 0.0).all(axis=1).any())


def _difference(reference: NDArray[np.floating], estimate: NDArray[np.floating]) -> Decibels:
    _check_shapes(reference, estimate)
    difference: Decibels = np.subtract(reference, estimate, dtype=np.float64)
    return difference


def _check_shapes(reference: NDArray[np.floating], estimate: NDArray[np.floating]) -> None:
    if reference.shape != estimate.shape:
        raise AudioError(
            f"reference has shape {list(reference.shape)}, estimate {list(estimate.shape)}; compare equal lengths"
        )


def _spectral_distance(reference: FloatArray, estimate: FloatArray, window: int) -> float:
    """Mean over frames and channels for one window length."""
    hop, length = window // 4, int(reference.shape[-1])
    count = 1 + max(0, math.ceil((length - window) / hop))
    padding = ((0, 0), (0, (count - 1) * hop + window - length))
    views = [
        sliding_window_view(np.pad(signal, padding), window, axis=-1)[:, ::hop] for signal in (reference, estimate)
    ]
    step = max(1, _LSD_BLOCK // window)
    total = 0.0
    for channel in range(len(reference)):
        for first in range(0, count, step):
            before, after = (_levels(view[channel, first : first + step]) for view in views)
            total += float(np.sqrt(np.square(before - after).mean(axis=-1)).sum())
    return total / (count * len(reference))


def _levels(frames: FloatArray) -> Decibels:
    """Level of every bin of frames [frames, window] in dB."""
    hann = np.hanning(frames.shape[-1] + 1)[:-1]
    powers: Decibels = np.square(np.abs(np.fft.rfft(frames * (hann * (2.0 / hann.sum())))))
    levels: Decibels = 10.0 * np.log10(np.maximum(powers, LSD_FLOOR))
    return levels
