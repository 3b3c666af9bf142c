"""What a board is, and whether the light install can run there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ddtasnet_edge.benchmarks.remote.connection import Connection, answers
from ddtasnet_edge.errors import DeviceError

#: Smallest and largest minor version of Python 3 that all runtimes have wheels for.
OLDEST, NEWEST = (3, 10), (3, 13)
#: 64-bit machines with wheels, as `uname -m` names them. x86_64 is no board, but this path runs there as well.
MACHINES = ("aarch64", "x86_64")
BITS = 64
# The one runtime with wheels for 32-bit ARM, and the last Python that it has them for.
SMALL_MACHINE, SMALL_EXTRA, SMALL_NEWEST = "armv7l", "tflite", (3, 11)


@dataclass(frozen=True)
class Interpreter:
    """A Python there. venv: whether it can make virtual environments with pip in them."""

    path: str
    version: str
    bits: int
    venv: bool

    @property
    def minor(self) -> tuple[int, int]:
        """(3, minor version)."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


@dataclass(frozen=True)
class Board:
    """machine: as `uname -m` says; python: the interpreter to use."""

    machine: str
    python: Interpreter

    def note(self) -> str:
        """This in a line."""
        return f"{self.machine}, {self.python.bits}-bit Python {self.python.version}"


def look(connection: Connection, extra: str) -> Board:
    """What answers, if it can run the runtimes of `extra`. Raises DeviceError for what is missing there."""
    said = connection.ask("look")
    host, facts = connection.address.host, answers(said)
    if facts.get("system") != "Linux":
        raise DeviceError(f"{host} runs {facts.get('system', 'an unknown system')}, expected Linux; use a Linux board")
    missing = [line.partition("=")[2] for line in said.splitlines() if line.startswith("missing=")]
    if missing:
        packages = "util-linux coreutils tar"
        raise DeviceError(f"{host} lacks {', '.join(missing)}; run there: sudo apt install {packages}")
    found = [_interpreter(line.partition("=")[2]) for line in said.splitlines() if line.startswith("python=")]
    board = Board(facts["machine"], choose_python(host, found))
    check_machine(host, board, extra)
    return board


def choose_python(host: str, found: Sequence[Interpreter]) -> Interpreter:
    """The first that will do, in the order of the search. Raises DeviceError that says what is wrong with the first."""
    if not found:
        raise DeviceError(f"{host} has no python3; run there: sudo apt install python3 python3-venv")
    fitting = [python for python in found if OLDEST <= python.minor <= NEWEST]
    if not fitting:
        raise DeviceError(
            f"{host} has Python {found[0].version}, the runtimes have wheels for {_dotted(OLDEST)} to "
            f"{_dotted(NEWEST)}; install one of those beside it, or a newer system (Raspberry Pi OS 12 has 3.11)"
        )
    for python in fitting:
        if python.venv:
            return python
    raise DeviceError(
        f"Python {fitting[0].version} of {host} makes no virtual environments; run there: sudo apt install python3-venv"
    )


def check_machine(host: str, board: Board, extra: str) -> None:
    """Raise DeviceError where no wheels are made for the processor or for the mode that the system runs it in."""
    if board.machine in MACHINES and board.python.bits == BITS:
        return
    small = board.machine == SMALL_MACHINE and extra == SMALL_EXTRA
    if small and board.python.minor <= SMALL_NEWEST:
        return
    if board.machine in MACHINES:
        system = f"{host} is a 64-bit processor ({board.machine}) with a {board.python.bits}-bit system"
    else:
        system = f"{host} is {board.machine}"
    only = f"; on {SMALL_MACHINE} only [{SMALL_EXTRA}] has, up to Python {_dotted(SMALL_NEWEST)}" if small else ""
    raise DeviceError(
        f"{system}, the runtimes have wheels for 64-bit ARM (aarch64){only}; install the 64-bit Raspberry Pi OS there, "
        "or use a Raspberry Pi 3, 4, 5 or Zero 2"
    )


def _interpreter(line: str) -> Interpreter:
    version, bits, venv, path = line.split(" ", 3)
    return Interpreter(path, version, int(bits), venv == "venv")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
