"""A private folder on the board, with room in it, that is gone at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.remote.connection import NONE, Connection, Patience, answers, script_text
from ddtasnet_edge.benchmarks.remote.refusals import MAKE_ROOM, ConnectionLostError
from ddtasnet_edge.errors import DeviceError, EdgeError

# When this side is never heard of again, the board removes the folder itself: turns of so many seconds without a sign.
TURN_SECONDS, SILENT_TURNS = 600, 36


@contextmanager
def remote_folder(connection: Connection, needed: int) -> Iterator[str]:
    """A folder there with room for `needed` KiB, in which files can be run; yields its path.

    However the block ends, the jobs in it are stopped and it is removed. Raises DeviceError when there is no
    such place.
    """
    # Nobody can guess it, so nobody can be there first; known here, so that a lost answer leaves nothing behind.
    name = f"ddtasnet-edge-{secrets.token_hex(8)}"
    patience = connection.patience
    try:
        folder = _make(connection, name, needed)
        _keep(connection, folder)
        yield folder
    except ConnectionLostError:
        patience = NONE
        raise
    finally:
        _remove(connection, name, patience)


def _make(connection: Connection, name: str, needed: int) -> str:
    said = connection.ask("make", name, str(needed))
    facts, host = answers(said), connection.address.host
    if folder := facts.get("folder"):
        return folder
    if small := facts.get("small"):
        free, _, base = small.partition(" ")
        raise DeviceError(
            f"{host} has {_megabytes(int(free))} MB free in {base}, the light install takes {_megabytes(needed)}; "
            f"{MAKE_ROOM}"
        )
    if "noexec" in facts:
        raise DeviceError(
            f"{host} runs no programs from {facts['noexec']} (mounted noexec); set TMPDIR of that login to one that may"
        )
    raise DeviceError(f"{host} has no temporary folder that can be written to; set TMPDIR of that login to one")


def _keep(connection: Connection, folder: str) -> None:
    text = f'{script_text("remove")}\n{script_text("keep")}\nkeep "$@"\n'
    turns = (str(TURN_SECONDS), str(SILENT_TURNS))
    connection.ask("start", folder, "keeper", "sh", "-c", text, "keeper", folder, *turns)


def _megabytes(kib: int) -> int:
    return round(kib * 1024 / 1e6)


def _remove(connection: Connection, name: str, patience: Patience) -> None:
    """Told, not raised, when it fails: what the work came to is worth more."""
    hours = TURN_SECONDS * SILENT_TURNS // 3600
    told = (
        f"{name} may be left in a temporary folder of {connection.address.host}; it removes that by itself {hours} "
        "hours from now, if it stays on"
    )
    try:
        connection.ask("remove", name, patience=patience)
    except EdgeError as error:
        console.say(f"{told} ({error})")
    except KeyboardInterrupt:
        console.say(f"{told} (interrupted)")
        raise
