"""Files that are either whole or not there: written beside their place and renamed at the end."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddtasnet_edge.errors import EdgeError


@contextmanager
def writing_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its name when the block ends without an error.

    On an error or Ctrl-C the temporary folder is removed and `target` is as it was. Raises EdgeError when
    `target` exists and `replace` is false, or when the place cannot be written.
    """
    require_absent(target, replace=replace)
    with _writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _writable(target):
            yield temporary
            temporary.chmod(0o755)
            _swap_into_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_absent(target: Path, *, replace: bool) -> None:
    """Raise EdgeError when `target` exists and may not be replaced."""
    if target.exists() and not replace:
        raise EdgeError(f"{target} exists already; choose another --out or replace it with --force")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises EdgeError when that cannot be done."""
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)


def require_folder(target: Path) -> None:
    """Raise EdgeError unless the folder that a file is to be written into is there."""
    if not target.parent.is_dir():
        raise EdgeError(f"cannot write {target}: there is no folder {target.parent}; make it first")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises EdgeError when the place cannot be written."""
    with writing_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def writing_file(target: Path) -> Iterator[Path]:
    """A file name beside `target`, of the same suffix, that takes its place when the block ends without an error.

    On an error or Ctrl-C it is removed and `target` is as it was. Raises EdgeError when the place cannot be written.
    """
    with (
        _writable(target),
        tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder,
    ):
        temporary = Path(folder, target.name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)


def json_safe(value: Any) -> Any:
    """The same value with null for what JSON cannot hold: infinity and NaN."""
    if isinstance(value, Mapping):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _swap_into_place(temporary: Path, target: Path) -> None:
    """Rename, keeping an old target until the new one is there."""
    if not target.exists():
        temporary.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        target.replace(old / target.name)
        temporary.replace(target)
    except BaseException:  # Ctrl-C between the two must not lose the old one
        if not target.exists():
            (old / target.name).replace(target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise EdgeError(f"cannot write {target}: {reason}; free space or choose another place") from error
