"""How the stems sound, beyond SDR: figures that weigh errors as ears do, more or less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from ddtasnet_edge.evaluation.haaqi import AUDIOGRAMS, FREQUENCIES, PASSAGE, haaqi
from ddtasnet_edge.evaluation.scores import Listening, StemListening, TrackResult
from ddtasnet_edge.evaluation.tables import decibels, signed
from ddtasnet_edge.metrics import LSD_WINDOWS, change, known_mean, log_spectral_distance, si_sdr
from ddtasnet_edge.spec import FloatArray

NAMES = {"si_sdr": "SI-SDR", "lsd": "LSD", "haaqi": "HAAQI"}
METRICS = tuple(field.name for field in fields(Listening))


def listen(reference: FloatArray, estimate: FloatArray, sample_rate: int, audiogram: str) -> Listening:
    """All figures of one estimate of a stem, [channels, n]."""
    return Listening(
        si_sdr=si_sdr(reference, estimate),
        lsd=log_spectral_distance(reference, estimate),
        haaqi=haaqi(reference, estimate, sample_rate, audiogram),
    )


def listen_to_stems(
    sources: Sequence[str],
    stems: FloatArray,
    before: FloatArray | None,
    after: FloatArray,
    sample_rate: int,
    audiogram: str,
) -> tuple[StemListening, ...]:
    """Every stem of one clip: true stems and estimates [sources, channels, n]."""
    return tuple(
        StemListening(
            source=source,
            before=None if before is None else listen(stems[index], before[index], sample_rate, audiogram),
            after=listen(stems[index], after[index], sample_rate, audiogram),
        )
        for index, source in enumerate(sources)
    )


def summarize_listening(tracks: Sequence[TrackResult]) -> tuple[StemListening, ...]:
    """Each stem, the mean over tracks of every figure, and last the mean over stems; empty when none was measured."""
    stems = [_mean(rows[0].source, rows) for rows in zip(*(track.listening for track in tracks), strict=True)]
    return (*stems, _mean("mean", stems)) if stems else ()


def _mean(source: str, rows: Sequence[StemListening]) -> StemListening:
    before = [row.before for row in rows if row.before is not None]
    return StemListening(source, _averaged(before) if before else None, _averaged([row.after for row in rows]))


def _averaged(figures: Sequence[Listening]) -> Listening:
    return Listening(**{name: known_mean([getattr(each, name) for each in figures]) for name in METRICS})


def listening_table(rows: Sequence[StemListening]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: a row per stem and the mean; with another separator before, after and change."""
    columns = ["stem"]
    for name in NAMES.values():
        columns += [name] if rows[0].before is None else [f"{name} before", "after", "change"]
    return columns, [[row.source, *(cell for name in METRICS for cell in _cells(row, name))] for row in rows]


def _cells(row: StemListening, name: str) -> list[str]:
    after = float(getattr(row.after, name))
    digits = 3 if name == "haaqi" else 2
    if row.before is None:
        return [decibels(after, digits)]
    before = float(getattr(row.before, name))
    return [decibels(before, digits), decibels(after, digits), signed(change(before, after))]


def listening_caption(audiogram: str) -> str:
    """What the figures mean."""
    thresholds = ", ".join(f"{level:g}" for level in AUDIOGRAMS[audiogram])
    return f"""\
means over tracks; SI-SDR in dB: SDR when loudness is not judged
LSD in dB, lower is better: log-spectral distance over windows of {", ".join(map(str, LSD_WINDOWS))} samples
HAAQI, 0 to 1: quality through a hearing aid fitted (NAL-R) to the audiogram '{audiogram}', mean of two ears
audiogram: {thresholds} dB HL at {", ".join(map(str, FREQUENCIES))} Hz
HAAQI listens to the loudest {PASSAGE} s of each stem of a track, SI-SDR and LSD to all of it"""
