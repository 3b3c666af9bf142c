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

from ddtasnet_edge.audio_read import read_audio
from ddtasnet_edge.clips import AS_RECORDED, Clip, ClipFormat, check_sources
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


def song_clips(folder: Path, split: str, form: ClipFormat = AS_RECORDED, *, with_stems: bool = True) -> Iterator[Clip]:
    """The songs of a split by name, one in memory at a time. Raises AudioError at once when there are none."""
    return (read_song(path, form, with_stems=with_stems) for path in song_folders(folder, split))


def song_folders(folder: Path, split: str) -> list[Path]:
    """Where the songs of a split lie, by name. Raises AudioError when there are none."""
    found = sorted(path.parent for path in (folder / split).glob(f"*/{INFO}"))
    if not found:
        raise AudioError(f"no songs in {folder / split}; make some: ddtasnet-songs --out {folder} --split {split}")
    return found


def read_song(path: Path, form: ClipFormat = AS_RECORDED, *, with_stems: bool = True) -> Clip:
    """One song in the sample rate, channels and sources of `form`; the mix is the sum of all its stems.

    Raises AudioError when a stem is missing, damaged or as long as no other, ConfigError for an unknown source.
    """
    stems: dict[str, FloatArray] = {}
    for source in MUSDB_SOURCES:
        place = path / f"{source}.flac"
        stems[source] = read_audio(place, form.sample_rate, form.channels)
        length, expected = stems[source].shape[1], stems[MUSDB_SOURCES[0]].shape[1]
        if length != expected:
            raise AudioError(
                f"{place} has {length} samples, {MUSDB_SOURCES[0]} has {expected}; delete {path} and make it again"
            )
    mix = np.sum(list(stems.values()), axis=0, dtype=np.float32)
    if not with_stems:
        return Clip(path.name, mix, None, form.sample_rate, SONG_NOTE)
    check_sources(form)
    return Clip(path.name, mix, np.stack([stems[source] for source in form.sources]), form.sample_rate, SONG_NOTE)


def read_info(path: Path) -> SongInfo:
    """The facts of a song. Raises AudioError when song.json is missing or is not one."""
    try:
        values = json.loads((path / INFO).read_text(encoding="utf-8"))
        sections = tuple((kind, bar, tuple(stems)) for kind, bar, stems in values.pop("sections"))
        return SongInfo(**values, sections=sections)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AudioError(f"{path / INFO} does not describe a song; delete {path} and run again") from error
