"""The light install on a board: a virtual environment in our folder, from wheels alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ddtasnet_edge.benchmarks.remote.connection import Connection, answers
from ddtasnet_edge.benchmarks.remote.jobs import JobFailedError, run_job
from ddtasnet_edge.benchmarks.remote.look import Board
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import ConfigError, EdgeError

#: What the install takes while it is made, in KiB: the wheels beside what they unpack to, as seen on x86_64, where they
#: are larger than on aarch64. Most of the base is numpy and the decoders of music.
BASE_KIB = 270_000
RUNTIME_KIB = {"tflite": 75_000, "onnx": 95_000, "openvino": 230_000}
# A compiler is never asked for: on a board it would take an hour, if it is there at all. And nothing stays in caches.
PIP = ("install", "--quiet", "--no-compile", "--only-binary=:all:", "--no-cache-dir", "--no-input")
NO_INDEX = re.compile(
    r"NewConnectionError|ConnectTimeoutError|NameResolutionError|Temporary failure in name resolution"
)
NOT_TRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|confirming the ssl certificate")
NO_WHEEL = re.compile(r"No matching distribution found for (\S+)")


@dataclass(frozen=True)
class Setup:
    """What was made on a board. extra: the runtimes; size_bytes: on its disk; seconds: copying and installing."""

    host: str
    board: Board
    extra: str
    size_bytes: int
    seconds: float

    def notes(self) -> list[str]:
        """This, one line for each fact."""
        size = f"{self.size_bytes / 1e6:.0f} MB on its disk, made in {self.seconds:.0f} s and removed at the end"
        return [f"board: {self.host}, {self.board.note()}", f"light install: ddtasnet-edge[{self.extra}] takes {size}"]


def extra_for(bundles: Sequence[Bundle]) -> str:
    """The extras that run these bundles, with commas. Raises ConfigError for a bundle that boards do not run."""
    targets = dict.fromkeys(bundle.manifest.target for bundle in bundles)
    return check_extra(",".join(targets))


def check_extra(extra: str) -> str:
    """The extras in alphabetical order. Raises ConfigError for what is not in the light install."""
    extras = sorted(set(extra.split(",")))
    unknown = [name for name in extras if name not in RUNTIME_KIB]
    if unknown:
        raise ConfigError(
            f"'{unknown[0]}' is not for boards, expected {', '.join(RUNTIME_KIB)}; leave those bundles out"
        )
    return ",".join(extras)


def needed_kib(extra: str) -> int:
    """What must be free there."""
    return BASE_KIB + sum(RUNTIME_KIB[name] for name in extra.split(","))


def install(
    connection: Connection, folder: str, board: Board, extra: str, send_wheel: Callable[[], str]
) -> tuple[str, Setup]:
    """Make the environment in our folder; send_wheel: puts this package there. Returns its Python and what was made.

    Raises EdgeError with what pip could not do, in a line.
    """
    started = time.monotonic()
    host, venv = connection.address.host, f"{folder}/venv"
    wheel = send_wheel()
    run_job(connection, folder, "venv", [board.python.path, "-I", "-m", "venv", venv])
    python = f"{venv}/bin/python"
    try:
        run_job(connection, folder, "pip", [python, "-I", "-m", "pip", *PIP, f"{wheel}[{extra}]"])
    except JobFailedError as failed:
        raise pip_failure(host, board, failed) from failed
    size = int(answers(connection.ask("size", venv))["kib"]) * 1024
    return python, Setup(host, board, extra, size, time.monotonic() - started)


def pip_failure(host: str, board: Board, failed: JobFailedError) -> EdgeError:
    """What kept pip from installing, by what it printed."""
    if NOT_TRUSTED.search(failed.said):
        return EdgeError(
            f"pip on {host} does not trust its package index; set the clock of the board (timedatectl), or name the "
            "certificate in its pip config"
        )
    if NO_INDEX.search(failed.said):
        return EdgeError(f"pip on {host} reaches no package index; check the network of the board, or its pip config")
    if found := NO_WHEEL.search(failed.said):
        return EdgeError(
            f"pip on {host} finds no wheel of {found[1]} for {board.note()}; use a 64-bit system with Python 3.10 to "
            "3.13, another target, or an index that has it (pip config, on the board)"
        )
    return EdgeError(f"pip on {failed}; correct its pip config there, or the network")
