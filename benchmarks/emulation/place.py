"""An emulated board as a place where bundles run. What it computes counts; how long it takes means nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ddtasnet_edge import files
from ddtasnet_edge.benchmarks.emulation.boards import Board
from ddtasnet_edge.benchmarks.emulation.debian import PYTHON
from ddtasnet_edge.benchmarks.emulation.sysroot import locked, prepare_root, prepare_site
from ddtasnet_edge.benchmarks.process import ProcessDiedError
from ddtasnet_edge.errors import DeviceError, EdgeError

#: Either will do; the static one needs no libraries of this system.
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
# What the loader says of a library that is not there.
DAMAGED = "error while loading shared libraries"


class Processes:
    """What runs on a board now. A module takes minutes there, and none may outlive the place."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """Status and stderr of a command. Raises DeviceError after the end."""
        with self._lock:
            if self._ended:
                raise DeviceError("the emulated board is gone; start again")
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=environment
            )
            self._running.add(process)
        try:
            _, said = process.communicate()
        finally:
            # It has ended, or Ctrl-C came in between.
            process.kill()
            process.wait()
            with self._lock:
                self._running.discard(process)
        return process.returncode, said

    def end(self) -> None:
        """Stop all, whichever thread waits for them, and start no other. None runs any more when this returns."""
        with self._lock:
            self._ended = True
            running = tuple(self._running)
        for process in running:
            process.kill()
        for process in running:
            process.wait()


@dataclass(frozen=True)
class EmulatedPlace:
    """A board under qemu's user-mode emulation. It shares the files of this machine, so nothing is copied.

    root: of the board's system; sites: folders with packages, the first wins; scratch: for what modules write;
    processes: those that modules run in.
    """

    board: Board
    emulator: str
    root: Path
    sites: tuple[Path, ...]
    scratch: Path
    processes: Processes = field(default_factory=Processes, compare=False)

    @property
    def name(self) -> str:
        return f"{self.board.name}, emulated ({self.board.processor.qemu})"

    @property
    def jobs(self) -> int:
        # Each runs on one core of this machine.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def send(self, path: Path) -> str:
        return str(path.resolve())

    def make_path(self, name: str) -> str:
        return str(self.scratch / name)

    def run(self, module: str, arguments: Sequence[str]) -> None:
        command = [*self.python(), "-m", f"ddtasnet_edge.benchmarks.{module}", *arguments]
        status, stderr = self.processes.run(command, self.environment())
        if status == 0:
            return
        lines = stderr.strip().splitlines()
        if status < 0:
            name = signal.Signals(-status).name
            raise ProcessDiedError(f"{self.name}: the process died of {name}; {lines[-1] if lines else ''}")
        said = lines[-1] if lines else f"ended with {status} and said nothing"
        # The system in the cache lacks a file, and nothing would fetch it again.
        cure = f"; remove {self.root.parents[1]} and run again" if DAMAGED in said else ""
        raise EdgeError(f"{self.name}: {said}{cure}")

    def fetch(self, there: str, here: Path) -> None:
        with files.writing_file(here) as place:
            shutil.copyfile(there, place)

    def end(self) -> None:
        self.processes.end()

    def python(self, *options: str) -> list[str]:
        """The command that starts Python on the board. options: of the emulator."""
        interpreter = self.root / "usr/bin" / f"python{PYTHON}"
        return [self.emulator, *options, "-cpu", self.board.processor.qemu, "-L", str(self.root), str(interpreter)]

    def environment(self) -> dict[str, str]:
        """Variables for a process on the board: those of this machine's libraries and Pythons mean nothing there."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
        # Bytecode would be written into the cache by several processes at once.
        ours = {"PYTHONPATH": os.pathsep.join(map(str, self.sites)), "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | ours


@contextmanager
def emulated_place(
    board: Board, extras: Sequence[str], wheel: Path, cache: Path, hear: Callable[[str], None]
) -> Iterator[EmulatedPlace]:
    """Set up what is not there yet, then a place until the block ends, and with it whatever runs there.

    extras: of the runtimes that bundles will need; wheel: of this package; hear: hears of every step that takes time.
    Raises DeviceError without qemu or without what the network should bring.
    """
    emulator = find_emulator()
    with locked(cache, hear):
        root = prepare_root(board, cache, hear)
        sites = tuple(prepare_site(extra, wheel, cache, hear) for extra in extras)
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(Path(scratch, "package"))
        place = EmulatedPlace(board, emulator, root, (Path(scratch, "package"), *sites), Path(scratch))
        try:
            yield place
        finally:
            place.end()


def find_emulator() -> str:
    """Path of qemu for aarch64 programs. Raises DeviceError when there is none."""
    for name in EMULATORS:
        path = shutil.which(name)
        if path:
            return path
    raise DeviceError(
        f"emulating a board needs {EMULATORS[0]}, which is not on the path; sudo apt-get install qemu-user-static"
    )
