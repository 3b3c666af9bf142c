"""A board behind ssh as a place where bundles run."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.connection import Connection, Patience, open_connection
from ddtasnet_edge.benchmarks.remote.install import Setup, check_extra, install, needed_kib
from ddtasnet_edge.benchmarks.remote.jobs import run_job
from ddtasnet_edge.benchmarks.remote.look import Board, look
from ddtasnet_edge.benchmarks.remote.space import remote_folder
from ddtasnet_edge.benchmarks.remote.transfer import get, put
from ddtasnet_edge.benchmarks.remote.wheel import make_wheel
from ddtasnet_edge.errors import EdgeError

# What a file may be called there; the rest becomes an underscore.
ODD = re.compile(r"[^A-Za-z0-9._+-]")


class SshPlace:
    """A folder on a board with the light install in it; a `Place`. Made by `open_board`.

    A dropped connection is made again and the work goes on; what it costs then is time.
    """

    def __init__(self, connection: Connection, folder: str) -> None:
        self._connection = connection
        self._folder = folder
        self._sent = 0
        self._ran = 0
        self._python = ""
        self._setup: Setup | None = None

    @property
    def name(self) -> str:
        """The board as the user wrote it."""
        return self._connection.address.host

    @property
    def jobs(self) -> int:
        """How many modules may run there at once: memory is short on a board."""
        return 1

    @property
    def setup(self) -> Setup:
        """What was made there."""
        assert self._setup is not None
        return self._setup

    def send(self, path: Path) -> str:
        """Make a file or folder of this machine readable there; returns its path there. Raises EdgeError."""
        if not path.exists():
            raise EdgeError(f"there is no {path} to copy to {self.name}; check the path")
        self._sent += 1
        there, name = f"{self._folder}/sent/{self._sent}", ODD.sub("_", path.resolve().name)
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder, "packed.tar")
            with tarfile.open(packed, "w", dereference=True) as archive:
                archive.add(path, arcname=name)
            put(self._connection, packed, f"{there}.tar")
        self._connection.ask("unpack", there)
        return f"{there}/{name}"

    def make_path(self, name: str) -> str:
        """A path there that a module may write to; name: of a file, without folders."""
        return f"{self._folder}/made/{ODD.sub('_', name)}"

    def run(self, module: str, arguments: Sequence[str]) -> None:
        """`python -m ddtasnet_edge.benchmarks.<module> ARGUMENTS` there.

        Raises EdgeError with the last line that it said when it fails, ProcessDiedError when a signal ended it.
        """
        self._ran += 1
        command = [self._python, "-m", f"ddtasnet_edge.benchmarks.{module}", *arguments]
        run_job(self._connection, self._folder, f"run{self._ran}", command)

    def fetch(self, there: str, here: Path) -> None:
        """Bring one file back, whole or not at all. Raises EdgeError."""
        get(self._connection, there, here)

    def end(self) -> None:
        """Nothing to do: no other thread waits for a module, and what runs there ends with the folder."""

    def install(self, board: Board, extra: str) -> None:
        """Put the light install into the folder. Raises EdgeError."""
        self._python, self._setup = install(self._connection, self._folder, board, extra, self._send_wheel)

    def _send_wheel(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return self.send(make_wheel(Path(folder)))


@contextmanager
def open_board(
    address: SshAddress,
    extra: str = "tflite",
    *,
    quiet: bool = False,
    patience: Patience | None = None,
    prepare: Callable[[Board], None] | None = None,
) -> Iterator[SshPlace]:
    """A board with the light install of this package, which is gone from it at the end, on errors and Ctrl-C too.

    extra: the runtimes, with commas (`extra_for`); patience: with lost connections; prepare: is called with what
    answers, before anything goes there. Raises EdgeError, in one line, for whatever keeps the board from being used.
    """
    extra = check_extra(extra)
    with open_connection(address, patience, quiet=quiet) as connection:
        board = look(connection, extra)
        console.say(f"{address.host}: {board.note()}", quiet)
        if prepare is not None:
            prepare(board)
        with remote_folder(connection, needed_kib(extra)) as folder:
            place = SshPlace(connection, folder)
            console.say(f"{address.host}: installing ddtasnet-edge[{extra}] in {folder}, removed at the end", quiet)
            place.install(board, extra)
            yield place
