"""A real sshd on loopback that plays the board."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.connection import Connection, Patience, open_connection

#: With lost connections, so that tests of them are short.
QUICK = Patience(total=20.0, first=0.1, longest=0.5)
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
HOST = "board"
#: All that our scripts may use there; PATH has nothing else.
TOOLS = (
    *(
        "sh",
        "setsid",
        "flock",
        "tar",
        "sha256sum",
        "df",
        "du",
        "uname",
        "mkdir",
        "rm",
        "mv",
        "cat",
        "cut",
        "tr",
        "tail",
    ),
    *("touch", "chmod", "dirname", "wc", "sleep"),
)
CLIENT = """\
Host {host}
  HostName 127.0.0.1
  HostKeyAlias {host}
  Port {port}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
"""
SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
SetEnv {environment}
"""
# From 9.8 on a server answers no more after a few cut connections.
PATIENT_SERVER = "PerSourcePenalties no\n"


@dataclass
class Board:
    """The machine behind ssh. temporary: its folder for temporary files; bin: its programs."""

    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def address(self) -> SshAddress:
        return SshAddress(HOST, config=self.folder / "ssh_config")

    def program(self, name: str, text: str) -> None:
        """Replace one of its programs with a script."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def leftovers(self) -> list[str]:
        """Files in its temporary folder, and commands that still run with our folder in their arguments."""
        mark = str(self.temporary)
        commands = [command[:80] for _, command in processes() if f"{mark}/ddtasnet-edge-" in command]
        return [*(path.name for path in self.temporary.iterdir()), *commands]

    def start(self) -> None:
        """Switch it on."""
        config = self.folder / "sshd_config"
        text = SERVER.format(port=self.port, folder=self.folder, environment=quoted(self.environment))
        config.write_text(text + PATIENT_SERVER)
        if subprocess.run([sshd(), "-t", "-f", config], capture_output=True, check=False).returncode:
            config.write_text(text)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([sshd(), "-D", "-e", "-f", config], stderr=log)
        for _ in until():
            if self.process.poll() is not None:
                break
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
        pytest.skip(f"sshd does not start here: {self.log()}")

    def drop_sessions(self) -> None:
        """Kill the processes that serve connections, as soon as there are some; new ones are taken."""
        for _ in until():
            if self._kill_sessions():
                return

    def stop(self) -> None:
        """Switch its ssh off: nobody gets in, and who was in is out. What runs there goes on."""
        assert self.process is not None
        # First, or it could take another connection after its last one was killed.
        os.kill(self.process.pid, signal.SIGSTOP)
        self._kill_sessions()
        self.process.kill()
        self.process.wait()

    def _kill_sessions(self) -> int:
        assert self.process is not None
        found = children(self.process.pid)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def log(self) -> str:
        """The last line of the server's log."""
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it says nothing"


def processes() -> Iterator[tuple[int, str]]:
    """Number and command line of every process that is not just a zombie."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if command := (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    yield int(entry.name), command


def children(parent: int) -> list[int]:
    """The processes below one, the deepest last."""
    below: dict[int, list[int]] = {}
    for pid, _ in processes():
        with suppress(OSError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
            below.setdefault(int(after_name.split()[1]), []).append(pid)
    found = below.get(parent, [])
    return found + [pid for child in found for pid in below.get(child, []) if "sshd" in name_of(pid)]


def until(seconds: float = 30.0) -> Iterator[None]:
    """Turns of a loop that waits for something; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
    pytest.fail(f"did not come in {seconds:.0f} s")


def name_of(pid: int) -> str:
    """The name of a process, empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def sshd() -> str:
    """The server, which wants to be started by its whole path. Skips the test where it is not installed."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:{SBIN}")
    if found is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs sshd: apt install openssh-server openssh-client")
    return found


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def quoted(environment: Mapping[str, str]) -> str:
    """For SetEnv, of which only one line counts."""
    return " ".join(f'"{name}={value}"' for name, value in environment.items())


def make_key(path: Path) -> str:
    """A new key pair without a passphrase; returns the public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@contextmanager
def running_board(folder: Path, **environment: str) -> Iterator[Board]:
    """A board that is switched on, and what a user's login there sees besides PATH, HOME and TMPDIR."""
    sshd()
    board = Board(folder, free_port())
    for name in ("tmp", "bin", "home"):
        (folder / name).mkdir(parents=True)
    for name in TOOLS:
        (board.bin / name).symlink_to(shutil.which(name) or pytest.skip(f"needs {name}"))
    board.program("python3", f'exec {os.path.realpath(sys.executable)} "$@"')
    # pip finds packages there as it does here.
    for name in (".config", ".pip"):
        (folder / "home" / name).symlink_to(Path.home() / name)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    own = {"PATH": str(board.bin), "HOME": str(folder / "home"), "TMPDIR": str(board.temporary)}
    board.environment = {**pip, **own, **environment}
    (folder / "known_hosts").write_text(f"{HOST} {make_key(folder / 'host_key')}\n")
    make_key(folder / "user_key")
    point_client(board, board.port)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    board.start()
    try:
        check_login(board)
        yield board
    finally:
        if board.process is not None and board.process.poll() is None:
            board.stop()


def point_client(board: Board, port: int) -> None:
    """Which port ssh goes to."""
    (board.folder / "ssh_config").write_text(CLIENT.format(host=HOST, port=port, folder=board.folder))


def check_login(board: Board) -> None:
    """Skip where this system lets nobody in by a key: a locked account, or a rule about logins."""
    done = subprocess.run(["ssh", "-F", board.folder / "ssh_config", HOST, "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"sshd lets this user not in: {board.log()}")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board that is switched on, until the test ends."""
    with running_board(tmp_path / "board") as running:
        yield running


@pytest.fixture
def connection(board: Board) -> Iterator[Connection]:
    """A login to that board."""
    with open_connection(board.address, QUICK) as opened:
        opened.ask("look")
        yield opened
