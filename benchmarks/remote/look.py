"""What a board is, and whether the light install can run there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ddtasnet_edge.benchmarks.doctor.packages import ARM_32, FIRST_PYTHON, LAST_PYTHON, LAST_PYTHON_ARM_32, ORDINARY
from ddtasnet_edge.benchmarks.machine import HOST, PI_MODELS, device_named
from ddtasnet_edge.benchmarks.remote.connection import Connection, answers
from ddtasnet_edge.errors import DeviceError

BITS = 64
# The one runtime with wheels for 32-bit ARM.
SMALL_EXTRA = "tflite"


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
    """machine: as `uname -m` says; python: the interpreter to use; model: what the board calls itself, empty where it
    does not; cores: logical ones, 0 where they cannot be counted."""

    machine: str
    python: Interpreter
    model: str = ""
    cores: int = 0

    def note(self) -> str:
        """This in a line."""
        return f"{self.machine}, {self.python.bits}-bit Python {self.python.version}"


def look(connection: Connection, extra: str) -> Board:
    """What answers, if it can run the runtimes of `extra`. Raises DeviceError for what is missing there."""
    said = connection.ask("look", *(f"python3.{minor}" for minor in range(LAST_PYTHON[1], FIRST_PYTHON[1] - 1, -1)))
    host, facts = connection.address.host, answers(said)
    if facts.get("system") != "Linux":
        raise DeviceError(f"{host} runs {facts.get('system', 'an unknown system')}, expected Linux; use a Linux board")
    missing = [line.partition("=")[2] for line in said.splitlines() if line.startswith("missing=")]
    if missing:
        packages = "util-linux coreutils tar"
        raise DeviceError(f"{host} lacks {', '.join(missing)}; run there: sudo apt install {packages}")
    found = [_interpreter(line.partition("=")[2]) for line in said.splitlines() if line.startswith("python=")]
    board = Board(facts["machine"], choose_python(host, found), facts["model"].strip(), int(facts["cores"]))
    check_machine(host, board, extra)
    return board


def check_asked(host: str, board: Board, device: str, threads: int) -> None:
    """Raise DeviceError unless a board is the device that is asked for and has a core for every thread.

    It says so itself before it measures, but that is after the install and the parity.
    """
    known = device_named(device)
    if known != HOST and not board.model.startswith(PI_MODELS[known]):
        is_pi = board.model.startswith(PI_MODELS["rpi"])
        found, use = (f"a {board.model}", "rpi") if is_pi else ("not a Raspberry Pi", HOST)
        raise DeviceError(f"device '{device}' is asked for, but {host} is {found}; use --device {use}")
    if board.cores and threads > board.cores:
        raise DeviceError(f"--threads is {threads}, {host} has {board.cores} logical cores; give at most that many")


def choose_python(host: str, found: Sequence[Interpreter]) -> Interpreter:
    """The first that will do, in the order of the search. Raises DeviceError that says what is wrong with the first."""
    if not found:
        raise DeviceError(f"{host} has no python3; run there: sudo apt install python3 python3-venv")
    fitting = [python for python in found if FIRST_PYTHON <= python.minor <= LAST_PYTHON]
    if not fitting:
        raise DeviceError(
            f"{host} has Python {found[0].version}, the runtimes have wheels for {_dotted(FIRST_PYTHON)} to "
            f"{_dotted(LAST_PYTHON)}; install one of those beside it, or a newer system (Raspberry Pi OS 12 has 3.11)"
        )
    for python in fitting:
        if python.venv:
            return python
    raise DeviceError(
        f"Python {fitting[0].version} of {host} makes no virtual environments; run there: sudo apt install python3-venv"
    )


def check_machine(host: str, board: Board, extra: str) -> None:
    """Raise DeviceError where no wheels are made for the processor or for the mode that the system runs it in."""
    if board.machine in ORDINARY and board.python.bits == BITS:
        return
    small = board.machine == ARM_32 and extra == SMALL_EXTRA
    if small and board.python.minor <= LAST_PYTHON_ARM_32:
        return
    if board.machine in ORDINARY:
        system = f"{host} is a 64-bit processor ({board.machine}) with a {board.python.bits}-bit system"
    else:
        system = f"{host} is {board.machine}"
    only = f"; on {ARM_32} only [{SMALL_EXTRA}] has, up to Python {_dotted(LAST_PYTHON_ARM_32)}" if small else ""
    raise DeviceError(
        f"{system}, the runtimes have wheels for 64-bit ARM (aarch64){only}; install the 64-bit Raspberry Pi OS there, "
        "or use a Raspberry Pi 3, 4, 5 or Zero 2"
    )


def _interpreter(line: str) -> Interpreter:
    version, bits, venv, path = line.split(" ", 3)
    return Interpreter(path, version, int(bits), venv == "venv")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
