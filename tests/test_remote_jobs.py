"""Work that goes on while the connection does not."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from ddtasnet_edge.benchmarks.process import ProcessDiedError
from ddtasnet_edge.benchmarks.remote import connection as connection_module
from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.connection import Connection, Patience, open_connection
from ddtasnet_edge.benchmarks.remote.jobs import run_job, start_job
from ddtasnet_edge.benchmarks.remote.refusals import ConnectionLostError
from ddtasnet_edge.benchmarks.remote.space import remote_folder
from ddtasnet_edge.errors import DeviceError, EdgeError
from tests import sshd

SHORT = Patience(total=1.0, first=0.1, longest=0.2)


@pytest.fixture
def folder(connection: Connection) -> Iterator[str]:
    with remote_folder(connection, 1) as made:
        yield made


def shell(text: str, *arguments: str) -> list[str]:
    return ["sh", "-c", text, "sh", *arguments]


def appears(path: Path) -> None:
    """Wait for a file."""
    for _ in sshd.until():
        if path.exists():
            return


def meanwhile(action: Callable[[], None]) -> Thread:
    thread = Thread(target=action)
    thread.start()
    return thread


def test_a_job_has_its_own_folder_and_gets_its_arguments_untouched(connection: Connection, folder: str) -> None:
    odd = ["a b", "it's", '"$(touch x)"', "*", "-n", "ünï", "", "a\nb"]
    run_job(connection, folder, "odd", shell('printf "%s\\0" "$@" >arguments', *odd))
    written = Path(folder, "jobs", "odd", "arguments").read_text(encoding="utf-8")
    assert written.split("\0")[:-1] == odd


def test_a_job_does_not_see_the_python_of_the_login(tmp_path: Path) -> None:
    with (
        sshd.running_board(tmp_path / "b", PYTHONPATH="/odd", PYTHONHOME="/odd") as board,
        open_connection(board.address) as connection,
        remote_folder(connection, 1) as folder,
    ):
        run_job(connection, folder, "env", shell('echo "${PYTHONPATH-none} ${PYTHONHOME-none} $TMPDIR" >seen'))
        assert Path(folder, "jobs/env/seen").read_text() == f"none none {folder}/tmp\n"


@pytest.mark.parametrize("name", ["dash", "bash", "busybox"])
def test_every_usual_shell_of_a_board_understands_us(board: sshd.Board, name: str) -> None:
    found = shutil.which(name) or pytest.skip(f"needs {name}")
    board.program("sh", f'exec {found} {"sh" if name == "busybox" else ""} "$@"')
    with open_connection(board.address) as connection, remote_folder(connection, 1) as folder:
        assert "python=" in connection.ask("look")
        run_job(connection, folder, "works", shell("exit 0"))
        with pytest.raises(ProcessDiedError, match="SIGILL"):
            run_job(connection, folder, "dies", shell("kill -s ILL $$"))
        start_job(connection, folder, "long", ["sleep", "600"])
    assert board.leftovers() == []


def test_a_failing_job_says_why(connection: Connection, folder: str) -> None:
    with pytest.raises(EdgeError, match=r"^board: no such bundle; check the path$"):
        run_job(connection, folder, "a", shell("echo noise; echo error: no such bundle\\; check the path >&2; exit 2"))
    with pytest.raises(EdgeError, match="ended with 3 and said nothing"):
        run_job(connection, folder, "b", shell("exit 3"))
    with pytest.raises(EdgeError, match="no-such-program"):
        run_job(connection, folder, "c", ["no-such-program"])


@pytest.mark.parametrize(
    ("name", "says"),
    [("ILL", "SIGILL: a library was built for another processor"), ("KILL", "SIGKILL: probably no memory was left")],
)
def test_a_signal_ends_a_job(connection: Connection, folder: str, name: str, says: str) -> None:
    with pytest.raises(ProcessDiedError, match=f"^the process on board died of {says}"):
        run_job(connection, folder, "dies", shell(f"kill -s {name} $$"))


def test_a_job_goes_on_without_a_connection_and_is_done_once(
    board: sshd.Board, connection: Connection, folder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    go, runs, gone = Path(folder, "go"), Path(folder, "runs"), board.folder / "gone"

    def drop() -> None:
        for _ in range(2):
            appears(runs)
            board.drop_sessions()
        board.stop()
        gone.touch()
        go.touch()
        appears(Path(folder, "jobs/long/status"))
        board.start()

    thread = meanwhile(drop)
    run_job(
        connection, folder, "long", shell('echo run >>"$1"; until [ -e "$2" ]; do sleep 0.1; done', str(runs), str(go))
    )
    thread.join()
    assert gone.exists()
    assert runs.read_text() == "run\n"
    assert "connection lost: " in capfd.readouterr().err


def test_a_lost_answer_does_not_start_a_job_twice(connection: Connection, folder: str) -> None:
    command = shell("echo run >>runs; sleep 0.2")
    start_job(connection, folder, "once", command)
    run_job(connection, folder, "once", command)
    assert Path(folder, "jobs/once/runs").read_text() == "run\n"


def test_a_connection_that_is_lost_for_good(board: sshd.Board, capfd: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        for _ in sshd.until():
            if list(board.temporary.glob("*/jobs/long/pid")):
                board.stop()
                return

    def work() -> None:
        with open_connection(board.address, SHORT) as connection, remote_folder(connection, 1) as folder:
            run_job(connection, folder, "long", ["sleep", "600"])

    thread = meanwhile(stop)
    with pytest.raises(ConnectionLostError, match=r"^given up after 1 s: .*refuses connections on port"):
        work()
    thread.join()
    # The name that was told is enough to remove it later.
    (left,) = board.temporary.iterdir()
    assert f"{left.name} may be left in a temporary folder of board" in capfd.readouterr().err
    board.start()
    with open_connection(board.address) as connection:
        connection.ask("remove", left.name)
    assert board.leftovers() == []


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_patience_begins_with_the_first_loss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock, losses = Clock(), iter([1000.0, 5.0, 5.0])
    monkeypatch.setattr(connection_module, "time", clock)
    connection = Connection(SshAddress("pi"), tmp_path / "s", Patience(total=120.0), quiet=True)
    connection._reached = True

    def attempt() -> str:
        for seconds in losses:
            clock.sleep(seconds)
            raise ConnectionLostError("cut")
        return "there"

    assert connection._insist(attempt, connection.patience) == "there"
    losses = iter([1000.0] + [1.0] * 1000)
    begun = clock.now
    with pytest.raises(ConnectionLostError, match=r"^given up after 120 s: cut$"):
        connection._insist(attempt, connection.patience)
    assert 1120.0 <= clock.now - begun < 1125.0


def test_a_board_that_restarts_has_lost_the_job(connection: Connection, folder: str) -> None:
    def end() -> None:
        pid = Path(folder, "jobs/lost/pid")
        appears(pid)
        os.killpg(int(pid.read_text()), signal.SIGKILL)

    thread = meanwhile(end)
    with pytest.raises(EdgeError, match="the job on board was cut off without a word: was it restarted"):
        run_job(connection, folder, "lost", ["sleep", "600"])
    thread.join()


def test_our_folder_is_gone(connection: Connection, folder: str) -> None:
    Path(folder).rename(f"{folder}-away")
    with pytest.raises(EdgeError, match="our folder on board is gone"):
        run_job(connection, folder, "a", ["true"])
    Path(f"{folder}-away").rename(folder)


def test_a_job_that_finds_the_disk_full(board: sshd.Board, connection: Connection, folder: str) -> None:
    with pytest.raises(DeviceError, match=r"the disk of board is full .*free some space there"):
        run_job(connection, folder, "a", shell("echo cp: x: No space left on device >&2; echo sorry >&2; exit 1"))
    board.program("df", "echo header; echo disk 1000 1000 7 100% /")
    with pytest.raises(DeviceError, match=r"is full \(7 KiB left\)"):
        run_job(connection, folder, "b", shell("exit 1"))


def test_nothing_that_a_job_leaves_behind_goes_on(connection: Connection, folder: str) -> None:
    run_job(connection, folder, "parent", shell('sh -c "exec sleep 599" & echo $! >child'))
    child = int(Path(folder, "jobs/parent/child").read_text())
    for _ in sshd.until():
        if "sleep 599" not in dict(sshd.processes()).get(child, ""):
            return
