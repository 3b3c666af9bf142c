"""Where music with known stems comes from: the default clip, MUSDB18, or a folder of songs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import numpy as np

from ddtasnet_edge.audio_read import open_audio, read_audio
from ddtasnet_edge.config import MUSDB_SOURCES, nearest
from ddtasnet_edge.errors import AudioError, ConfigError, MissingDependencyError
from ddtasnet_edge.spec import FloatArray

DEFAULT_TRACK = "The Easton Ellises - Falcon 69"
DEFAULT_NOTE = "MUSDB18 excerpt shipped with stempeg, CC BY-NC-SA, The Easton Ellises"
MUSDB_NOTE = "MUSDB18, non-commercial research use, licence of each track in its documentation"
USER_NOTE = "audio supplied by the user"

SUBSETS = ("train", "test")
SONG_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".mp4")
STEM_SUFFIX = ".stem.mp4"
MIXTURE = "mixture"
# Order of the audio streams in a .stem.mp4 of MUSDB18.
_STREAMS = (MIXTURE, *MUSDB_SOURCES)


@dataclass(frozen=True, eq=False)
class Clip:
    """A piece of music: mix float32 [channels, n], its true stems float32 [sources, channels, n] if known.

    note says where it comes from and under which licence.
    """

    name: str
    mix: FloatArray
    stems: FloatArray | None
    sample_rate: int
    note: str


class ClipFormat(Protocol):
    """What clips are made to fit; a StreamSpec and a model configuration both serve."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def sources(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class MusdbFormat:
    """MUSDB18 as it was recorded."""

    sample_rate: int = 44100
    channels: int = 2
    sources: tuple[str, ...] = MUSDB_SOURCES


AS_RECORDED = MusdbFormat()


def default_clip(form: ClipFormat = AS_RECORDED, *, with_stems: bool = True) -> Clip:
    """Six seconds of real MUSDB18 music, at hand without a download.

    Raises MissingDependencyError without stempeg, ConfigError when a source of the model is not in MUSDB18.
    """
    if with_stems:
        check_sources(form)
    return _MusdbTrack(DEFAULT_TRACK, find_default_clip(), DEFAULT_NOTE).read(form, None, with_stems)


def find_default_clip() -> Path:
    """Where the default clip lies. Raises MissingDependencyError without stempeg."""
    # Importing stempeg needs an ffmpeg program on the path; its data needs none.
    package = importlib.util.find_spec("stempeg")
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in folders:
        path = Path(folder, "data", DEFAULT_TRACK + STEM_SUFFIX)
        if path.is_file():
            return path
    raise MissingDependencyError("the default clip comes with stempeg: pip install 'ddtasnet-edge[eval]'")


def musdb_clips(
    root: Path | str,
    form: ClipFormat = AS_RECORDED,
    *,
    subset: str = "test",
    tracks: Sequence[str] | None = None,
    excerpt: float | None = None,
    with_stems: bool = True,
) -> Iterator[Clip]:
    """Clips of a MUSDB18 (`.stem.mp4`) or MUSDB18-HQ (`.wav`) folder, one in memory at a time.

    tracks: names, None for all; excerpt: seconds from the centre of each track, None for all of it. Raises
    ConfigError or AudioError at once for a wrong folder, subset, track or source, and later for damaged files.
    """
    check_excerpt(excerpt)
    if with_stems:
        check_sources(form)
    known = _find_tracks(Path(root), subset)
    chosen = choose_tracks(tuple(known), tracks, Path(root, subset))
    return (known[name].read(form, excerpt, with_stems) for name in chosen)


def musdb_tracks(root: Path | str, subset: str = "test") -> tuple[str, ...]:
    """Names of the tracks of a MUSDB18 folder. Raises as `musdb_clips` for a wrong folder or subset."""
    return tuple(_find_tracks(Path(root), subset))


def musdb_places(root: Path | str, subset: str) -> dict[str, Path]:
    """File or folder of every track of a MUSDB18 folder, by name. Raises as `musdb_clips`."""
    return {name: track.place for name, track in _find_tracks(Path(root), subset).items()}


def choose_tracks(known: Sequence[str], wanted: Sequence[str] | None, place: Path | str) -> tuple[str, ...]:
    """The wanted of the known names, None for all. Raises AudioError with the nearest name for one not there."""
    chosen = tuple(known) if wanted is None else tuple(wanted)
    for name in chosen:
        if name not in known:
            closest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise AudioError(f"no track '{name}' among {len(known)} in {place}; did you mean '{closest}'?")
    return chosen


