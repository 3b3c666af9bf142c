"""The pages of an Ogg file, one after the other: whether each is whole, and the last one there (RFC 3533).

libsndfile passes over damaged pages in silence and takes a file that was cut for a shorter one.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

from ddtasnet_edge.errors import AudioError

# A page has this at its start, flags behind it, its stream, its number there and a checksum, of four bytes each, and a
# table that its last byte counts.
_MARK, _FLAGS, _STREAM, _NUMBER, _CHECKSUM, _HEADER = b"OggS", 5, 14, 18, 22, 27
_FIRST, _LAST = 0x02, 0x04
# zlib takes the bits of each byte in the other order than Ogg does, and starts with all bits set instead of none.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ONES = 0xFFFFFFFF


def check_ogg(path: Path) -> None:
    """Raise AudioError when a page is damaged or missing."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place, last = 0, False
        numbers: dict[bytes, int] = {}
        while (page := _page(data, place)) and _checksum(page) == page[_CHECKSUM:][:4] and _follows(page, numbers):
            last = bool(page[_FLAGS] & _LAST)
            place += len(page)
        # Behind the last page there may be anything but a page.
        if data.find(_MARK, place) >= 0 or not last:
            raise AudioError(f"{path} is damaged or cut at byte {place} of {len(data)}; copy it again")


def _page(data: mmap.mmap, place: int) -> bytes:
    """The whole page at a place; empty where there is none."""
    if data[place : place + len(_MARK)] != _MARK or place + _HEADER > len(data):
        return b""
    body = place + _HEADER + data[place + _HEADER - 1]
    end = body + sum(data[place + _HEADER : body])
    return data[place:end] if end <= len(data) else b""


def _follows(page: bytes, numbers: dict[bytes, int]) -> bool:
    """Whether a page has the next number of its stream; numbers: of the page before in each stream, kept up here."""
    stream, number = page[_STREAM:_NUMBER], int.from_bytes(page[_NUMBER:_CHECKSUM], "little")
    before = None if page[_FLAGS] & _FIRST else numbers.get(stream)
    numbers[stream] = number
    return before is None or number == (before + 1) & 0xFFFFFFFF


def _checksum(page: bytes) -> bytes:
    """What must stand in the page, computed with zeros in that place."""
    cleared = page[:_CHECKSUM] + bytes(4) + page[_CHECKSUM + 4 :]
    found = zlib.crc32(cleared.translate(_REVERSED), _ONES) ^ _ONES
    return found.to_bytes(4, "big").translate(_REVERSED)
