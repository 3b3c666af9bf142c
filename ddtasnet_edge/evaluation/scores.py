"""Figures of one stem, of a track, and over tracks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median

from ddtasnet_edge.evaluation.museval_v4 import median_over_frames
from ddtasnet_edge.metrics import Decibels, csdr, known_mean, usdr, usdr_of
from ddtasnet_edge.spec import FloatArray


@dataclass(frozen=True)
class Scores:
    """Of one estimate of one stem, in dB; NaN where a figure does not exist or was not asked for.

    usdr is NaN for a stem that is silent throughout; sdr to isr are museval's.
    """

    usdr: float
    csdr: float
    sdr: float = math.nan
    sir: float = math.nan
    sar: float = math.nan
    isr: float = math.nan


METRICS = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True)
class StemResult:
    """One stem: the mix taken as estimate, the model, and the ideal ratio mask."""

    source: str
    floor: Scores
    model: Scores
    ceiling: Scores


@dataclass(frozen=True)
class TrackResult:
    """One track; sha256 is over its samples as they were evaluated."""

    track: str
    seconds: float
    sha256: str
    stems: tuple[StemResult, ...]


def score(
    references: FloatArray, estimates: FloatArray, sample_rate: int, frames: Mapping[str, Decibels] | None
) -> list[Scores]:
    """Scores of each stem, [sources, channels, n]; frames: what museval found, None when it was not asked."""
    whole = stem_usdr(references, estimates)
    chunks = csdr(references, estimates, sample_rate)
    medians = {} if frames is None else {name.lower(): median_over_frames(values) for name, values in frames.items()}
    return [
        Scores(whole[index], float(chunks[index]), **{name: values[index] for name, values in medians.items()})
        for index in range(len(references))
    ]


def stem_usdr(references: FloatArray, estimates: FloatArray) -> list[float]:
    """uSDR of each stem, [sources, channels, n]; NaN for a stem that is silent throughout: there is no signal."""
    return [
        usdr(reference, estimate) if reference.any() else math.nan
        for reference, estimate in zip(references, estimates, strict=True)
    ]


def mean_usdr(signals: Decibels, errors: Decibels) -> float:
    """Mean uSDR over the stems that sound, of energies [sources]; NaN when none does or the error of one is NaN."""
    values = [usdr_of(signal, error) for signal, error in zip(signals, errors, strict=True) if signal]
    return fmean(values) if values else math.nan


def over_tracks(results: Sequence[Scores]) -> Scores:
    """As the field reports: the mean of uSDR, the median of everything else, NaN left out."""
    return Scores(
        **{name: (known_mean if name == "usdr" else known_median)(_column(results, name)) for name in METRICS}
    )


def over_stems(results: Sequence[Scores]) -> Scores:
    """The mean of every figure, NaN left out."""
    return Scores(**{name: known_mean(_column(results, name)) for name in METRICS})


def known_median(values: Sequence[float]) -> float:
    """Median of those that are not NaN; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan


def _column(results: Sequence[Scores], name: str) -> list[float]:
    return [getattr(scores, name) for scores in results]
