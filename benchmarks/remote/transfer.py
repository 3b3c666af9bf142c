"""Files there and back: each is compared by size and SHA-256 where it arrives, and copied again when it was cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.benchmarks.remote.connection import Connection, answers
from ddtasnet_edge.benchmarks.remote.refusals import full_disk
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.files import sha256_of, writing_file

ATTEMPTS = 5


@dataclass(frozen=True)
class Fingerprint:
    """What a file holds."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Fingerprint | None:
        """Of a file here, None when there is none."""
        return cls(path.stat().st_size, sha256_of(path)) if path.is_file() else None


def put(connection: Connection, here: Path, there: str) -> None:
    """Copy a file to the board. Raises EdgeError when it cannot arrive whole."""
    wanted = Fingerprint.of(here)
    assert wanted is not None
    said = ""
    for _ in range(ATTEMPTS):
        said = connection.copy_to(here, there)
        found, free = _look_at(connection, there)
        if found == wanted:
            return
        left = wanted.size - (found.size if found else 0)
        if full := full_disk(connection.address.host, said, 0 if free * 1024 < left else free):
            raise full
    raise _cut(connection, here.name, said)


def get(connection: Connection, there: str, here: Path) -> None:
    """Copy a file from the board, whole or not at all. Raises EdgeError."""
    wanted, _ = _look_at(connection, there)
    if wanted is None:
        raise EdgeError(f"{connection.address.host} has no file {there}; it was not written, or removed meanwhile")
    said = ""
    with writing_file(here) as temporary:
        for _ in range(ATTEMPTS):
            said = connection.copy_from(there, temporary)
            if Fingerprint.of(temporary) == wanted:
                return
            # A lost connection is waited for in here.
            wanted = _look_at(connection, there)[0] or wanted
        raise _cut(connection, here.name, said)


def _look_at(connection: Connection, there: str) -> tuple[Fingerprint | None, int]:
    """A file there, None when there is none, and the KiB that are free beside it."""
    facts = answers(connection.ask("check", there))
    found = Fingerprint(int(facts["size"]), facts["sha256"]) if "size" in facts else None
    return found, int(facts["free"])


def _cut(connection: Connection, name: str, said: str) -> EdgeError:
    lines = said.strip().splitlines()
    reason = f" ({lines[-1].strip()})" if lines else ""
    return EdgeError(
        f"{name} was copied {ATTEMPTS} times and never arrived whole{reason}; check the network to "
        f"{connection.address.host}, and that sftp is on there"
    )
