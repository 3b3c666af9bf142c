"""The music that a model is verified or evaluated on: MUSDB18, a folder of songs, or the default clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ddtasnet_edge.clips import (
    DEFAULT_NOTE,
    DEFAULT_TRACK,
    MUSDB_NOTE,
    Clip,
    ClipFormat,
    check_excerpt,
    choose_tracks,
    default_clip,
    find_default_clip,
    musdb_clips,
    musdb_tracks,
)
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.song_folder import SONG_NOTE, read_song, song_folders


@dataclass(frozen=True)
class MusicChoice:
    """Which music. musdb or songs: a folder, at most one of them (neither: the default clip), and its split.

    tracks: names, None for all; excerpt: seconds from the centre of each track, None for all of it. Raises
    ConfigError when both folders are given.
    """

    musdb: Path | None = None
    songs: Path | None = None
    split: str = "test"
    tracks: Sequence[str] | None = None
    excerpt: float | None = None

    def __post_init__(self) -> None:
        if self.musdb is not None and self.songs is not None:
            raise ConfigError("both --musdb and --songs are given, expected one of them; leave one out")


@dataclass(frozen=True, eq=False)
class Music:
    """Tracks by name, each read when it is called; reading may raise AudioError. note: origin and licence."""

    note: str
    split: str
    tracks: Mapping[str, Callable[[], Clip]]


def has_stems(form: ClipFormat) -> bool:
    """Whether the true stems of all sources of a model are known; all music here has those of MUSDB18."""
    return set(form.sources) <= set(MUSDB_SOURCES)


def find_music(form: ClipFormat, choice: MusicChoice, *, with_stems: bool = True) -> Music:
    """The tracks of a choice, as the model wants them: its sample rate, channels and sources.

    with_stems: False for clips whose stems are None, which fit a model of any sources. Raises ConfigError for an
    impossible choice or, with stems, a model whose sources the music lacks, AudioError when nothing is found or a
    track is not there, MissingDependencyError without the default clip.
    """
    check_excerpt(choice.excerpt)
    if with_stems:
        _check_sources(form)
    if choice.musdb is not None:
        return _musdb(form, choice, choice.musdb, with_stems)
    if choice.songs is not None:
        return _songs(form, choice, choice.songs, with_stems)
    return _default(form, choice, with_stems)


def _check_sources(form: ClipFormat) -> None:
    unknown = [source for source in form.sources if source not in MUSDB_SOURCES]
    if unknown:
        raise ConfigError(
            f"the model separates '{unknown[0]}', the music has {', '.join(MUSDB_SOURCES)}; "
            "evaluate a model with those sources"
        )


def _musdb(form: ClipFormat, choice: MusicChoice, root: Path, with_stems: bool) -> Music:
    names = choose_tracks(musdb_tracks(root, choice.split), choice.tracks, root / choice.split)

    def read(name: str) -> Clip:
        one = musdb_clips(root, form, subset=choice.split, tracks=[name], excerpt=choice.excerpt, with_stems=with_stems)
        return next(one)

    return Music(MUSDB_NOTE, choice.split, {name: partial(read, name) for name in names})


def _songs(form: ClipFormat, choice: MusicChoice, folder: Path, with_stems: bool) -> Music:
    paths = {path.name: path for path in song_folders(folder, choice.split)}
    names = choose_tracks(tuple(paths), choice.tracks, folder / choice.split)

    def read(name: str) -> Clip:
        return _cut(read_song(paths[name], form, with_stems=with_stems), choice.excerpt)

    return Music(SONG_NOTE, choice.split, {name: partial(read, name) for name in names})


def _default(form: ClipFormat, choice: MusicChoice, with_stems: bool) -> Music:
    names = choose_tracks((DEFAULT_TRACK,), choice.tracks, "the default clip")
    find_default_clip()  # Like any music that is not there, it is missed now and not when it is read.

    def read() -> Clip:
        return _cut(default_clip(form, with_stems=with_stems), choice.excerpt)

    return Music(DEFAULT_NOTE, "test", dict.fromkeys(names, read))


def _cut(clip: Clip, excerpt: float | None) -> Clip:
    """`excerpt` seconds around the centre of a clip, or all of it."""
    if excerpt is None:
        return clip
    length = clip.mix.shape[1]
    wanted = min(length, max(1, round(excerpt * clip.sample_rate)))
    middle = slice((length - wanted) // 2, (length - wanted) // 2 + wanted)
    return replace(clip, mix=clip.mix[:, middle], stems=None if clip.stems is None else clip.stems[..., middle])
