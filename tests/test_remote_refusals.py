"""No connection: the real ssh against a real sshd, and one line for each reason."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.connection import OPTIONS, open_connection
from ddtasnet_edge.benchmarks.remote.refusals import ConnectionLostError, LoginRefusedError, full_disk, refusal
from ddtasnet_edge.errors import EdgeError, MissingDependencyError
from tests import sshd


def refused(address: SshAddress, kind: type[EdgeError]) -> str:
    """The line with which the first question fails, without another try."""
    with open_connection(address) as connection, pytest.raises(kind) as error:
        connection.ask("look")
    (line,) = str(error.value).splitlines()
    return line


def configured(board: sshd.Board, *lines: str) -> SshAddress:
    """The board's address with lines of configuration that go before its own."""
    config = board.folder / "other_config"
    config.write_text("\n".join([*lines, (board.folder / "ssh_config").read_text()]))
    return replace(board.address, config=config)


def test_a_name_that_nobody_knows(board: sshd.Board) -> None:
    line = refused(configured(board, "HostName no-such-board.invalid"), ConnectionLostError)
    assert line.startswith("nothing is known of a host 'no-such-board.invalid' (")
    assert "check the spelling" in line


def test_a_port_that_nobody_listens_on(board: sshd.Board) -> None:
    port = sshd.free_port()
    line = refused(replace(board.address, port=port), ConnectionLostError)
    assert f"refuses connections on port {port}; start its ssh server" in line


def test_no_key_at_all(board: sshd.Board) -> None:
    (board.folder / "user_key").unlink()
    line = refused(board.address, LoginRefusedError)
    assert line.startswith("board let nobody in: it accepts publickey, and ssh had nothing that fits")
    assert line.endswith("check the user, give --identity KEY, or run  ssh-copy-id board")


def test_the_right_key_is_given_by_hand(board: sshd.Board) -> None:
    kept = (board.folder / "user_key").rename(board.folder / "kept_key")
    with open_connection(replace(board.address, identity=kept)) as connection:
        assert "machine=" in connection.ask("look")


def test_a_host_key_that_nobody_confirmed(board: sshd.Board) -> None:
    (board.folder / "known_hosts").write_text("")
    line = refused(board.address, LoginRefusedError)
    assert line.startswith("this machine does not know the host key of board yet; run  ssh -F ")
    assert (board.folder / "known_hosts").read_text() == ""


def test_a_host_key_that_changed(board: sshd.Board) -> None:
    known = board.folder / "known_hosts"
    known.write_text(f"{sshd.HOST} {sshd.make_key(board.folder / 'other_key')}\n")
    line = refused(board.address, LoginRefusedError)
    assert line.startswith("the host key of board is not the one that this machine knows")
    assert f"ssh-keygen -f {known} -R 'board'" in line
    # The advice works: without the old key the board is merely unknown.
    subprocess.run(["ssh-keygen", "-f", known, "-R", "board"], check=True, capture_output=True)
    assert "does not know the host key" in refused(board.address, LoginRefusedError)


def test_a_configuration_that_ssh_does_not_take(board: sshd.Board) -> None:
    line = refused(configured(board, "Colour blue"), LoginRefusedError)
    assert "Bad configuration option: colour; correct that file" in line


@pytest.mark.parametrize("absent", ["ssh", "scp"])
def test_no_ssh_here(board: sshd.Board, absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {"ssh", "scp"} - {absent}:
        board.program(name, "true")
    monkeypatch.setenv("PATH", str(board.bin))
    with (
        pytest.raises(MissingDependencyError, match=f"needs {absent}, .*sudo apt install openssh-client"),
        open_connection(board.address),
    ):
        pass


def test_host_keys_are_always_checked_and_nothing_is_asked_for_us() -> None:
    assert not {"StrictHostKeyChecking", "UserKnownHostsFile", "BatchMode", "PasswordAuthentication"} & set(OPTIONS)


@pytest.mark.parametrize("reason", ["Connection timed out", "No route to host", "Network is unreachable"])
def test_a_board_that_is_off(reason: str) -> None:
    said = f"ssh: connect to host pi port 22: {reason}\n"
    assert str(refusal(SshAddress("me@pi"), said)).startswith(f"me@pi does not answer ({reason}); check that it is on")


def test_a_reason_that_is_new_to_us_is_shown() -> None:
    error = refusal(SshAddress("pi"), "kex_exchange_identification: Connection closed by remote host\n")
    assert "(kex_exchange_identification: Connection closed by remote host)" in str(error)
    assert "(ssh said nothing)" in str(refusal(SshAddress("pi"), ""))


def test_a_full_disk_is_known_by_its_room_and_by_its_words() -> None:
    assert full_disk("pi", "all is well") is None
    assert full_disk("pi", "all is well", 5000) is None
    assert "the disk of pi is full (3 KiB left); free some space" in str(full_disk("pi", "", 3))
    assert "the disk of pi is full; free some space" in str(full_disk("pi", "tar: x: No space left on device"))
