"""The folder on the board: there is room in it, and afterwards it never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.remote import jobs, space
from ddtasnet_edge.benchmarks.remote.connection import Connection, Patience, open_connection
from ddtasnet_edge.benchmarks.remote.jobs import run_job, start_job
from ddtasnet_edge.benchmarks.remote.space import remote_folder
from ddtasnet_edge.benchmarks.remote.transfer import put
from ddtasnet_edge.errors import DeviceError, EdgeError
from tests import sshd


def test_only_its_owner_gets_in(connection: Connection) -> None:
    with remote_folder(connection, 1) as folder:
        assert Path(folder).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error", [EdgeError("sorry"), KeyboardInterrupt(), SystemExit(3)])
def test_it_is_removed_whatever_happens(board: sshd.Board, connection: Connection, error: BaseException) -> None:
    def work() -> None:
        with remote_folder(connection, 1) as folder:
            start_job(connection, folder, "long", ["sleep", "600"])
            assert len(board.leftovers()) > 1
            raise error

    with pytest.raises(type(error)):
        work()
    assert board.leftovers() == []


WORK = """
import sys
from pathlib import Path
from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.connection import open_connection
from ddtasnet_edge.benchmarks.remote.jobs import run_job
from ddtasnet_edge.benchmarks.remote.space import remote_folder

with open_connection(SshAddress(sys.argv[1], config=Path(sys.argv[2]))) as connection:
    connection.ask("look")
    with remote_folder(connection, 1) as folder:
        run_job(connection, folder, "long", ["sleep", "600"])
"""


def test_ctrl_c_on_a_terminal_leaves_nothing(board: sshd.Board) -> None:
    """It reaches every process of the terminal, the ssh that waits there too."""
    command = [sys.executable, "-c", WORK, sshd.HOST, str(board.address.config)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    for _ in sshd.until():
        if list(board.temporary.glob("*/jobs/long/pid")):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said.decode().strip().endswith("KeyboardInterrupt")
    assert board.leftovers() == []


RUN = """
import sys
from pathlib import Path
from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.connection import open_connection
from ddtasnet_edge.benchmarks.remote.place import SshPlace
from ddtasnet_edge.benchmarks.remote.space import remote_folder

with open_connection(SshAddress(sys.argv[1], config=Path(sys.argv[2]))) as connection:
    connection.ask("look")
    with remote_folder(connection, 1) as folder:
        place = SshPlace(connection, folder)
        place._python = "slow-python"
        place.run("trace_worker", [])
"""


def test_ctrl_c_ends_a_module_that_runs_there(board: sshd.Board) -> None:
    """ssh ends with it as it does without a connection, and yet nothing is tried again."""
    board.program("slow-python", "exec sleep 600")
    command = [sys.executable, "-c", RUN, sshd.HOST, str(board.address.config)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    for _ in sshd.until():
        if list(board.temporary.glob("*/jobs/run1/pid")) and any(
            command.startswith(f"flock -s -w {jobs.WAIT} ") for _, command in sshd.processes()
        ):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said.decode().strip().endswith("KeyboardInterrupt")
    assert "connection lost" not in said.decode()
    assert board.leftovers() == []


HUNG_UP = """
import fcntl, sys, termios
from argparse import Namespace
from ddtasnet_edge.console import run_command

fcntl.ioctl(2, termios.TIOCSCTTY, 0)

def work(arguments):
    exec(arguments.work)

