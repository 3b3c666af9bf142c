"""Reading songs from disk.

    FOLDER/train/train-00000/drums.flac  bass.flac  other.flac  vocals.flac  song.json

There is no mixture file: it is the sum of the stems, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

SONG_NOTE = "synthetic song of ddtasnet-songs: FluidR3 GM sound font (MIT), espeak-ng voices"
INFO = "song.json"
SAMPLE_RATE = 44100


@dataclass(frozen=True)
class SongInfo:
    """What song.json holds. tempo in quarter notes per minute; sections as (kind, first bar, stems that play)."""

    generator: int
    name: str
    seed: int
    seconds: float
    sample_rate: int
    key: str
    meter: str
    tempo: float
    swing: float
    sections: tuple[tuple[str, int, tuple[str, ...]], ...]


def song_clips(folder: Path, split: str) -> Iterator[Clip]:
    """The songs of a split by name, one in memory at a time. Raises AudioError at once when there are none."""
    return (read_song(path) for path in song_folders(folder, split))


def song_folders(folder: Path, split: str) -> list[Path]:
    """Where the songs of a split lie, by name. Raises AudioError when there are none."""
    found = sorted(path.parent for path in (folder / split).glob(f"*/{INFO}"))
    if not found:
        raise AudioError(f"no songs in {folder / split}; make some: ddtasnet-songs --out {folder} --split {split}")
    return found


def read_song(path: Path) -> Clip:
    """One song: its stems and, as the mix, their sum. Raises AudioError when a stem is missing or damaged."""
    import soundfile

    stems: list[FloatArray] = []
    for source in MUSDB_SOURCES:
        place = path / f"{source}.flac"
        try:
            samples, rate = soundfile.read(place, dtype="float32", always_2d=True)
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioError(f"cannot read {place}; delete {path} and run ddtasnet-songs again") from error
        if rate != SAMPLE_RATE or samples.shape[1] != 2 or (stems and samples.T.shape != stems[0].shape):
            raise AudioError(
                f"{place} has {samples.shape[0]} samples in {samples.shape[1]} channels at {rate} Hz, unlike the "
                f"other stems; delete {path} and run ddtasnet-songs again"
            )
        stems.append(np.ascontiguousarray(samples.T))
    joined = np.stack(stems)
    return Clip(path.name, joined.sum(axis=0), joined, SAMPLE_RATE, SONG_NOTE)


def read_info(path: Path) -> SongInfo:
    """The facts of a song. Raises AudioError when song.json is missing or is not one."""
    try:
        values = json.loads((path / INFO).read_text(encoding="utf-8"))
        sections = tuple((kind, bar, tuple(stems)) for kind, bar, stems in values.pop("sections"))
        return SongInfo(**values, sections=sections)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AudioError(f"{path / INFO} does not describe a song; delete {path} and run again") from error
