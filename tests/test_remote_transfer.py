"""Files arrive whole, over cables that do not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.remote.connection import Connection, open_connection
from ddtasnet_edge.benchmarks.remote.place import SshPlace
from ddtasnet_edge.benchmarks.remote.space import remote_folder
from ddtasnet_edge.benchmarks.remote.transfer import ATTEMPTS, get, put
from ddtasnet_edge.errors import EdgeError
from tests import sshd
from tests.cable import Cable

SIZE = 3_000_000


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file that no compression makes smaller."""
    path = tmp_path / "big"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def scp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a scp of ours in front of the real one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def stand_in(folder: Path, text: str) -> None:
    """What scp does instead; in $real the real one, in $calls how often it was called before."""
    count = f"calls=$(cat {folder}/calls 2>/dev/null || echo 0); echo $((calls + 1)) >{folder}/calls"
    (folder / "scp").write_text(f"#!/bin/sh\nreal={shutil.which('scp')}\n{count}\n{text}\n")
    (folder / "scp").chmod(0o755)


@pytest.mark.parametrize("direction", ["there", "back"])
def test_a_copy_that_is_cut_is_made_again(board: sshd.Board, big: Path, tmp_path: Path, direction: str) -> None:
    cable = Cable(board.port, there=direction == "there")
    sshd.point_client(board, cable.port)
    with open_connection(board.address, sshd.QUICK) as connection, remote_folder(connection, 1) as folder:
        there, back = f"{folder}/made/big", tmp_path / "back"
        if direction == "back":
            shutil.copy(big, there)
        cable.cut_after = SIZE // 2
        put(connection, big, there) if direction == "there" else get(connection, there, back)
        arrived = Path(there) if direction == "there" else back
        assert arrived.read_bytes() == big.read_bytes()
    assert cable.cuts == 1
    cable.close()
    assert board.leftovers() == []


def test_a_copy_that_was_altered_on_the_way_is_made_again(connection: Connection, big: Path, scp: Path) -> None:
    altered = big.with_name("altered")
    altered.write_bytes(b"\0" + big.read_bytes()[1:])
    stand_in(scp, 'if [ "$calls" = 1 ]; then exec "$real" "$@"; fi')
    with remote_folder(connection, 1) as folder:
        shutil.copy(altered, f"{folder}/made/big")
        put(connection, big, f"{folder}/made/big")
        assert Path(f"{folder}/made/big").read_bytes() == big.read_bytes()
    assert (scp / "calls").read_text().strip() == "2"


def test_a_copy_that_never_arrives_is_given_up(connection: Connection, big: Path, scp: Path, tmp_path: Path) -> None:
    stand_in(scp, "echo subsystem request failed on channel 0 >&2; exit 1")
    says = rf"copied {ATTEMPTS} times and never arrived whole \(subsystem request failed on channel 0\); check"
    with remote_folder(connection, 1) as folder:
        with pytest.raises(EdgeError, match=says):
            put(connection, big, f"{folder}/made/big")
        shutil.copy(big, f"{folder}/made/big")
        with pytest.raises(EdgeError, match=says):
            get(connection, f"{folder}/made/big", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_is_not_there_cannot_be_fetched(connection: Connection, tmp_path: Path) -> None:
    with remote_folder(connection, 1) as folder, pytest.raises(EdgeError, match=r"board has no file .*not written"):
        get(connection, f"{folder}/made/nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["clip.npy", "tiny float.edge", "it's $(odd)*.edge", "-rf", "ünï.npy"])
def test_a_place_gets_files_and_folders_of_any_name(connection: Connection, tmp_path: Path, name: str) -> None:
    source = tmp_path / "source" / name
    source.mkdir(parents=True)
    (source / "graph.bin").write_bytes(bytes(range(256)))
    (source / "deep").mkdir()
    (source / "deep" / "link").symlink_to(source / "graph.bin")
    with remote_folder(connection, 1) as folder:
        place = SshPlace(connection, folder)
        first, second = Path(place.send(source)), Path(place.send(source / "graph.bin"))
        assert (first / "graph.bin").read_bytes() == (first / "deep" / "link").read_bytes() == bytes(range(256))
        assert not (first / "deep" / "link").is_symlink()
        assert second.read_bytes() == bytes(range(256))
        assert second.name == "graph.bin"
        assert (first.stat().st_uid, first.parent.parent) == (os.getuid(), second.parent.parent)
        made = Path(place.make_path("report.json"))
        made.write_text("{}")
        place.fetch(str(made), tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == "{}"


def test_what_is_not_here_cannot_be_sent(connection: Connection, tmp_path: Path) -> None:
    with remote_folder(connection, 1) as folder, pytest.raises(EdgeError, match=r"there is no .*gone to copy to board"):
        SshPlace(connection, folder).send(tmp_path / "gone")
