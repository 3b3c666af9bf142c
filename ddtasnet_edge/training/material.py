"""Training music, decoded once to 16-bit arrays on disk, so that a step never waits for a decoder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge import console
from ddtasnet_edge.clips import Clip, ClipFormat, musdb_clips, musdb_tracks
from ddtasnet_edge.errors import AudioError, EdgeError
from ddtasnet_edge.song_folder import read_song, song_folders
from ddtasnet_edge.spec import FloatArray

PCM = 32767.0
REFERENCE_RATE = 44100
SKIPPED_NAMES = 5

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
    """One piece of music that can be read."""

    name: str
    read: Callable[[], Clip]


@dataclass(frozen=True, eq=False)
class Material:
    """Stems of many tracks, each int16 [sources, channels, n], on disk and read where they are needed."""

    names: tuple[str, ...]
    tracks: tuple[NDArray[np.int16], ...]

    @property
    def seconds(self) -> float:
        """Length of all tracks together at 44.1 kHz."""
        return float(sum(track.shape[-1] for track in self.tracks)) / REFERENCE_RATE

    def digest(self) -> str:
        """Hash of the names and lengths: two runs on equal digests see the same music."""
        facts = [[name, *track.shape] for name, track in zip(self.names, self.tracks, strict=True)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def read(self, track: int, source: int, start: int, length: int) -> FloatArray:
        """Samples [channels, length] of one stem from `start`; zeros beyond its end."""
        part = self.tracks[track][source, :, start : start + length]
        out = np.zeros((part.shape[0], length), dtype=np.float32)
        np.multiply(part, np.float32(1.0 / PCM), out=out[:, : part.shape[1]])
        return out


def song_tracks(folder: Path, split: str, form: ClipFormat) -> list[Track]:
    """The songs of a split. Raises AudioError when there are none."""
    return [Track(path.name, partial(read_song, path, form)) for path in song_folders(folder, split)]


def musdb_split(root: Path, form: ClipFormat) -> tuple[list[Track], list[Track]]:
    """Training and validation tracks of MUSDB18: the usual fourteen, or every tenth where those are not there."""
    names = musdb_tracks(root, "train")
    held = [name for name in names if name in MUSDB_VALIDATION] or list(names[::10])

    tracks = [Track(name, partial(_read_musdb, root, form, name)) for name in names]
    return [track for track in tracks if track.name not in held], [track for track in tracks if track.name in held]


def _read_musdb(root: Path, form: ClipFormat, name: str) -> Clip:
    return next(iter(musdb_clips(root, form, subset="train", tracks=[name])))


def gather(tracks: Sequence[Track], folder: Path, form: ClipFormat, quiet: bool = False) -> Material:
    """Decode every track once to `folder`; one that cannot be read is named, counted and left out.

    Raises AudioError when none can be read.
    """
    folder = folder / f"{form.sample_rate}-{form.channels}-{'-'.join(form.sources)}"
    names, arrays, skipped = [], [], []
    for track in console.progress(tracks, len(tracks), "decoding music", quiet):
        path = folder / f"{track.name}.npy"
        try:
            if not path.is_file():
                _write(path, _stems_of(track, form))
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
            names.append(track.name)
        except AudioError as error:
            console.say(f"skipped {track.name}: {error}")
            skipped.append(track.name)
    if not names:
        raise AudioError(f"none of {len(tracks)} tracks can be read; see the lines above")
    if skipped:
        console.say(f"skipped {len(skipped)} of {len(tracks)} tracks: {', '.join(skipped[:SKIPPED_NAMES])}")
    return Material(tuple(names), tuple(arrays))


def _stems_of(track: Track, form: ClipFormat) -> FloatArray:
    clip = track.read()
    if clip.stems is None or clip.stems.shape[0] != len(form.sources) or clip.stems.shape[1] != form.channels:
        found = "no stems" if clip.stems is None else f"stems of shape {list(clip.stems.shape[:2])}"
        raise AudioError(f"{found}, expected {len(form.sources)} sources in {form.channels} channels")
    if clip.sample_rate != form.sample_rate:
        raise AudioError(f"{clip.sample_rate} Hz, the model expects {form.sample_rate} Hz; resample it")
    if not np.isfinite(clip.stems).all():
        raise AudioError("the samples hold NaN or infinity; export the track again")
    return clip.stems


def _write(path: Path, stems: FloatArray) -> None:
    """Whole or not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".decoding.", dir=path.parent) as folder:
            temporary = Path(folder) / "stems.npy"
            np.save(temporary, np.rint(np.clip(stems, -1.0, 1.0) * PCM).astype(np.int16), allow_pickle=False)
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EdgeError(f"cannot write {path}: {reason}; free space or choose another --out") from error
