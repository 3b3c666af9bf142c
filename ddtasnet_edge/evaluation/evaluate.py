"""Separate every track and score it beside its floor and its ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ddtasnet_edge import console
from ddtasnet_edge.clips import Clip, hash_clips
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.evaluation import museval_v4, oracle
from ddtasnet_edge.evaluation.changes import compare_stems
from ddtasnet_edge.evaluation.drift_report import MINUTE
from ddtasnet_edge.evaluation.haaqi import check_audiogram
from ddtasnet_edge.evaluation.listening import listen_to_stems
from ddtasnet_edge.evaluation.report import EvalReport
from ddtasnet_edge.evaluation.scores import Scores, StemResult, TrackResult, score
from ddtasnet_edge.evaluation.separator import Separator
from ddtasnet_edge.metrics import Decibels
from ddtasnet_edge.music import Music
from ddtasnet_edge.spec import FloatArray

Frames = dict[str, Decibels]


def evaluate(
    separator: Separator,
    music: Music,
    *,
    museval: bool = False,
    museval_json: Path | None = None,
    against: Separator | None = None,
    audiogram: str | None = None,
    quiet: bool = False,
) -> EvalReport:
    """Evaluate on every track, one in memory at a time.

    museval: SDR, SIR, SAR and ISR too; museval_json: a folder for its frame-wise figures of the model, in museval's
    format under `<split>/<track>.json`, which implies museval. against: the separator to compare with, of the same
    rate, channels and sources; audiogram: the listener of the figures of listening, None for no such figures. A track
    that cannot be read is named on stderr and left out. Raises AudioError when none can be read, StreamError when the
    stems hold NaN, and as `check_audiogram`.
    """
    if audiogram is not None:
        check_audiogram(audiogram)
    museval = museval or museval_json is not None
    if museval:
        museval_v4.require_museval()
    results, skipped = [], []
    for clip in console.progress(read_tracks(music), len(music.tracks), "evaluating", quiet):
        if isinstance(clip, str):
            skipped.append(clip)
            console.say(f"skipped {clip}")
            continue
        result, frames = evaluate_clip(separator, clip, museval, against, audiogram)
        results.append(result)
        if museval_json is not None and frames is not None:
            museval_v4.write_track(museval_json / music.split, clip.name, separator.spec.sources, frames)
    if not results:
        raise AudioError(f"none of {len(music.tracks)} tracks could be read; the first: {skipped[0]}")
    return EvalReport(
        name=separator.name,
        weights=separator.weights,
        source=separator.source,
        music=music.note,
        split=music.split,
        museval=museval,
        ceiling=oracle.DESCRIPTION,
        tracks=tuple(results),
        skipped=tuple(skipped),
        against=None if against is None else against.name,
        audiogram=audiogram,
    )


def read_tracks(music: Music) -> Iterator[Clip | str]:
    """Each track, or a sentence that says which could not be read and why."""
    for name, read in music.tracks.items():
        try:
            yield read()
        except AudioError as error:
            yield f"'{name}': {error}"


def first_minute(separator: Separator, music: Music) -> tuple[FloatArray, FloatArray]:
    """At least a minute of the music that can be read, or all: mix [channels, n], stems [sources, channels, n]."""
    wanted = MINUTE * separator.spec.sample_rate
    mixes, stems = [], []
    for clip in read_tracks(music):
        if isinstance(clip, str) or clip.stems is None:
            continue
        mixes.append(clip.mix)
        stems.append(clip.stems)
        wanted -= clip.mix.shape[1]
        if wanted <= 0:
            break
    return np.concatenate(mixes, axis=-1), np.concatenate(stems, axis=-1)


def evaluate_clip(
    separator: Separator,
    clip: Clip,
    museval: bool,
    against: Separator | None = None,
    audiogram: str | None = None,
) -> tuple[TrackResult, Frames | None]:
    """Scores of one clip with its true stems, and museval's frames of the model; the rest as in `evaluate`."""
    stems, rate = clip.stems, clip.sample_rate
    assert stems is not None
    # Stems that the model does not know are in the mix all the same, and the mask must leave them out.
    rest = None if set(separator.spec.sources) == set(MUSDB_SOURCES) else clip.mix - stems.sum(axis=0)

    def judge(estimates: FloatArray) -> tuple[list[Scores], Frames | None]:
        frames = museval_v4.bss_eval(stems, estimates, rate) if museval else None
        return score(stems, estimates, rate, frames), frames

    after = separator.separate(clip.mix)
    model, frames = judge(after)
    floor, _ = judge(np.broadcast_to(clip.mix, stems.shape))
    ceiling, _ = judge(oracle.ideal_ratio_mask(clip.mix, stems, rest))
    sources = separator.spec.sources
    before = None if against is None else against.separate(clip.mix)
    return TrackResult(
        track=clip.name,
        seconds=clip.mix.shape[1] / rate,
        sha256=hash_clips([clip]),
        stems=tuple(StemResult(*row) for row in zip(sources, floor, model, ceiling, strict=True)),
        changes=() if before is None else compare_stems(sources, clip.mix, stems, before, after, rate),
        listening=() if audiogram is None else listen_to_stems(sources, stems, before, after, rate, audiogram),
    ), frames
