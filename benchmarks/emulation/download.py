"""Files from the network: resumed where they stopped, and kept only when they are what was expected."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from ddtasnet_edge.errors import DeviceError
from ddtasnet_edge.files import sha256_of

TIMEOUT_S = 60
BLOCK = 1 << 20


def download(url: str, target: Path, size: int | None = None, sha256: str | None = None) -> None:
    """Fetch a file unless it is there already; what an interrupted run has left in `<target>.part` is continued.

    size in bytes and sha256 are checked where they are known; a file that differs is removed. Raises DeviceError.
    """
    if target.is_file():
        return
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, part, size)
    except (OSError, http.client.HTTPException) as error:
        raise DeviceError(f"cannot fetch {url}: {_reason(error)}; check the network and run again") from error
    found = part.stat().st_size
    if size is not None and found < size:
        raise DeviceError(f"{url} broke off after {found} of {size} bytes; run again to go on from there")
    if (size is not None and found > size) or (sha256 is not None and sha256_of(part) != sha256):
        part.unlink()
        raise DeviceError(f"{url} is not what its index says; nothing of it was kept, run again")
    part.replace(target)


def _fetch(url: str, part: Path, size: int | None) -> None:
    """Append to `part` what it lacks."""
    there = part.stat().st_size if part.is_file() else 0
    if size is None:
        there = 0  # nothing tells whether a beginning belongs to the same file
    if there and there == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        # A server that cannot resume starts over.
        resumes = answer.status == http.client.PARTIAL_CONTENT
        with part.open("ab" if resumes else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    return str(getattr(error, "reason", None) or error)
