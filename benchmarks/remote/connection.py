"""One login that serves every command and copy, and is made again when the network drops it."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.refusals import ConnectionLostError, full_disk, refusal
from ddtasnet_edge.errors import EdgeError, MissingDependencyError

T = TypeVar("T")

# ssh itself exits with this when it has no connection.
NO_CONNECTION = 255
# Before what a script says: the start-up files of a login may print too.
MARK = "== ddtasnet-edge =="
# A socket's path has 108 bytes at most, and ssh adds to it while it makes one.
PLAIN_FOLDER = re.compile(r"[\w./+-]{1,60}")
OPTIONS = {
    "ControlMaster": "auto",
    "ControlPersist": "60",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "LogLevel": "INFO",
    # What a configuration may ask for that a script must not meet.
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
}


@dataclass(frozen=True)
class Patience:
    """How a lost connection is waited for, in seconds: all in all, the first pause, and the longest; each pause is
    twice the one before."""

    total: float = 120.0
    first: float = 1.0
    longest: float = 16.0


NONE = Patience(total=0.0)


class Connection:
    """Runs our scripts on a board and copies files. Made by `open_connection`."""

    def __init__(self, address: SshAddress, socket: Path, patience: Patience, quiet: bool) -> None:
        self.address = address
        self.patience = patience
        self._quiet = quiet
        options = {**OPTIONS, "ControlPath": str(socket)}
        self._options = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        self._reached = False

    def ask(self, script: str, *arguments: str, patience: Patience | None = None) -> str:
        """What one of our scripts, by its name, says there.

        After a lost connection it runs again, so each is written to be run twice. Raises EdgeError with its last line
        when it fails; ConnectionLostError when there is no connection for longer than `patience`.
        """
        return self._insist(lambda: self._ask_once(script, arguments), patience or self.patience)

    def copy_to(self, here: Path, there: str) -> str:
        """Copy a file; returns what scp said. Whether it arrived is for the caller to check."""
        return self._copy(str(here.absolute()), self.address.remote_path(there))

    def copy_from(self, there: str, here: Path) -> str:
        """Copy a file from there; as `copy_to`."""
        return self._copy(self.address.remote_path(there), str(here.absolute()))

    def close(self) -> None:
        """Log out."""
        self._ssh("-O", "exit")

    def _ask_once(self, script: str, arguments: tuple[str, ...]) -> str:
        # ssh hands one string to a shell there, so it is quoted for one.
        done = self._ssh(shlex.join(["sh", "-s", "--", *arguments]), given=read_script(script))
        if done.returncode == NO_CONNECTION:
            raise refusal(self.address, done.stderr)
        _, marked, said = done.stdout.partition(f"{MARK}\n")
        if not marked:
            found = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
            raise EdgeError(f"{self.address.host} answers '{found[-1]}' and runs no commands; give a user who may")
        if done.returncode:
            found = done.stderr.strip().splitlines() or [f"{script} ended with {done.returncode}"]
            full = full_disk(self.address.host, done.stderr)
            raise full or EdgeError(f"{self.address.host}: {found[-1]}")
        self._reached = True
        return said

    def _insist(self, attempt: Callable[[], T], patience: Patience) -> T:
        """Try until there is a connection. The very first failure is an answer: the address may be wrong.

        Patience begins with the first loss: how long a script ran before says nothing about the network.
        """
        pause, deadline = patience.first, math.inf
        while True:
            try:
                return attempt()
            except ConnectionLostError as lost:
                if not self._reached or not patience.total:
                    raise
                now = time.monotonic()
                deadline = min(deadline, now + patience.total)
                left = deadline - now
                if left <= 0:
                    raise ConnectionLostError(f"given up after {patience.total:.0f} s: {lost}") from lost
                console.say(f"connection lost: {lost}; next try in {min(pause, left):.1f} s", self._quiet)
                time.sleep(min(pause, left))
                pause = min(pause * 2, patience.longest)

    def _ssh(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        options = [*self.address.options("-p"), *self._options, "-T"]
        # -O is an option, a command comes behind the host.
        command = [*arguments, self.address.host] if arguments[0] == "-O" else [self.address.host, *arguments]
        return _run(["ssh", *options, *command], given)

    def _copy(self, source: str, target: str) -> str:
        options = [*self.address.options("-P"), *self._options]
        return _run(["scp", *options, source, target]).stderr


@contextmanager
def open_connection(
    address: SshAddress, patience: Patience | None = None, *, quiet: bool = False
) -> Iterator[Connection]:
    """A connection that is made when it is first used and is gone at the end.

    ssh asks for a password or a passphrase by itself, on the terminal. Raises MissingDependencyError without ssh or
    scp.
    """
    missing = [tool for tool in ("ssh", "scp") if shutil.which(tool) is None]
    if missing:
        raise MissingDependencyError(
            f"reaching {address.host} needs {' and '.join(missing)}, which is not installed on this machine; "
            "sudo apt install openssh-client"
        )
    with tempfile.TemporaryDirectory(prefix="ssh-", dir=_short_folder()) as folder:
        connection = Connection(address, Path(folder, "s"), patience or Patience(), quiet)
        try:
            yield connection
        finally:
            connection.close()


def read_script(name: str) -> str:
    """One of our scripts as it is sent. It does nothing before its last line, so half of one does nothing either."""
    return f'set -eu\nexport LC_ALL=C\n{script_text(name)}\necho "{MARK}"\nmain "$@"\n'


def script_text(name: str) -> str:
    """The functions of a script."""
    return Path(__file__).with_name(f"{name}.sh").read_text(encoding="utf-8")


def answers(said: str) -> dict[str, str]:
    """The lines KEY=VALUE of a script, the last of each key."""
    return {key: value for key, parted, value in (line.partition("=") for line in said.splitlines()) if parted}


def _short_folder() -> str | None:
    """Where temporary files go, unless ssh could not have a socket there."""
    return None if PLAIN_FOLDER.fullmatch(tempfile.gettempdir()) else "/tmp"


def _run(command: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, check=False, text=True, errors="replace")
