"""The few Debian packages that Python needs on another architecture, read from the index of a mirror and unpacked.

No package manager takes part, so nothing is installed on this system and no right is needed.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from ddtasnet_edge.benchmarks.emulation.download import download
from ddtasnet_edge.errors import DeviceError

#: Where packages come from; the variable names another mirror.
MIRROR = os.environ.get("DDTASNET_DEBIAN_MIRROR", "https://deb.debian.org/debian")
#: Bookworm has the system libraries that Raspberry Pi OS of the same name has, and Python 3.11.
SUITE, ARCHITECTURE = "bookworm", "arm64"
PYTHON = "3.11"
ROOTS = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6", "libgcc-s1", "libgomp1", "zlib1g")
#: Dependencies for installing and for mail types; no program that runs here opens them.
UNNEEDED = {"dpkg", "tar", "media-types", "readline-common", "libdb5.3", "gcc-12-base"}

_FIELD = re.compile(r"^([A-Za-z0-9-]+): (.*)$", re.MULTILINE)
_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60


@dataclass(frozen=True)
class Package:
    """One binary package of an index. path: below the mirror; size in bytes."""

    name: str
    path: str
    size: int
    sha256: str
    depends: tuple[str, ...]


def install(root: Path, downloads: Path, hear: Callable[[str], None]) -> None:
    """Unpack Python and all it needs below `root`; what was fetched stays in `downloads`. Raises DeviceError."""
    hear("reading the index of Debian's packages")
    packages = closure(fetch_index(downloads))
    megabytes = sum(package.size for package in packages) / 1e6
    hear(f"fetching Python {PYTHON} and its libraries: {len(packages)} packages, {megabytes:.1f} MB")
    for package in packages:
        deb = downloads / Path(package.path).name
        download(f"{MIRROR}/{package.path}", deb, package.size, package.sha256)
        unpack(deb, root)


def check_mirror(mirror: str) -> None:
    """Raise DeviceError for an address at which anybody on the way could change what is fetched.

    What a package must be is said by the index, and the index is trusted because of the mirror's certificate.
    """
    address = urlsplit(mirror)
    if address.scheme != "https" and address.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise DeviceError(f"DDTASNET_DEBIAN_MIRROR is {mirror}, expected an address that begins with https://")


def fetch_index(folder: Path) -> dict[str, Package]:
    """The packages of the suite by name. Raises DeviceError."""
    check_mirror(MIRROR)
    place = folder / f"{SUITE}-{ARCHITECTURE}-Packages.xz"
    # Always the newest: an older one names packages that a mirror no longer has.
    place.unlink(missing_ok=True)
    download(f"{MIRROR}/dists/{SUITE}/main/binary-{ARCHITECTURE}/Packages.xz", place)
    try:
        return read_index(lzma.decompress(place.read_bytes()).decode())
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise DeviceError(f"the package index of {MIRROR} is damaged; run again") from error


def read_index(text: str) -> dict[str, Package]:
    """A Packages file: paragraphs of `Field: value` lines."""
    packages = {}
    for paragraph in text.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if fields:
            name = fields["Package"]
            packages[name] = Package(
                name, fields["Filename"], int(fields["Size"]), fields["SHA256"], tuple(_dependencies(fields))
            )
    return packages


def _dependencies(fields: Mapping[str, str]) -> Iterator[str]:
    """Names that a package depends on, of alternatives the first, without versions and architectures."""
    for field in ("Depends", "Pre-Depends"):
        for clause in filter(None, fields.get(field, "").split(",")):
            yield clause.split("|")[0].split("(")[0].split(":")[0].strip()


def closure(index: Mapping[str, Package], roots: Sequence[str] = ROOTS) -> list[Package]:
    """The roots and all they depend on, by name. Raises DeviceError when the index lacks a root."""
    missing = [name for name in roots if name not in index]
    if missing:
        raise DeviceError(
            f"{MIRROR} has no {', '.join(missing)} in {SUITE}; set DDTASNET_DEBIAN_MIRROR to one that has"
        )
    found: dict[str, Package] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        # A name that is no package is a virtual one, provided by another.
        if name in found or name in UNNEEDED or name not in index:
            continue
        found[name] = index[name]
        waiting += index[name].depends
    return [found[name] for name in sorted(found)]


def unpack(deb: Path, folder: Path) -> None:
    """Put the files of a package below `folder`. Raises DeviceError for what is no package."""
    try:
        with deb.open("rb") as file:
            data = next((content for name, content in _members(file) if name.startswith("data.tar")), None)
        if data is None:
            raise DeviceError(f"{deb} holds no files; remove it and run again")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            # Keeps files inside of the folder; the first releases of Python 3.10 and 3.11 have no filters.
            archive.extractall(folder, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))  # type: ignore[arg-type]
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"{deb} cannot be unpacked: {reason}; remove it and run again") from error


def _members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member of an `ar` archive, which is what a package is."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ValueError("it is no ar archive")
    while header := file.read(_AR_HEADER):
        size = int(header[48:58])
        yield header[:16].decode().strip().rstrip("/"), file.read(size)
        file.read(size % 2)
