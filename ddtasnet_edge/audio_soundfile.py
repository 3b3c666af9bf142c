"""What a device reads with the base install: wav, flac, ogg and mp3, decoded by libsndfile a second at a time.

libsndfile is more forgiving than ffmpeg: it takes a file that was cut for a shorter one. So the containers are looked
at here as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge.audio_mp3 import scan_mp3
from ddtasnet_edge.audio_ogg import check_ogg
from ddtasnet_edge.audio_track import AudioTrack, Piece, check_riff_size
from ddtasnet_edge.errors import AudioError, MissingDependencyError
from ddtasnet_edge.native import native_messages_hidden

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
EXTRA = "pip install 'ddtasnet-edge[media]'"
# Samples per channel that are decoded at once: most of a second.
BLOCK = 32768
# By how many seconds the samples of an mp3 may fall short: as with PyAV, for what decoders make of its ends.
_MP3_SHORTFALL = 0.25
# What libsndfile takes for the length of a flac that was written into a pipe; it fails at the end of such a file.
_ENDLESS = 2**63 - 1


@dataclass(frozen=True)
class SoundfileTrack(AudioTrack):
    """A file as libsndfile decodes it."""

    def _decode(self) -> Iterator[Piece]:
        decoded = 0
        with _opened(self.path) as file:
            while True:
                samples = _read(self.path, file, decoded)
                if not len(samples):
                    return
                decoded += len(samples)
                yield Piece(samples.T, file.samplerate)


def probe_soundfile(path: Path, index: int = 0) -> SoundfileTrack:
    """As `audio_decode.probe`, with libsndfile."""
    with _opened(path) as file:
        if index:
            raise AudioError(f"{path} has 1 audio streams, at least {index + 1} expected")
        duration, shortfall = _check_container(path, file)
        if not len(_read(path, file, 0)):
            raise AudioError(f"{path} holds no audio samples; give a file with at least one")
        return SoundfileTrack(path, index, file.samplerate, file.channels, duration, shortfall)


def _check_container(path: Path, file: Any) -> tuple[float, float]:
    """Duration and shortfall in seconds. Raises AudioError where the file is seen to be damaged or cut."""
    if file.format in ("WAV", "WAVEX"):
        check_riff_size(path)
    elif file.format == "OGG":
        check_ogg(path)
    elif file.subtype == "MPEG_LAYER_III":
        return _check_mp3(path, file), _MP3_SHORTFALL
    elif file.format != "FLAC":
        raise _unread(path, f"{file.format} is not read without PyAV")
    if file.frames >= _ENDLESS:
        raise _unread(path, "without its length, which it does not declare, it is not read without PyAV")
    return file.frames / file.samplerate, 0.0


def _check_mp3(path: Path, file: Any) -> float:
    """Seconds that it must hold. libsndfile stops at the length that it believes in, so that is not all it may be."""
    scan = scan_mp3(path)
    declared: float = file.frames / file.samplerate
    if scan.declares_length:
        return declared
    if declared < scan.seconds - _MP3_SHORTFALL:
        raise _unread(path, f"libsndfile takes its {scan.seconds:.2f} s for {declared:.2f} s")
    return scan.seconds


def _read(path: Path, file: Any, decoded: int) -> Any:
    """The next float32 [n, channels], n = 0 at the end; decoded: samples before them."""
    import soundfile

    try:
        with native_messages_hidden():
            return file.read(BLOCK, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        where = f"{decoded / file.samplerate:.2f} s"
        raise AudioError(f"{path} is damaged at {where}: {error.error_string.rstrip('.')}; copy it again") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import soundfile

    # By its number, not its name: libsndfile would take some names for more than that.
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}; expected audio: wav, flac, ogg or mp3") from error
    try:
        with native_messages_hidden():
            file = soundfile.SoundFile(number, closefd=False)
        with file:
            yield file
    except soundfile.LibsndfileError as error:
        raise _unopened(path, error.error_string.rstrip(".")) from error
    finally:
        os.close(number)


def _unopened(path: Path, reason: str) -> AudioError | MissingDependencyError:
    if path.is_dir():
        return AudioError(f"cannot read {path}: Is a directory; expected audio: wav, flac, ogg or mp3")
    if path.suffix.lower() in SUFFIXES:
        return AudioError(f"cannot read {path}: {reason}; expected audio: wav, flac, ogg or mp3 ({EXTRA} for others)")
    return _unread(path, "m4a, mp4 and whatever else ffmpeg knows needs PyAV, which is not installed")


def _unread(path: Path, reason: str) -> MissingDependencyError:
    return MissingDependencyError(f"cannot read {path}: {reason}; {EXTRA}")
