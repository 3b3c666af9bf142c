"""Folders of songs with known stems, as `ddtasnet-songs` makes them and as anybody can lay out their own.

    FOLDER/test/any-name/drums.flac  bass.flac  other.flac  vocals.flac        (or .wav)

There is no mixture file: it is the sum of the stems.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddtasnet_edge.audio_read import read_audio
from ddtasnet_edge.clips import AS_RECORDED, Clip, ClipFormat, check_sources
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

SONG_NOTE = (
    "songs with known stems, made by ddtasnet-songs (FluidR3 GM sound font, MIT; espeak-ng voices) or the user's"
)
SUFFIXES = (".flac", ".wav")


def song_folders(folder: Path, split: str) -> list[Path]:
    """Where the songs of a split lie, by name. Raises AudioError when there are none."""
    home = folder / split
    found = sorted(path for path in home.iterdir() if path.is_dir() and path.name[0] != ".") if home.is_dir() else []
    if not found:
        raise AudioError(
            f"no songs in {home}; make some: ddtasnet-songs --out {folder} --split {split} --count 20 --seconds 16"
        )
    return found


def read_song(path: Path, form: ClipFormat = AS_RECORDED, *, with_stems: bool = True) -> Clip:
    """One song in the sample rate, channels and sources of `form`; the mix is the sum of all its stems.

    Raises AudioError when a stem is missing, damaged or of another length, ConfigError for an unknown source.
    """
    if with_stems:
        check_sources(form)
    stems = {source: _read_stem(path, source, form) for source in MUSDB_SOURCES}
    lengths = {source: stem.shape[1] for source, stem in stems.items()}
    if len(set(lengths.values())) > 1:
        raise AudioError(f"{path} has stems of {lengths} samples, expected one length; make or copy it again")
    mix: FloatArray = np.stack(list(stems.values())).sum(axis=0)
    chosen = np.stack([stems[source] for source in form.sources]) if with_stems else None
    return Clip(path.name, mix, chosen, form.sample_rate, SONG_NOTE)


def _read_stem(folder: Path, source: str, form: ClipFormat) -> FloatArray:
    for suffix in SUFFIXES:
        path = folder / f"{source}{suffix}"
        if path.is_file():
            return read_audio(path, form.sample_rate, form.channels)
    raise AudioError(f"{folder} has no {source}{SUFFIXES[0]}; make or copy the song again")
