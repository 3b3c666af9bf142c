"""What a benchmark feeds: a named song, else the real clip where it is installed, else noise; the report says which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddtasnet_edge.audio_read import open_audio, read_audio
from ddtasnet_edge.clips import AS_RECORDED, USER_NOTE, ClipFormat, default_clip
from ddtasnet_edge.errors import AudioError, MissingDependencyError
from ddtasnet_edge.spec import FloatArray, StreamSpec

NOISE_SECONDS = 6
# -20 dB below full scale: about the level of mastered music between its peaks.
NOISE_RMS = 0.1
# Of a song, around its centre: all of it is in memory while hops are timed, and would count as memory of the bundle.
SONG_SECONDS = 10.0
# What is shorter is a sound, and hardly the song that was meant.
LEAST_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Music:
    """samples: float32 [channels, n]; description: for the report."""

    samples: FloatArray
    description: str


@dataclass(frozen=True, eq=False)
class Sound:
    """hops: consecutive hops, float32 [n, channels, hop]; description: for the report."""

    hops: FloatArray
    description: str


def load_sound(spec: StreamSpec, count: int, song: Path | None = None) -> Sound:
    """Up to `count` hops of a song, without one of the default clip, or of noise on a device that lacks that clip.

    Raises as `load_music` for a song.
    """
    try:
        music = load_music(spec, song)
    except MissingDependencyError:
        if song is not None:
            raise
        music = Music(_noise(spec), "noise, because the real clip (stempeg, PyAV) is not installed; --song feeds music")
    return Sound(_cut(music.samples, spec, count), music.description)


def load_music(form: ClipFormat = AS_RECORDED, song: Path | None = None) -> Music:
    """What is around the centre of a song, or all of the default clip, in the sample rate and channels of a model.

    Raises AudioError for a song that cannot be read or is too short, MissingDependencyError for one that needs PyAV
    where that is not installed, and without stempeg for the default clip.
    """
    if song is None:
        clip = default_clip(form, with_stems=False)
        return Music(clip.mix, f"{clip.name} ({clip.note})")
    duration = open_audio(song, form.sample_rate, form.channels).track.duration or 0.0
    start = max(0.0, (duration - SONG_SECONDS) / 2)
    samples = read_audio(song, form.sample_rate, form.channels, start=start, seconds=SONG_SECONDS)
    seconds = samples.shape[1] / form.sample_rate
    if seconds < LEAST_SECONDS:
        raise AudioError(f"{song} has {seconds:.2f} s, expected at least {LEAST_SECONDS:g} s; give a longer song")
    return Music(samples, f"{seconds:.1f} s of {song.name} ({USER_NOTE})")


def _noise(spec: StreamSpec) -> FloatArray:
    shape = (spec.channels, NOISE_SECONDS * spec.sample_rate)
    return np.random.default_rng(0).normal(0.0, NOISE_RMS, shape).clip(-1.0, 1.0).astype(np.float32)


def _cut(samples: FloatArray, spec: StreamSpec, count: int) -> FloatArray:
    """[channels, n] to at most `count` whole hops [hops, channels, hop]."""
    hops = min(count, samples.shape[1] // spec.hop_length)
    whole = samples[:, : hops * spec.hop_length].reshape(spec.channels, hops, spec.hop_length)
    return np.ascontiguousarray(whole.transpose(1, 0, 2))
