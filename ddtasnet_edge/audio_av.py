"""Everything that ffmpeg reads, decoded with PyAV frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddtasnet_edge.audio_track import AudioTrack, Piece, check_riff_size
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

# By how many seconds the samples may fall short of the declared length: flac counts samples, mp4 and mp3 may count
# the encoder's delay too. Lengths in other containers are estimates or checked by ffmpeg.
_SHORTFALL = {"flac": 0.0, "mp3": 0.25, "mov,mp4,m4a,3gp,3g2,mj2": 0.25}


@dataclass(frozen=True)
class AvTrack(AudioTrack):
    """A stream as ffmpeg decodes it."""

    def _decode(self) -> Iterator[Piece]:
        with _opened(self.path, self.index) as (container, stream):
            for frame in _frames(self.path, container, stream):
                yield Piece(_to_float(frame), frame.sample_rate)


def probe_av(path: Path, index: int = 0) -> AvTrack:
    """As `audio_decode.probe`, with PyAV."""
    with _opened(path, index) as (container, stream):
        if container.format.name == "wav":
            check_riff_size(path)
        first = next(_frames(path, container, stream), None)
        if first is None:
            raise AudioError(f"{path} holds no audio samples; give a file with at least one")
        return AvTrack(
            path, index, first.sample_rate, first.layout.nb_channels, _duration(stream), _shortfall(container, stream)
        )


@contextmanager
def _opened(path: Path, index: int) -> Iterator[tuple[InputContainer, AudioStream]]:
    import av

    try:
        # The prefix keeps ffmpeg from taking a name such as "http:song.wav" for an address; from a file, it also
        # refuses playlists that point to one.
        with av.open(f"file:{path}", metadata_errors="ignore") as container:
            streams = container.streams.audio
            if index >= len(streams):
                raise AudioError(f"{path} has {len(streams)} audio streams, at least {index + 1} expected")
            yield container, streams[index]
    except av.error.FFmpegError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}; expected audio: wav, flac, mp3 or m4a") from error


def _frames(path: Path, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decoded frames. Undecodable data is an error, except behind the last good frame: tags live there."""
    import av

    damage, seconds = None, 0.0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            damage = error
            continue
        for frame in frames:
            if damage is not None:
                raise AudioError(f"{path} is damaged at {seconds:.2f} s: {damage.strerror}; copy it again")
            seconds += frame.samples / frame.sample_rate
            yield frame


def _duration(stream: AudioStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def _shortfall(container: InputContainer, stream: AudioStream) -> float | None:
    # Only an mp3 with an information frame knows its length and its delay; ffmpeg then starts after the delay.
    if container.format.name == "mp3" and not stream.start_time:
        return None
    return _SHORTFALL.get(container.format.name)


def _to_float(frame: AudioFrame) -> FloatArray:
    """One frame as float32 [channels, n]; a planar frame has that shape already, a packed one interleaves."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinity, which is reported with its place
            return samples.astype(np.float32)
    bits = 8 * samples.dtype.itemsize
    offset = 128 if samples.dtype == np.uint8 else 0
    scaled: FloatArray = ((samples.astype(np.float64) - offset) / 2 ** (bits - 1)).astype(np.float32)
    return scaled
