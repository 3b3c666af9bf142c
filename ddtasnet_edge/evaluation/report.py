"""What an evaluation found, and the tables that show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.evaluation.changes import summarize_changes
from ddtasnet_edge.evaluation.drift_report import DriftReport
from ddtasnet_edge.evaluation.listening import summarize_listening
from ddtasnet_edge.evaluation.scores import Scores, StemResult, TrackResult, over_stems, over_tracks
from ddtasnet_edge.evaluation.tables import decibels
from ddtasnet_edge.files import json_safe
from ddtasnet_edge.metrics import known_mean

ESTIMATES = ("floor", "model", "ceiling")
OWN_METRICS = {"uSDR": "usdr", "cSDR": "csdr"}
MUSEVAL_METRICS = {"SDR": "sdr", "SIR": "sir", "SAR": "sar", "ISR": "isr"}
MEAN = "mean"


@dataclass(frozen=True)
class EvalReport:
    """One separator on one choice of music.

    weights: 'random' or 'trained'; music: origin and licence; museval: whether its figures were computed; ceiling:
    which oracle; skipped: tracks that could not be read, with the reason; against: name of the separator it was
    compared with; audiogram: the one that listened.
    """

    name: str
    weights: str
    source: str
    music: str
    split: str
    museval: bool
    ceiling: str
    tracks: tuple[TrackResult, ...]
    skipped: tuple[str, ...]
    drift: DriftReport | None = None
    against: str | None = None
    audiogram: str | None = None

    def summary(self) -> tuple[StemResult, ...]:
        """Each stem over all tracks, and last the mean over stems."""
        stems = tuple(
            _joined(rows[0].source, rows, over_tracks) for rows in zip(*(t.stems for t in self.tracks), strict=True)
        )
        return (*stems, _joined(MEAN, stems, over_stems))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the summaries over tracks; NaN and infinity become null."""
        values = asdict(self) | {
            "summary": [asdict(row) for row in self.summary()],
            "changes": [asdict(row) for row in summarize_changes(self.tracks)],
            "listening": [asdict(row) for row in summarize_listening(self.tracks)],
        }
        for shown, track in zip(values["tracks"], self.tracks, strict=True):
            shown["changes"] = [each.to_dict() for each in track.changes]
        if self.drift is not None:
            values["drift"] = self.drift.to_dict()
        return dict(json_safe(values))

    def caption(self) -> str:
        """What the figures mean, for below the table."""
        tracks = "1 track" if len(self.tracks) == 1 else f"{len(self.tracks)} tracks"
        lines = [
            f"{self.name}: {self.weights} weights; figures in dB on {tracks}",
            f"music: {self.music}",
            "floor: the mix taken for every stem",
            f"ceiling: {self.ceiling}",
            "uSDR: mean over tracks; others: median over seconds, then over tracks; mean: over stems",
        ]
        silent = sum(math.isnan(stem.model.usdr) for track in self.tracks for stem in track.stems)
        if silent:
            lines.append(f"stems silent throughout, left out because they have no SDR: {silent}")
        if self.skipped:
            lines.append(f"tracks left out because they cannot be read: {len(self.skipped)}")
        return "\n".join(lines)


def stem_table(report: EvalReport, metrics: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: a row per stem and the mean; floor, model and ceiling of each metric (name -> field)."""
    columns = ["stem", *(f"{metric} {estimate}" for metric in metrics for estimate in ESTIMATES)]
    rows = [
        [row.source, *(decibels(_figure(row, estimate, key)) for key in metrics.values() for estimate in ESTIMATES)]
        for row in report.summary()
    ]
    return columns, rows


def museval_caption() -> str:
    """What to know before quoting museval, for below its table."""
    return (
        "median over seconds, then over tracks; SDR is cSDR\n"
        "where the music has an empty band (AAC, MP3), museval's SIR, SAR and ISR of a short clip are rounding errors"
    )


def track_table(report: EvalReport) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: mean uSDR over the stems of each track."""
    rows = [
        [
            track.track,
            f"{track.seconds:.1f}",
            *(decibels(known_mean([_figure(stem, name, "usdr") for stem in track.stems])) for name in ESTIMATES),
        ]
        for track in report.tracks
    ]
    return ["track", "seconds", *ESTIMATES], rows


def _figure(row: StemResult, estimate: str, metric: str) -> float:
    return float(getattr(getattr(row, estimate), metric))


def _joined(source: str, rows: Sequence[StemResult], join: Callable[[Sequence[Scores]], Scores]) -> StemResult:
    return StemResult(source, **{name: join([getattr(row, name) for row in rows]) for name in ESTIMATES})
