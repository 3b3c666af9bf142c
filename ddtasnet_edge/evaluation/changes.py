"""What changed from one separator (before, typically the float model) to another (after, typically a bundle)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.evaluation.scores import Leakage, StemChange, TrackResult, stem_usdr
from ddtasnet_edge.evaluation.tables import decibels, signed
from ddtasnet_edge.metrics import csdr, energy, known_mean, snr, snr_of
from ddtasnet_edge.spec import FloatArray

# A stem is silent in a second when its energy is this far below that of the mix: what leaks is louder by far, and the
# noise that a decoder leaves in place of digital silence is not.
SILENT_STEM = -60.0  # dB
# The mix sounds in a second when its RMS is above this.
SILENT_MIX = -60.0  # dBFS


@dataclass(frozen=True)
class StemSummary:
    """One stem over all tracks, in dB; NaN where there is no figure.

    usdr_before, usdr_after, usdr_change, csdr_change: means over tracks; dsdr_lowest and dsdr_highest: range over
    tracks; track: the one whose dSDR is furthest from zero; snr: lowest of the tracks; silent_seconds and leakages:
    over all tracks together.
    """

    source: str
    usdr_before: float
    usdr_after: float
    usdr_change: float
    csdr_change: float
    dsdr_lowest: float
    dsdr_highest: float
    track: str
    snr: float
    silent_seconds: int
    leakage_before: float
    leakage_after: float


def compare_stems(
    sources: Sequence[str], mix: FloatArray, stems: FloatArray, before: FloatArray, after: FloatArray, sample_rate: int
) -> tuple[StemChange, ...]:
    """Every stem of one clip: mix [channels, n]; true stems and both estimates [sources, channels, n]."""
    usdrs = [stem_usdr(stems, estimates) for estimates in (before, after)]
    csdrs = [csdr(stems, estimates, sample_rate) for estimates in (before, after)]
    return tuple(
        StemChange(
            source=source,
            usdr_before=usdrs[0][index],
            usdr_after=usdrs[1][index],
            csdr_before=float(csdrs[0][index]),
            csdr_after=float(csdrs[1][index]),
            snr=snr(before[index], after[index]),
            leakage=measure_leakage(mix, stems[index], before[index], after[index], sample_rate),
        )
        for index, source in enumerate(sources)
    )


def measure_leakage(
    mix: FloatArray, stem: FloatArray, before: FloatArray, after: FloatArray, sample_rate: int
) -> Leakage:
    """Energies in those seconds, cut from the start, in which the stem is silent and the mix is not; all [channels, n].

    As for cSDR, the unfinished second at the end is left out, unless it is the only one.
    """
    seconds, sums = 0, np.zeros(3)
    for index in range(max(1, mix.shape[-1] // sample_rate)):
        cut = slice(index * sample_rate, (index + 1) * sample_rate)
        loudness = energy(mix[:, cut])
        sounds = loudness > mix[:, cut].size * 10.0 ** (SILENT_MIX / 10.0)
        if sounds and energy(stem[:, cut]) <= loudness * 10.0 ** (SILENT_STEM / 10.0):
            seconds += 1
            sums += loudness, energy(before[:, cut]), energy(after[:, cut])
    return Leakage(seconds, *(float(value) for value in sums))


def summarize_changes(tracks: Sequence[TrackResult]) -> tuple[StemSummary, ...]:
    """Each stem over all tracks; empty when nothing was compared."""
    names = [track.track for track in tracks]
    return tuple(_summary(names, changes) for changes in zip(*(track.changes for track in tracks), strict=True))


def _summary(names: Sequence[str], changes: Sequence[StemChange]) -> StemSummary:
    dsdrs = {name: each.dsdr for name, each in zip(names, changes, strict=True) if not math.isnan(each.dsdr)}
    leaks = [each.leakage for each in changes]
    seconds, mix = sum(leak.seconds for leak in leaks), sum(leak.mix for leak in leaks)
    return StemSummary(
        source=changes[0].source,
        usdr_before=known_mean([each.usdr_before for each in changes]),
        usdr_after=known_mean([each.usdr_after for each in changes]),
        usdr_change=known_mean([each.usdr_change for each in changes]),
        csdr_change=known_mean([each.csdr_change for each in changes]),
        dsdr_lowest=min(dsdrs.values(), default=math.nan),
        dsdr_highest=max(dsdrs.values(), default=math.nan),
        track=max(dsdrs, key=lambda name: abs(dsdrs[name]), default="-"),
        snr=min(each.snr for each in changes),
        silent_seconds=seconds,
        leakage_before=snr_of(sum(leak.before for leak in leaks), mix) if seconds else math.nan,
        leakage_after=snr_of(sum(leak.after for leak in leaks), mix) if seconds else math.nan,
    )


def change_table(summaries: Sequence[StemSummary]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: a row per stem."""
    columns = ["stem", "uSDR before", "after", "change", "cSDR change", "dSDR from", "to", "changed most in", "SNR"]
    rows = [
        [
            row.source,
            decibels(row.usdr_before),
            decibels(row.usdr_after),
            *(signed(value) for value in (row.usdr_change, row.csdr_change, row.dsdr_lowest, row.dsdr_highest)),
            row.track,
            decibels(row.snr, 1),
            decibels(row.leakage_before),
            decibels(row.leakage_after),
            str(row.silent_seconds),
        ]
        for row in summaries
    ]
    return [*columns, "leakage before", "after", "silent s"], rows


def change_caption(before: str, after: str) -> str:
    """What the figures mean; before and after: names of the separators."""
    return f"""\
before: {before}; after: {after}; figures in dB
change: after less before, mean over tracks; dSDR: the change of uSDR or cSDR, whichever is more, range over tracks
SNR: stems after against stems before, lowest of the tracks
leakage: energy of the estimate over that of the mix in seconds in which the true stem is silent
silent: {-SILENT_STEM:g} dB or more below the mix, while the mix is above {SILENT_MIX:g} dBFS"""
