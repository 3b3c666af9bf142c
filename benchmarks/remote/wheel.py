"""A wheel of this very package, made of the files that run: from a checkout, an editable install or a plain one."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import ddtasnet_edge
from ddtasnet_edge.errors import MissingDependencyError

DISTRIBUTION, PACKAGE = "ddtasnet-edge", "ddtasnet_edge"
# The first that a zip can tell. A time of packing would make every wheel another file.
EPOCH = (1980, 1, 1, 0, 0, 0)
# Weights are for making bundles, and a board gets its bundles made.
LEFT_OUT = {"__pycache__", "weights"}
WHEEL = f"Wheel-Version: 1.0\nGenerator: {DISTRIBUTION}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(folder: Path) -> Path:
    """Write the wheel into a folder; returns its path. Nothing is built: pure Python is only packed, and the same files
    make the same bytes.

    Raises MissingDependencyError when this package is not installed, as then nobody knows what it depends on.
    """
    about = _metadata()
    version = next(line.split()[1] for line in about.splitlines() if line.startswith("Version: "))
    stem = f"{PACKAGE}-{version}"
    info = f"{stem}.dist-info"
    target = folder / f"{stem}-py3-none-any.whl"
    record = []
    with ZipFile(target, "w") as wheel:
        for name, content in (
            *_package_files(),
            (f"{info}/METADATA", about.encode()),
            (f"{info}/WHEEL", WHEEL.encode()),
        ):
            wheel.writestr(_entry(name), content, ZIP_DEFLATED)
            record.append(f"{name},sha256={_digest(content)},{len(content)}")
        wheel.writestr(_entry(f"{info}/RECORD"), "\n".join([*record, f"{info}/RECORD,,", ""]), ZIP_DEFLATED)
    return target


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    return entry


def _metadata() -> str:
    try:
        found = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        found = None
    # An install has the one file, a checkout that was once built has the other.
    about = found and (found.read_text("METADATA") or found.read_text("PKG-INFO"))
    if not about:
        raise MissingDependencyError(
            f"a wheel for the board needs to know what {DISTRIBUTION} depends on, and it is not installed here; "
            f"pip install -e . in the checkout, or pip install {DISTRIBUTION}"
        )
    return about


def _package_files() -> Iterator[tuple[str, bytes]]:
    """Name in the wheel and content. The links of a checkout are followed: there they are sub-packages like others."""
    root = Path(ddtasnet_edge.__file__).parent
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        inside = Path(PACKAGE, Path(folder).relative_to(root))
        yield from (((inside / name).as_posix(), Path(folder, name).read_bytes()) for name in sorted(names))


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
