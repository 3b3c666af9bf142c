"""One audio stream of a file, whichever library decodes it: what it declares, and what every sample is held to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

# A program that writes a wav into a pipe cannot know its size and puts a huge number there instead.
_UNKNOWN_RIFF_SIZE = 0x7FFF0000


class Piece(NamedTuple):
    """Some consecutive samples, float32 [channels, n], and the rate in Hz that they came with."""

    samples: FloatArray
    sample_rate: int


@dataclass(frozen=True)
class AudioTrack(ABC):
    """One audio stream of a file.

    Iterating decodes it from its start: float32 [channels, n], n as the codec likes it, integers scaled by full
    scale, floats as they are, the encoder's delay removed as the file declares it. Raises AudioError on damage,
    NaN and infinity. sample_rate is in Hz; duration in seconds is what the file declares, or None; shortfall is
    how far the samples may stay below it, None when it is an estimate.
    """

    path: Path
    index: int
    sample_rate: int
    channels: int
    duration: float | None
    shortfall: float | None

    @abstractmethod
    def _decode(self) -> Iterator[Piece]:
        """The samples from the start, in pieces of no more than a few seconds. Raises AudioError on damage."""

    def __iter__(self) -> Iterator[FloatArray]:
        position = 0
        for piece in self._decode():
            self._check_format(piece, position)
            self._check_finite(piece.samples, position)
            position += piece.samples.shape[1]
            yield piece.samples
        self._check_length(position / self.sample_rate)

    def _check_format(self, piece: Piece, position: int) -> None:
        channels = piece.samples.shape[0]
        if (piece.sample_rate, channels) != (self.sample_rate, self.channels):
            raise AudioError(
                f"{self.path} changes from {self.sample_rate} Hz, {self.channels} channels to {piece.sample_rate} Hz, "
                f"{channels} channels at {position / self.sample_rate:.2f} s; convert it to wav first"
            )

    def _check_finite(self, samples: FloatArray, position: int) -> None:
        finite = np.isfinite(samples).all(axis=0)
        if not finite.all():
            second = (position + int(np.argmin(finite))) / self.sample_rate
            raise AudioError(f"{self.path} holds NaN or infinity at {second:.3f} s; replace such samples first")

    def _check_length(self, seconds: float) -> None:
        if self.duration is not None and self.shortfall is not None and seconds < self.duration - self.shortfall:
            raise AudioError(f"{self.path} holds {seconds:.3f} s, declares {self.duration:.3f} s; copy it again")


def check_riff_size(path: Path) -> None:
    """Raise AudioError for a wav that ends before its header says: neither decoder complains about a cut one."""
    with path.open("rb") as file:
        # Counted from behind itself, that is from byte 8; some programs count from byte 0, so 8 bytes may be missing.
        declared = int.from_bytes(file.read(8)[4:], "little")
    if path.stat().st_size < declared < _UNKNOWN_RIFF_SIZE:
        raise AudioError(f"{path} has {path.stat().st_size} bytes, declares {declared + 8}; copy it again")
