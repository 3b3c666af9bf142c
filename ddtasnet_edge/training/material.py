"""Training music, decoded once to 16-bit arrays on disk, so that a step never waits for a decoder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge import console, files
from ddtasnet_edge.audio_read import open_audio
from ddtasnet_edge.clips import Clip, ClipFormat, musdb_clips, musdb_places
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.song_folder import SUFFIXES, read_song, song_folders
from ddtasnet_edge.spec import FloatArray

PCM = 32767.0
SKIPPED_NAMES = 5
# What a digest hears of each track: so many passages of so many samples.
PASSAGES, PASSAGE = 16, 256

# The fourteen tracks that the authors of MUSDB18 suggest to validate on.
MUSDB_VALIDATION = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)


@dataclass(frozen=True)
class Track:
    """One piece of music that can be read. files: what it is read from, to know it again."""

    name: str
    read: Callable[[], Clip]
    files: tuple[Path, ...] = ()

    @property
    def kept_as(self) -> str:
        """File name of the decoded samples: another for files of another place, size or time."""
        facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in self.files]
        return f"{self.name}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.npy"


@dataclass(frozen=True, eq=False)
class Material:
    """Stems of many tracks, each int16 [sources, channels, n], on disk and read where they are needed."""

    names: tuple[str, ...]
    tracks: tuple[NDArray[np.int16], ...]
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Length of all tracks together."""
        return float(sum(track.shape[-1] for track in self.tracks)) / self.sample_rate

    def digest(self) -> str:
        """Hash of the names, the lengths and passages of every track: another for other music."""
        digest = hashlib.sha256()
        for name, track in zip(self.names, self.tracks, strict=True):
            digest.update(json.dumps([name, *track.shape]).encode())
            for start in np.linspace(0, max(track.shape[-1] - PASSAGE, 0), PASSAGES).astype(int):
                digest.update(np.ascontiguousarray(track[..., start : start + PASSAGE]).data)
        return digest.hexdigest()

    def read(self, track: int, source: int, start: int, length: int) -> FloatArray:
        """Samples [channels, length] of one stem from `start`; zeros beyond its end."""
        part = self.tracks[track][source, :, start : start + length]
        out = np.zeros((part.shape[0], length), dtype=np.float32)
        np.multiply(part, np.float32(1.0 / PCM), out=out[:, : part.shape[1]])
        return out


def song_tracks(folder: Path, split: str, form: ClipFormat) -> list[Track]:
    """The songs of a split. Raises AudioError when there are none."""
    return [
        Track(path.name, partial(read_song, path, form), _files_of(path, SUFFIXES))
        for path in song_folders(folder, split)
    ]


def musdb_split(root: Path, form: ClipFormat) -> tuple[list[Track], list[Track]]:
    """Training and validation tracks of MUSDB18: the usual fourteen, or every tenth where those are not there.

    Raises AudioError when there are not enough for both.
    """
    places = musdb_places(root, "train")
    if len(places) < 2:
        raise AudioError(f"{root} has {len(places)} training track, expected at least 2: one is held back to validate")
    held = set(places) & MUSDB_VALIDATION
    if not held or len(held) == len(places):
        held = set(list(places)[::10])
    tracks = [
        Track(name, partial(_read_musdb, root, form, name), _files_of(place, (".wav",)))
        for name, place in places.items()
    ]
    return [track for track in tracks if track.name not in held], [track for track in tracks if track.name in held]


def _files_of(place: Path, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """A file, or the audio files in a folder."""
    return (place,) if place.is_file() else tuple(sorted(path for path in place.iterdir() if path.suffix in suffixes))


def _read_musdb(root: Path, form: ClipFormat, name: str) -> Clip:
    return next(iter(musdb_clips(root, form, subset="train", tracks=[name])))


def gather(tracks: Sequence[Track], folder: Path, form: ClipFormat, quiet: bool = False) -> Material:
    """Decode every track once to `folder`; one that cannot be read is named, counted and left out.

    Tracks of another sample rate or in mono are converted, which is said. Raises AudioError when none can be read.
    """
    folder = folder / f"{form.sample_rate}-{form.channels}-{'-'.join(form.sources)}"
    names, arrays, skipped = [], [], []
    converted: Counter[str] = Counter()
    for track in console.progress(tracks, len(tracks), "decoding music", quiet):
        try:
            path = folder / track.kept_as
            samples = _kept(path)
            if samples is None:
                _write(path, _stems_of(track))
                samples = np.load(path, mmap_mode="r", allow_pickle=False)
                converted.update({note for file in track.files for note in _conversions(file, form)})
            arrays.append(samples)
            names.append(track.name)
        except AudioError as error:
            console.say(f"skipped {track.name}: {error}")
            skipped.append(track.name)
    if not names:
        raise AudioError(f"none of {len(tracks)} tracks can be read; see the lines above")
    if skipped:
        console.say(f"skipped {len(skipped)} of {len(tracks)} tracks: {', '.join(skipped[:SKIPPED_NAMES])}")
    for note, count in converted.items():
        console.say(f"{count} of {len(tracks)} tracks: {note}")
    return Material(tuple(names), tuple(arrays), form.sample_rate)


def _kept(path: Path) -> NDArray[np.int16] | None:
    """The samples decoded before; None when there are none, or what is left of them is damaged."""
    try:
        samples: NDArray[np.int16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return samples


def _conversions(path: Path, form: ClipFormat) -> tuple[str, ...]:
    return open_audio(path, form.sample_rate, form.channels).notes


def _stems_of(track: Track) -> FloatArray:
    stems = track.read().stems
    assert stems is not None, "read_song and musdb_clips were asked for stems"
    return stems


def _write(path: Path, stems: FloatArray) -> None:
    files.make_folder(path.parent)
    with files.writing_file(path) as temporary:
        np.save(temporary, np.rint(np.clip(stems, -1.0, 1.0) * PCM).astype(np.int16), allow_pickle=False)
