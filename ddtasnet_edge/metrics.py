"""How close two signals are, in dB: SNR between implementations, uSDR and cSDR against the true stems.

All sums are float64, whatever the dtype of the signals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

Decibels = NDArray[np.float64]

# Added to both energies by the definition of uSDR.
_USDR_DELTA = 1e-7


def max_abs_error(reference: FloatArray, estimate: FloatArray) -> float:
    """Largest absolute difference of two arrays of one shape; 0 when they are empty."""
    return float(np.abs(_difference(reference, estimate)).max(initial=0.0))


def snr(reference: FloatArray, estimate: FloatArray) -> float:
    """Energy of the reference over energy of the difference, in dB, over all samples of two arrays of one shape.

    Equal arrays give +inf, silent ones included; any difference from a silent reference gives -inf.
    """
    return _ratio(reference, estimate)


def usdr(reference: FloatArray, estimate: FloatArray) -> float:
    """Utterance SDR in dB of one stem, [channels, n]: one ratio over the whole clip.

    The SDR of the Music Demixing Challenge 2021 (arXiv 2108.13559): 10 log10 ((sum s^2 + d) / (sum (s - s_hat)^2 + d))
    with d = 1e-7. DTTNet leaves d out, which shows only near silence: here silence for silence gives 0 dB.
    """
    signal, error = _energy(reference), _energy(_difference(reference, estimate))
    return _decibels(signal + _USDR_DELTA, error + _USDR_DELTA)


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
        result[:, index] = [_ratio(reference, estimate) for reference, estimate in pairs]
    return result


def _any_silent(stems: FloatArray) -> bool:
    return bool((stems.sum(axis=1) == 0.0).all(axis=1).any())


def _energy(signal: NDArray[np.floating]) -> float:
    return float(np.square(signal, dtype=np.float64).sum())


def _ratio(reference: FloatArray, estimate: FloatArray) -> float:
    return _decibels(_energy(reference), _energy(_difference(reference, estimate)))


def _difference(reference: FloatArray, estimate: FloatArray) -> Decibels:
    _check_shapes(reference, estimate)
    return np.subtract(reference, estimate, dtype=np.float64)


def _check_shapes(reference: FloatArray, estimate: FloatArray) -> None:
    if reference.shape != estimate.shape:
        raise AudioError(
            f"reference has shape {list(reference.shape)}, estimate {list(estimate.shape)}; compare equal lengths"
        )


def _decibels(signal: float, error: float) -> float:
    if error == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(signal / error)) if signal > 0.0 else float("-inf")


def known_mean(values: Sequence[float]) -> float:
    """Mean of those that are not NaN; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
