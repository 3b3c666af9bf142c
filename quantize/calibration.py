"""The music that a model is calibrated on, and the music that a search listens to: seeded choices of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ddtasnet_edge.clips import Clip, ClipFormat, MusdbFormat, default_clip, folder_clips
from ddtasnet_edge.errors import AudioError, ConfigError
from ddtasnet_edge.music import MusicChoice, find_music

SEED, SEARCH_SEED = 0, 1
# From a folder: so many songs, so many seconds of each. Half a minute of music is about 2700 hops of 512.
SONGS, SECONDS = 8, 4.0
# Of the default clip: the song as it is, and remixes of its stems at other levels.
PARTS = 4
SEARCH_REMIXES = 3
# Below this peak, -60 dBFS, music has no more to say than noise.
SILENT = 1e-3
# Music is clipped when more than this share of its samples lies at full scale.
FULL_SCALE, CLIPPED_SHARE = 0.999, 0.001
REMIX_GAINS_DB = (-12.0, 6.0)


def _unheard(remark: str) -> None:
    """Where remarks go when nobody listens."""


def calibration_clips(
    form: ClipFormat, folder: Path | None = None, say: Callable[[str], None] = _unheard, parts: int | None = None
) -> list[Clip]:
    """The calibration set: a seeded choice, the same every time.

    folder: songs or a MUSDB18 root (its training set), of which `parts` (SONGS) are heard for SECONDS each; without
    one, `parts` (PARTS) of the default clip and remixes of its stems.
    What is shorter than a second or silent is left out, and `say` hears of it, as of what is clipped. Raises
    AudioError when nothing is left.
    """
    if folder is None:
        found = _from_default_clip(form, PARTS if parts is None else parts)
    else:
        found = folder_clips(folder, form, excerpt=SECONDS, choose=partial(_some, wanted=parts or SONGS))
    faults = [(clip, _fault(clip)) for clip in found]
    usable = [clip for clip, fault in faults if fault is None]
    if not usable:
        raise AudioError(
            f"no calibration music in {folder}: {faults[0][0].name} {faults[0][1]}; give songs of at least a second"
        )
    for clip, fault in faults:
        if fault is not None:
            say(f"calibration leaves out {clip.name}: it {fault}")
    for clip in usable:
        if _is_clipped(clip):
            say(f"calibration hears clipping in {clip.name}: ranges may be narrower than music needs")
    return usable


def _fault(clip: Clip) -> str | None:
    """Why a clip says nothing about ranges; None when it does."""
    seconds = clip.mix.shape[1] / clip.sample_rate
    if seconds < 1.0:
        return f"lasts {seconds:.2f} s, expected at least 1 s"
    loudest = float(np.abs(clip.mix).max())
    return f"is silent, its peak is {loudest:.1e}" if loudest < SILENT else None


def _is_clipped(clip: Clip) -> bool:
    return float((np.abs(clip.mix) >= FULL_SCALE).mean()) > CLIPPED_SHARE


def _some(count: int, wanted: int = SONGS) -> list[int]:
    """Indices of the songs to calibrate on, in their order."""
    return sorted(np.random.default_rng(SEED).permutation(count)[:wanted].tolist())


def search_clips(form: ClipFormat, music: MusicChoice) -> list[Clip]:
    """Clips with true stems to search a recipe on, none of them of the split that `music` verifies on.

    Remixes of the default clip, other ones than those of the calibration set, and, where `music` names a folder,
    excerpts of the tracks that training validates on. Raises ConfigError when these are to be verified on, AudioError
    when they cannot be read.
    """
    clips = list(_remixes(default_clip(form), SEARCH_SEED, SEARCH_REMIXES))
    if music.songs is not None or music.musdb is not None:
        split = "validation" if music.songs is not None else "train"
        if music.split == split:
            raise ConfigError(f"the search listens to the split '{split}', so verify on another, such as 'test'")
        try:
            found = find_music(form, replace(music, split=split, tracks=None, excerpt=SECONDS)).tracks
        except AudioError as error:
            raise AudioError(f"the search listens to the split '{split}' of the music: {error}") from error
        names = list(found) if music.songs is not None else [list(found)[index] for index in _some(len(found))]
        clips += [found[name]() for name in names]
    return clips


def _from_default_clip(form: ClipFormat, parts: int) -> Iterator[Clip]:
    clip = default_clip(MusdbFormat(form.sample_rate, form.channels))
    for each in (clip, *_remixes(clip, SEED, parts - 1)):
        yield replace(each, stems=None)


def _remixes(clip: Clip, seed: int, count: int) -> Iterator[Clip]:
    """The same song with its stems at other levels."""
    assert clip.stems is not None, "the default clip has stems"
    generator = np.random.default_rng(seed)
    for index in range(count):
        gains = 10.0 ** (generator.uniform(*REMIX_GAINS_DB, size=len(clip.stems)) / 20.0)
        stems = (gains[:, None, None] * clip.stems).astype(np.float32)
        yield replace(clip, name=f"{clip.name} (remix {index + 1})", mix=stems.sum(axis=0), stems=stems)
