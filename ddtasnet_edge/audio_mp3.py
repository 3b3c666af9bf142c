"""The frames of an mp3, one after the other: whether they are unbroken, and how much music they hold.

libmpg123 passes over damage in silence and guesses the length of a file that does not declare it. Frames say how long
they are in their first four bytes, so both can be looked up without decoding (ISO 11172-3, 13818-3, 2.4.2.3).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.errors import AudioError

# kbit/s by the four bits of a header; the first means "free", which nobody uses, the last is forbidden.
_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_SAMPLE_RATES = (44100, 48000, 32000, 0)
# MPEG 2.5, reserved, 2 and 1, by two bits: what the sample rates are divided by.
_DIVISORS = (4, 0, 2, 1)
_LAYER_III = 1
# So many frames in a row are music, not bytes of a tag that look alike.
_RUN = 3
# Where an encoder declares the length: within the first frame, behind a side information of 9 to 32 bytes.
_DECLARATIONS, _DECLARED_BEFORE = (b"Xing", b"Info"), 44


@dataclass(frozen=True)
class Mp3Scan:
    """seconds: in all frames; declares_length: whether the first frame holds no music but says how much follows."""

    seconds: float
    declares_length: bool


@dataclass(frozen=True)
class _Frame:
    """Facts of a frame header. kind: what stays the same within a file; size in bytes, samples per channel."""

    kind: tuple[int, int]
    size: int
    samples: int
    sample_rate: int


def scan_mp3(path: Path) -> Mp3Scan:
    """Go through all frames. Raises AudioError where they break off and begin again, or change their kind."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = start = _first_frame(data)
        first = frame = _frame(data, start)
        samples = 0
        while frame is not None and first is not None and frame.kind == first.kind:
            place += frame.size
            samples += frame.samples
            frame = _frame(data, place)
        if first is None:
            raise AudioError(f"{path} holds no whole mp3 frame; copy it again")
        seconds = samples / first.sample_rate
        # Tags follow the last frame; more frames behind something else mean that this is not the last one.
        if _next_run(data, place) is not None:
            raise AudioError(f"{path} is damaged at {seconds:.2f} s: its next mp3 frame is missing; copy it again")
        head = data[start : start + _DECLARED_BEFORE]
    return Mp3Scan(seconds, any(word in head for word in _DECLARATIONS))


def _first_frame(data: mmap.mmap) -> int:
    """Where music begins: behind the tag, or behind whatever else lies there."""
    place = _behind_tag(data)
    if _frame(data, place) is not None:
        return place
    found = _next_run(data, place)
    return place if found is None else found


def _frame(data: mmap.mmap, place: int) -> _Frame | None:
    """The whole frame at a place; None where there is none."""
    header = data[place : place + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0 or (header[1] >> 1) & 3 != _LAYER_III:
        return None
    version = (header[1] >> 3) & 3
    divisor, sample_rate = _DIVISORS[version], _SAMPLE_RATES[(header[2] >> 2) & 3]
    kilobits = (_RATES_1 if divisor == 1 else _RATES_2)[header[2] >> 4]
    if not (divisor and sample_rate and kilobits):
        return None
    sample_rate //= divisor
    samples = 1152 if divisor == 1 else 576
    size = samples // 8 * kilobits * 1000 // sample_rate + ((header[2] >> 1) & 1)
    mono = int(header[3] >> 6 == 3)
    return _Frame((sample_rate, mono), size, samples, sample_rate) if place + size <= len(data) else None


def _next_run(data: mmap.mmap, place: int) -> int | None:
    """The first place from here on where several frames follow one another; None when there is none."""
    while (place := data.find(b"\xff", place)) >= 0:
        end = place
        for _ in range(_RUN):
            frame = _frame(data, end)
            if frame is None:
                break
            end += frame.size
        else:
            return place
        place += 1
    return None


def _behind_tag(data: mmap.mmap) -> int:
    """Where an ID3v2 tag ends, which counts its bytes in four times seven bits; 0 without one."""
    if data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size
