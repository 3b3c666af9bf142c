"""Small folders of songs for the tests of training: stems that differ enough to be told apart at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.info import INFO, SAMPLE_RATE, SongInfo

SECONDS = 1.0


def stems(seed: int, seconds: float = SECONDS) -> FloatArray:
    """Four stems [sources, channels, n]: a click train, a low tone, a middle chord, a high tone."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    clicks = 0.5 * rng.standard_normal(time.size) * (np.sin(2 * np.pi * 5 * time) > 0.95)
    low = 0.2 * np.sin(2 * np.pi * rng.uniform(60, 120) * time)
    chord = sum(0.05 * np.sin(2 * np.pi * frequency * time) for frequency in rng.uniform(400, 900, 3))
    high = 0.1 * np.sin(2 * np.pi * rng.uniform(3000, 5000) * time)
    mono = np.stack([clicks, low, chord, high])
    return np.clip(np.stack([mono, 0.7 * mono], axis=1), -0.9, 0.9).astype(np.float32)


def write_song(folder: Path, seed: int, seconds: float = SECONDS) -> Path:
    """One song as ddtasnet-songs lays it out."""
    folder.mkdir(parents=True)
    for source, stem in zip(MUSDB_SOURCES, stems(seed, seconds), strict=True):
        soundfile.write(folder / f"{source}.flac", stem.T, SAMPLE_RATE, subtype="PCM_16")
    info = SongInfo(1, folder.name, seed, seconds, SAMPLE_RATE, "C major", "4/4", 120.0, 0.0, ())
    (folder / INFO).write_text(json.dumps(asdict(info)))
    return folder


def write_songs(root: Path, train: int = 3, validation: int = 1) -> Path:
    """A folder with both splits."""
    for index in range(train):
        write_song(root / "train" / f"train-{index:05d}", index)
    for index in range(validation):
        write_song(root / "validation" / f"validation-{index:05d}", 100 + index)
    return root