def folder_clips(
    folder: Path | str,
    form: ClipFormat = AS_RECORDED,
    *,
    excerpt: float | None = None,
    choose: Callable[[int], Iterable[int]] = range,
) -> Iterator[Clip]:
    """Mixes without stems: the songs directly in a folder by name, or the training set of a MUSDB18 folder.

    excerpt: seconds from the centre of each song, None for all of it. choose: number of songs -> indices of those
    to read. Raises AudioError at once when there is nothing to read, and later for damaged files.
    """
    folder = Path(folder)
    if any((folder / subset).is_dir() for subset in SUBSETS):
        tracks = list(_find_tracks(folder, "train"))
        chosen = [tracks[index] for index in choose(len(tracks))]
        return musdb_clips(folder, form, subset="train", tracks=chosen, excerpt=excerpt, with_stems=False)
    check_excerpt(excerpt)
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise AudioError(
            f"cannot read folder {folder}: {error.strerror}; give a folder of songs or a MUSDB18 root"
        ) from error
    songs = [name for name in names if name.lower().endswith(SONG_SUFFIXES)]
    if not songs:
        found = ", ".join(names[:5]) or "nothing"
        raise AudioError(f"no audio in {folder}, found {found}; expected {', '.join(SONG_SUFFIXES)} files")
    chosen = [songs[index] for index in choose(len(songs))]
    return (Clip(name, _read(folder / name, 0, form, excerpt), None, form.sample_rate, USER_NOTE) for name in chosen)


def hash_clips(clips: Iterable[Clip]) -> str:
    """SHA-256 over the names, rates, shapes and samples of clips, in their order."""
    digest = hashlib.sha256()
    for clip in clips:
        arrays = [array for array in (clip.mix, clip.stems) if array is not None]
        header = [clip.name, clip.sample_rate, [array.shape for array in arrays]]
        digest.update(json.dumps(header).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _MusdbTrack:
    """One track: a `.stem.mp4` file, or a folder with a wav for the mixture and each source."""

    name: str
    place: Path
    note: str = MUSDB_NOTE

    def read(self, form: ClipFormat, excerpt: float | None, with_stems: bool) -> Clip:
        mix = self._read_part(MIXTURE, form, excerpt)
        stems = self._read_stems(mix.shape[1], form, excerpt) if with_stems else None
        return Clip(self.name, mix, stems, form.sample_rate, self.note)

    def _read_stems(self, length: int, form: ClipFormat, excerpt: float | None) -> FloatArray:
        stems = np.empty((len(form.sources), form.channels, length), dtype=np.float32)
        for source, stem in zip(form.sources, stems, strict=True):
            samples = self._read_part(source, form, excerpt)
            if samples.shape != stem.shape:
                raise AudioError(
                    f"{self.place}: {source} has {samples.shape[1]} samples, {MIXTURE} has {length}; copy it again"
                )
            stem[:] = samples
        return stems

    def _read_part(self, part: str, form: ClipFormat, excerpt: float | None) -> FloatArray:
        if self.place.is_file():
            return _read(self.place, _STREAMS.index(part), form, excerpt)
        path = self.place / f"{part}.wav"
        if not path.is_file():
            raise AudioError(f"track '{self.name}' has no {path.name} in {self.place}; copy the track again")
        return _read(path, 0, form, excerpt)


def _find_tracks(root: Path, subset: str) -> dict[str, _MusdbTrack]:
    if subset not in SUBSETS:
        raise ConfigError(f"unknown subset '{subset}': {nearest(subset, SUBSETS)}")
    folder = root / subset
    if not folder.is_dir():
        raise AudioError(f"no folder {folder}; a MUSDB18 root holds {' and '.join(SUBSETS)}")
    files = {path.name.removesuffix(STEM_SUFFIX): path for path in folder.glob(f"*{STEM_SUFFIX}")}
    folders = {path.parent.name: path.parent for path in folder.glob(f"*/{MIXTURE}.wav")}
    if not files and not folders:
        raise AudioError(f"{folder} holds no tracks; expected NAME{STEM_SUFFIX} files or NAME/{MIXTURE}.wav")
    return {name: _MusdbTrack(name, place) for name, place in sorted((files | folders).items())}


def _read(path: Path, stream: int, form: ClipFormat, excerpt: float | None) -> FloatArray:
    """All of an audio stream, or `excerpt` seconds around the centre that its declared duration gives."""
    start = 0.0
    if excerpt is not None:
        duration = open_audio(path, form.sample_rate, form.channels, stream).track.duration or 0.0
        start = max(0.0, (duration - excerpt) / 2)
    return read_audio(path, form.sample_rate, form.channels, stream=stream, start=start, seconds=excerpt)


def check_excerpt(excerpt: float | None) -> None:
    """Raise ConfigError unless an excerpt is None or a positive number of seconds."""
    if excerpt is not None and not 0.0 < excerpt < math.inf:
        raise ConfigError(f"excerpt is {excerpt} s: expected more than 0, and finite")


def check_sources(form: ClipFormat) -> None:
    """Raise ConfigError when a source of `form` is none of MUSDB18's."""
    for source in form.sources:
        if source not in MUSDB_SOURCES:
            raise ConfigError(f"MUSDB18 has no stem '{source}': {nearest(source, MUSDB_SOURCES)}")