sys.exit(run_command(work, Namespace(debug=True, work=sys.argv.pop())))
"""


def test_a_closed_terminal_leaves_nothing(board: sshd.Board) -> None:
    """The system tells the command of it, then the shell does, and nobody can be told anything any more."""
    terminal, ours = os.openpty()
    command = [sys.executable, "-c", HUNG_UP, sshd.HOST, str(board.address.config), WORK]
    process = subprocess.Popen(command, start_new_session=True, stdin=ours, stderr=ours)
    os.close(ours)
    for _ in sshd.until():
        if list(board.temporary.glob("*/jobs/long/pid")):
            break
    os.close(terminal)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(timeout=60) == console.EXIT_INTERRUPTED
    assert board.leftovers() == []
    assert not [command for _, command in sshd.processes() if "ssh-" in command and str(board.folder) in command]


def test_a_job_that_will_not_end_is_made_to(board: sshd.Board, connection: Connection) -> None:
    with remote_folder(connection, 1) as folder:
        start_job(
            connection,
            folder,
            "stubborn",
            ["sh", "-c", f"trap '' TERM; touch up; while sleep 1; do :; done # {folder}"],
        )
        for _ in sshd.until():
            if Path(folder, "jobs/stubborn/up").exists():
                break
    assert board.leftovers() == []


def test_it_is_removed_over_a_new_connection(board: sshd.Board, connection: Connection) -> None:
    with remote_folder(connection, 1):
        board.drop_sessions()
    assert board.leftovers() == []


def test_what_cannot_be_removed_now_is_told(
    board: sshd.Board, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "TURN_SECONDS", 0.2)
    monkeypatch.setattr(space, "SILENT_TURNS", 3)
    with open_connection(board.address, Patience(total=0.3, first=0.1)) as connection:
        connection.ask("look")
        with remote_folder(connection, 1) as folder:
            start_job(connection, folder, "long", ["sleep", "600"])
            board.stop()
    assert f"{Path(folder).name} may be left in a temporary folder of board" in capfd.readouterr().err
    # Nobody asks any more: the board helps itself.
    for _ in sshd.until():
        if not board.leftovers():
            return


def test_a_sign_of_life_keeps_it(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "TURN_SECONDS", 0.2)
    monkeypatch.setattr(space, "SILENT_TURNS", 15)
    monkeypatch.setattr(jobs, "WAIT", 1)
    with remote_folder(connection, 1) as folder:
        # Much longer than the turns that the folder is left without a sign.
        run_job(connection, folder, "waits", ["sleep", "6"])
        assert Path(folder).is_dir()


def test_a_disk_with_too_little_room(board: sshd.Board, connection: Connection) -> None:
    board.program("df", "echo header; echo disk 100000 50000 50000 50% /")
    with (
        pytest.raises(DeviceError, match=r"board has 51 MB free in .*, the light install takes 307; free some space"),
        remote_folder(connection, 300_000),
    ):
        pass
    assert board.leftovers() == []


def test_no_folder_that_can_be_written_to(connection: Connection, board: sshd.Board) -> None:
    board.program("mkdir", "exit 1")
    with pytest.raises(DeviceError, match="board has no temporary folder that can be"), remote_folder(connection, 1):
        pass


def test_what_is_not_ours_is_never_removed(connection: Connection, board: sshd.Board) -> None:
    for path in ("/", "home", str(board.folder / "home"), f"{board.folder}/ddtasnet-edge-1/home"):
        with pytest.raises(EdgeError, match="is not a folder of ours"):
            connection.ask("remove", path)
    assert (board.folder / "home").is_dir()


def small_disk(path: Path, options: str) -> Iterator[Path]:
    """A file system of one megabyte."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size=1m,{options}", "none", path]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    yield from small_disk(tmp_path / "small", "exec")


@pytest.fixture
def noexec(tmp_path: Path) -> Iterator[Path]:
    yield from small_disk(tmp_path / "noexec", "noexec")


def test_a_disk_that_gets_full_on_the_way(full: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_000_000))
    with (
        sshd.running_board(tmp_path / "b", TMPDIR=str(full)) as board,
        open_connection(board.address) as connection,
        remote_folder(connection, 1) as folder,
    ):
        with pytest.raises(DeviceError, match="the disk of board is full"):
            put(connection, big, f"{folder}/big")
        Path(folder, "big").unlink()
        with pytest.raises(DeviceError, match="the disk of board is full"):
            run_job(connection, folder, "fill", ["sh", "-c", "cat /dev/zero >zeros"])
    assert list(full.iterdir()) == []


def test_a_disk_that_runs_no_programs_is_passed_over(noexec: Path, tmp_path: Path) -> None:
    with (
        sshd.running_board(tmp_path / "b", TMPDIR=str(noexec)) as board,
        open_connection(board.address) as connection,
        remote_folder(connection, 1) as folder,
    ):
        assert Path(folder).parent in (Path("/var/tmp"), Path("/tmp"))
    assert list(noexec.iterdir()) == []
    assert not Path(folder).exists()


def test_ctrl_c_while_it_is_removed_is_told(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ask = connection.ask

    def interrupted(script: str, *arguments: str, **options: Patience) -> str:
        if script == "remove":
            signal.raise_signal(signal.SIGINT)
        return ask(script, *arguments, **options)

    monkeypatch.setattr(connection, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt), remote_folder(connection, 1) as folder:
        raise KeyboardInterrupt
    assert "(interrupted)" in capfd.readouterr().err
    ask("remove", folder)
