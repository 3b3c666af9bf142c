"""The ceiling: what the best real mask on the spectrogram of the mix would reach, knowing the true stems."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ddtasnet_edge.spec import FloatArray

DESCRIPTION = "ideal ratio mask of magnitudes (IRM1 of SiSEC 2018), Hann window 4096, hop 1024"
WINDOW, HOP = 4096, 1024
# Frames transformed at once: bounds memory to some 30 MB however long the clip.
BLOCK = 64
# A Hann window at a quarter of its length: its squares, shifted and added, are 3/2 everywhere.
_GAIN = 1.5


def ideal_ratio_mask(mix: FloatArray, stems: FloatArray, rest: FloatArray | None = None) -> FloatArray:
    """Stems [sources, channels, n] that the mix [channels, n] gives under the mask |S_j| / sum |S_i|.

    IRM1 of the SiSEC 2018 campaign (arXiv 1804.06267, sigsep-mus-oracle with alpha = 1), channel by channel. rest
    [channels, n]: what the mix holds beside the stems; its magnitude joins the sum and it gets no mask.
    """
    length, lead = mix.shape[-1], WINDOW - HOP
    # Zeros before the first sample and behind the last, so that each one lies in four frames.
    count = math.ceil((length + lead) / HOP)
    result = np.zeros((*stems.shape[:2], (count - 1) * HOP + WINDOW), dtype=np.float32)
    for first in range(0, count, BLOCK):
        frames = range(first, min(first + BLOCK, count))
        start, stop = first * HOP - lead, frames[-1] * HOP + WINDOW - lead
        parts = [mix[None], stems] if rest is None else [mix[None], stems, rest[None]]
        masked = _mask(np.concatenate([_cut(part, start, stop) for part in parts]), len(stems))
        for index, frame in enumerate(frames):
            result[..., frame * HOP : frame * HOP + WINDOW] += masked[..., index, :]
    return result[..., lead : lead + length]


def _cut(samples: FloatArray, start: int, stop: int) -> FloatArray:
    """Samples from start to stop, zeros where there are none."""
    length = samples.shape[-1]
    inside = samples[..., max(start, 0) : stop]
    return np.pad(inside, ((0, 0), (0, 0), (max(-start, 0), max(stop - length, 0))))


def _mask(signals: FloatArray, stems: int) -> NDArray[np.float64]:
    """Masked and windowed frames [stems, channels, frames, WINDOW] of [1 + stems (+ 1), channels, samples]."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    spectra = np.fft.rfft(sliding_window_view(signals, WINDOW, axis=-1)[..., ::HOP, :] * window)
    magnitudes = np.abs(spectra[1:])
    mask = magnitudes[:stems] / np.maximum(magnitudes.sum(axis=0), np.finfo(np.float64).tiny)
    frames: NDArray[np.float64] = np.fft.irfft(mask * spectra[0]) * (window / _GAIN)
    return frames
