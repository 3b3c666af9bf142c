"""The music that a model is evaluated on: MUSDB18, a folder of songs, or the real clip that needs no download."""

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
    musdb_clips,
    musdb_tracks,
)
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.song_folder import SONG_NOTE, read_song, song_folders


@dataclass(frozen=True)
class Choice:
    """Which music. musdb or songs: a folder, at most one of them; excerpt: seconds from the centre of each track."""

    musdb: Path | None = None
    songs: Path | None = None
    split: str = "test"
    tracks: Sequence[str] | None = None
    excerpt: float | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """Tracks by name, each read when it is called; reading may raise AudioError. note: origin and licence."""

    note: str
    split: str
    tracks: Mapping[str, Callable[[], Clip]]


def find_material(form: ClipFormat, choice: Choice) -> Material:
    """The tracks of a choice, as the model wants them: its sample rate, channels and sources.

    Raises ConfigError for a model whose sources the music lacks or an impossible choice, AudioError when nothing
    is found or a track is not there.
    """
    _check(form, choice)
    if choice.musdb is not None:
        return _musdb(form, choice, choice.musdb)
    if choice.songs is not None:
        return _songs(form, choice, choice.songs)
    names = choose_tracks((DEFAULT_TRACK,), choice.tracks, "the default clip")
    read = partial(_cut, partial(default_clip, form), choice.excerpt)
    return Material(DEFAULT_NOTE, "test", dict.fromkeys(names, read))


def _check(form: ClipFormat, choice: Choice) -> None:
    check_excerpt(choice.excerpt)
    if choice.musdb is not None and choice.songs is not None:
        raise ConfigError("both --musdb and --songs are given, expected one of them; leave one out")
    unknown = [source for source in form.sources if source not in MUSDB_SOURCES]
    if unknown:
        raise ConfigError(
            f"the model separates '{unknown[0]}', the music has {', '.join(MUSDB_SOURCES)}; "
            "evaluate a model with those sources"
        )


def _musdb(form: ClipFormat, choice: Choice, root: Path) -> Material:
    names = choose_tracks(musdb_tracks(root, choice.split), choice.tracks, root / choice.split)

    def read(name: str) -> Clip:
        return next(musdb_clips(root, form, subset=choice.split, tracks=[name], excerpt=choice.excerpt))

    return Material(MUSDB_NOTE, choice.split, {name: partial(read, name) for name in names})


def _songs(form: ClipFormat, choice: Choice, folder: Path) -> Material:
    paths = {path.name: path for path in song_folders(folder, choice.split)}
    names = choose_tracks(tuple(paths), choice.tracks, folder / choice.split)
    reads = {name: partial(_cut, partial(read_song, paths[name], form), choice.excerpt) for name in names}
    return Material(SONG_NOTE, choice.split, reads)


def _cut(read: Callable[[], Clip], excerpt: float | None) -> Clip:
    """The clip that `read` returns, or `excerpt` seconds around its centre."""
    clip = read()
    if excerpt is None or clip.stems is None:
        return clip
    length = clip.mix.shape[1]
    wanted = min(length, max(1, round(excerpt * clip.sample_rate)))
    middle = slice((length - wanted) // 2, (length - wanted) // 2 + wanted)
    return replace(clip, mix=clip.mix[:, middle], stems=clip.stems[..., middle])
