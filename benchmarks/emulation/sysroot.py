"""An aarch64 system in a cache folder: Debian's Python, and the light install of this package for each runtime.

    <cache>/debian-<key>/       unpacked packages, one for all boards
    <cache>/site-<extra>-<key>/ what pip installs for one runtime
    <cache>/boards/<name>-.../      links into debian/, and the files by which a board is known
Every part appears whole or not at all, so an interrupted set-up goes on where it stopped. What one that was killed has
left half made, the next one removes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ddtasnet_edge import files
from ddtasnet_edge.benchmarks.emulation.boards import Board, write_identity
from ddtasnet_edge.benchmarks.emulation.debian import PYTHON, ROOTS, SUITE, install
from ddtasnet_edge.dependencies import installed_versions
from ddtasnet_edge.errors import DeviceError, EdgeError

#: Of these the aarch64 build of the version on this machine is taken: the same release is compared with itself.
SAME_VERSION = ("ai-edge-litert", "onnxruntime", "openvino")
# The C library of the packages is 2.36: wheels for it and for older ones fit.
PLATFORMS = (*(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)), "manylinux2014_aarch64")

Hear = Callable[[str], None]


def cache_folder() -> Path:
    """Where systems are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddtasnet-edge" / "emulation"


@contextmanager
def locked(cache: Path, hear: Hear) -> Iterator[None]:
    """Set up by one process at a time; others wait for it and find what it made. Raises EdgeError.

    What a process that was killed left half made is removed first. The lock can be inherited: pip goes on when this
    process is killed, and holds it until it has ended.
    """
    import fcntl  # not everywhere; qemu is not either

    with _open_lock(cache) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hear("another process is setting up emulated boards; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)
        _remove_leftovers(cache, hear)
        yield


def _open_lock(cache: Path) -> TextIO:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return (cache / "lock").open("w")
    except OSError as error:
        reason = error.strerror or str(error)
        cure = "set XDG_CACHE_HOME to a folder that can be written to"
        raise EdgeError(f"cannot write {cache}: {reason}; {cure}") from error


def _remove_leftovers(cache: Path, hear: Hear) -> None:
    """Remove what is half made; only while the lock is held, as then nobody is at work on any of it."""
    # `files.writing_folder` and `files.writing_file` make what is not whole under names that begin with a dot.
    leftovers = [path for folder in (cache, cache / "boards") for path in folder.glob(".*") if path.is_dir()]
    if leftovers:
        hear(f"removing what a killed set-up left ({sum(map(megabytes, leftovers)):.0f} MB)")
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)


def prepare_root(board: Board, cache: Path, hear: Hear) -> Path:
    """A folder that looks like the root of the board's system, with Python in it. Raises DeviceError."""
    debian_root = _prepare_debian(cache, hear)
    # With the key of the system that it links to: another process may be using an older one.
    root = cache / "boards" / f"{board.name}-{debian_root.name}"
    if root.is_dir():
        return root
    with files.writing_folder(root, replace=False) as place:
        for entry in debian_root.iterdir():
            (place / entry.name).symlink_to(Path("..", "..", debian_root.name, entry.name))
        write_identity(board, place)
    return root


def prepare_site(extra: str, wheel: Path, cache: Path, hear: Hear) -> Path:
    """The light install for a runtime, without this package itself. wheel: of this package. Raises DeviceError."""
    pins = [f"{name}=={version}" for name, version in installed_versions(SAME_VERSION).items()]
    site = cache / f"site-{extra}-{_key(_metadata(wheel), *pins)}"
    if not site.is_dir():
        hear(f"installing the aarch64 wheels of [{extra}]")
        with files.writing_folder(site, replace=False) as place:
            constraints = cache / f"constraints-{extra}.txt"
            files.write_text(constraints, "\n".join(pins) + "\n")
            _install(f"{wheel}[{extra}]", place, constraints)
            for mine in place.glob("ddtasnet_edge*"):
                shutil.rmtree(mine)
        hear(f"[{extra}] takes {megabytes(site):.0f} MB")
    return site


def megabytes(folder: Path) -> float:
    """Size of all files below a folder in MB."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def _prepare_debian(cache: Path, hear: Hear) -> Path:
    root = cache / f"debian-{_key(SUITE, PYTHON, *ROOTS)}"
    if root.is_dir():
        return root
    downloads = cache / "downloads"
    files.make_folder(downloads)
    with files.writing_folder(root, replace=False) as place:
        install(place, downloads, hear)
    hear(f"the system takes {megabytes(root):.0f} MB")
    shutil.rmtree(downloads)
    return root


def _install(requirement: str, place: Path, constraints: Path) -> None:
    """Have pip choose wheels for the other machine: it can, as long as nothing has to be compiled."""
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:"),
        *("--target", str(place), "--constraint", str(constraints), "--python-version", PYTHON),
        *("--implementation", "cp"),
        *(part for platform in PLATFORMS for part in ("--platform", platform)),
        requirement,
    ]
    # With the lock, see `locked`; nothing else here can be inherited.
    done = subprocess.run(command, capture_output=True, text=True, check=False, close_fds=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1] if errors else "pip said nothing"
        raise DeviceError(
            f"pip found no aarch64 wheels for Python {PYTHON} ({reason}); check the network, or install versions of "
            "the runtimes here that have such wheels"
        )


def _metadata(wheel: Path) -> str:
    """What a wheel requires: the part of it that decides what pip installs beside it."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("Requires-Dist"))


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
