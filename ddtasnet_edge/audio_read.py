"""Audio files as a model wants them: its sample rate, its channels, one second at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddtasnet_edge.audio_decode import probe
from ddtasnet_edge.audio_track import AudioTrack
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray


@dataclass(frozen=True)
class AudioSource:
    """An audio track on its way into a model.

    Iterating reads it from its start: float32 [channels, n] at `sample_rate`, n = one second except in the last
    block, so memory does not grow with the song. Raises AudioError on damage, NaN and infinity. `track` holds
    the facts of the file: its own sample rate, channels and duration.
    """

    track: AudioTrack
    sample_rate: int
    channels: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What is changed on the way in, one sentence each."""
        notes = []
        if self.channels == 1 < self.track.channels:
            notes.append("stereo file: the model is mono, both channels are averaged")
        if self.track.channels == 1 < self.channels:
            notes.append(f"mono file: {'both' if self.channels == 2 else 'all'} channels carry the same signal")
        if self.track.sample_rate != self.sample_rate:
            notes.append(f"resampled from {self.track.sample_rate} Hz to {self.sample_rate} Hz")
        return tuple(notes)

    def __iter__(self) -> Iterator[FloatArray]:
        matched = (_match_channels(samples, self.channels) for samples in self.track)
        resampled = _resample(matched, self.track.sample_rate, self.sample_rate, self.channels)
        empty = True
        for block in _cut(resampled, self.sample_rate):
            empty = False
            yield block
        if empty:
            raise AudioError(f"{self.track.path} is shorter than one sample at {self.sample_rate} Hz; give more")


def open_audio(path: Path | str, sample_rate: int, channels: int, stream: int = 0) -> AudioSource:
    """Look at an audio file (wav, flac, ogg, mp3; with PyAV m4a, stem.mp4 and others) that a model will read.

    sample_rate (Hz) and channels are the model's; stream counts the audio streams of the file from 0. Raises
    AudioError when the file is missing, not audio, empty or cut short, or when its channels do not fit, and
    MissingDependencyError for a format that needs PyAV where that is not installed.
    """
    track = probe(Path(path), stream)
    if track.channels not in (1, channels) and (track.channels, channels) != (2, 1):
        raise AudioError(f"{path} has {track.channels} channels, the model takes {channels}; mix it down first")
    return AudioSource(track, sample_rate, channels)


def read_audio(
    path: Path | str,
    sample_rate: int,
    channels: int,
    *,
    stream: int = 0,
    start: float = 0.0,
    seconds: float | None = None,
) -> FloatArray:
    """A whole file, or `seconds` of it from `start`, as float32 [channels, n]. Raises AudioError as `open_audio`."""
    first = round(start * sample_rate)
    last = None if seconds is None else first + round(seconds * sample_rate)
    blocks, position = [], 0
    for block in open_audio(path, sample_rate, channels, stream):
        wanted = block[:, max(first - position, 0) : None if last is None else last - position]
        if wanted.shape[1]:
            blocks.append(wanted)
        position += block.shape[1]
        if last is not None and position >= last:
            break
    if not blocks:
        raise AudioError(f"{path} ends at {position / sample_rate:.2f} s; nothing to read from {start:.2f} s on")
    return np.concatenate(blocks, axis=1)


def _match_channels(samples: FloatArray, channels: int) -> FloatArray:
    if samples.shape[0] == channels:
        return samples
    if channels == 1:
        average: FloatArray = samples.mean(axis=0, keepdims=True)
        return average
    return np.repeat(samples, channels, axis=0)


def _resample(blocks: Iterable[FloatArray], source: int, target: int, channels: int) -> Iterator[FloatArray]:
    """From `source` to `target` Hz; n samples become n * target / source, rounded, and stay aligned."""
    if source == target:
        yield from blocks
        return
    import soxr

    resampler = soxr.ResampleStream(source, target, channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block.T)).T
    yield resampler.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True).T


def _cut(pieces: Iterable[FloatArray], length: int) -> Iterator[FloatArray]:
    """The same samples in blocks of `length`; the last may be shorter, none is empty."""
    held: list[FloatArray] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += piece.shape[1]
        if size < length:
            continue
        joined = np.concatenate(held, axis=1)
        whole = size - size % length
        for begin in range(0, whole, length):
            yield joined[:, begin : begin + length]
        held, size = [joined[:, whole:]], size - whole
    if size:
        yield np.concatenate(held, axis=1)
