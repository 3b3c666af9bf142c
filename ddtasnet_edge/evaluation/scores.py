"""Figures of one stem, of a track, and over tracks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean, median
from typing import Any

from ddtasnet_edge.evaluation.museval_v4 import median_over_frames
from ddtasnet_edge.metrics import Decibels, change, csdr, furthest, known_mean, snr_of, usdr, usdr_of
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
class Leakage:
    """What sounds where a stem is silent and the mix is not.

    seconds: how many of a track; energies in them of the mix, of the other separator's estimate and of this one's.
    """

    seconds: int
    mix: float
    before: float
    after: float

    @property
    def before_db(self) -> float:
        """The other's estimate over the mix, in dB; NaN when the stem is never silent."""
        return snr_of(self.before, self.mix) if self.seconds else math.nan

    @property
    def after_db(self) -> float:
        """This one's estimate over the mix, in dB; NaN when the stem is never silent."""
        return snr_of(self.after, self.mix) if self.seconds else math.nan


@dataclass(frozen=True)
class StemChange:
    """One stem, from the other separator (before) to this one (after); all in dB.

    snr: this one's estimate against the other's; usdr and csdr are NaN where they do not exist.
    """

    source: str
    usdr_before: float
    usdr_after: float
    csdr_before: float
    csdr_after: float
    snr: float
    leakage: Leakage

    @property
    def usdr_change(self) -> float:
        """uSDR after less uSDR before."""
        return change(self.usdr_before, self.usdr_after)

    @property
    def csdr_change(self) -> float:
        """cSDR after less cSDR before."""
        return change(self.csdr_before, self.csdr_after)

    @property
    def dsdr(self) -> float:
        """The change of uSDR or of cSDR, whichever is further from zero."""
        return furthest([self.usdr_change, self.csdr_change])

    def to_dict(self) -> dict[str, Any]:
        """The figures, and what follows from them."""
        changes = {"usdr_change": self.usdr_change, "csdr_change": self.csdr_change, "dsdr": self.dsdr}
        leakage = {"leakage_before": self.leakage.before_db, "leakage_after": self.leakage.after_db}
        return asdict(self) | changes | leakage


@dataclass(frozen=True)
class Listening:
    """How one estimate of a stem sounds: SI-SDR and LSD in dB, HAAQI from 0 to 1; NaN where there is no figure."""

    si_sdr: float
    lsd: float
    haaqi: float


@dataclass(frozen=True)
class StemListening:
    """One stem: the other separator's estimate, None without one, and this one's."""

    source: str
    before: Listening | None
    after: Listening


@dataclass(frozen=True)
class TrackResult:
    """One track; sha256 is over its samples as they were evaluated.

    changes and listening are empty when they were not asked for.
    """

    track: str
    seconds: float
    sha256: str
    stems: tuple[StemResult, ...]
    changes: tuple[StemChange, ...] = ()
    listening: tuple[StemListening, ...] = ()


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
