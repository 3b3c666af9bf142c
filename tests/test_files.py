"""Files and folders are whole or not there: after errors, Ctrl-C and a full disk alike."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge import files
from ddtasnet_edge.errors import EdgeError

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A bundle that is already there."""
    target = tmp_path / "out" / "model.edge"
    target.mkdir(parents=True)
    (target / "graph").write_text("old")
    return target


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_half(target: Path, error: BaseException) -> None:
    """Begin to write a folder; fail."""
    with files.writing_folder(target, replace=True) as folder:
        (folder / "graph").write_text("half")
        raise error


def on_call(number: int, error: BaseException) -> Callable[[Any, Any], None]:
    """`os.replace` that raises on its n-th call."""
    calls, replace = iter(range(1, 100)), os.replace

    def replacement(source: Any, destination: Any) -> None:
        if next(calls) == number:
            raise error
        replace(source, destination)

    return replacement


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "model.edge"
    with files.writing_folder(target, replace=False) as folder:
        (folder / "graph").write_text("new")
        assert folder.parent == target.parent, "a rename must not cross file systems"
        assert not target.exists()
    assert content(target) == {"graph": "new"}
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o755


def test_nothing_is_overwritten_without_replace(old: Path) -> None:
    with (
        pytest.raises(EdgeError, match=r"exists already; choose another --out or replace it with --force"),
        files.writing_folder(old, replace=False),
    ):
        pytest.fail("the block must not run")
    assert content(old) == {"graph": "old"}


def test_replace_swaps_the_whole_folder(old: Path) -> None:
    with files.writing_folder(old, replace=True) as folder:
        (folder / "other").write_text("new")
        assert content(old) == {"graph": "old"}
    assert content(old) == {"other": "new"}
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ValueError("bug"), EdgeError("refused"), SystemExit(1)], ids=repr
)
def test_an_error_in_the_block_leaves_no_trace(old: Path, error: BaseException) -> None:
    fresh = old.parent / "fresh.edge"
    for target in (old, fresh):
        with pytest.raises(type(error)):
            write_half(target, error)
    assert content(old) == {"graph": "old"}
    assert list(old.parent.iterdir()) == [old]


def test_a_full_disk_in_the_block_is_one_line(old: Path) -> None:
    with pytest.raises(EdgeError, match=r"cannot write .*\.edge: No space left on device; free space") as caught:
        write_half(old, NO_SPACE)
    assert "\n" not in str(caught.value)
    assert content(old) == {"graph": "old"}
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(1, NO_SPACE, id="moving the old away"),
        pytest.param(2, NO_SPACE, id="moving the new in"),
        pytest.param(1, KeyboardInterrupt(), id="Ctrl-C before"),
        pytest.param(2, KeyboardInterrupt(), id="Ctrl-C between"),
    ],
)
def test_an_error_while_swapping_puts_the_old_one_back(
    old: Path, call: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", on_call(call, error))
    with pytest.raises((EdgeError, KeyboardInterrupt)), files.writing_folder(old, replace=True) as folder:
        (folder / "graph").write_text("new")
    assert content(old) == {"graph": "old"}
    assert list(old.parent.iterdir()) == [old]


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(EdgeError, match=r"cannot write .*choose another place"),
        files.writing_folder(tmp_path / "file" / "model.edge", replace=False),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(EdgeError, match="cannot write"):
        files.write_text(tmp_path / "file" / "report.json", "{}")


def test_an_unwritable_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission bits do not stop a superuser, so the refusal is played."""

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkdtemp", denied)
    with (
        pytest.raises(EdgeError, match="Permission denied"),
        files.writing_folder(tmp_path / "model.edge", replace=False),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(EdgeError, match="Permission denied"):
        files.write_text(tmp_path / "report.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_text_is_written_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    files.write_text(path, "first")
    files.write_text(path, "Größe\n")
    assert path.read_bytes() == "Größe\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["write", "rename", "Ctrl-C"])
def test_text_that_cannot_be_written_leaves_the_old(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    if step == "write":

        def half(self: Path, _: bytes) -> None:
            self.touch()
            raise NO_SPACE

        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        error = KeyboardInterrupt() if step == "Ctrl-C" else NO_SPACE
        monkeypatch.setattr(os, "replace", on_call(1, error))
    expected = KeyboardInterrupt if step == "Ctrl-C" else EdgeError
    with pytest.raises(expected, match=None if step == "Ctrl-C" else "No space left on device"):
        files.write_text(path, "new")
    assert content(tmp_path) == {"report.json": "old"}


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_around_the_block_size(size: int, tmp_path: Path) -> None:
    data = b"ab" * (size // 2) + b"c" * (size % 2)
    (tmp_path / "file").write_bytes(data)
    assert files.sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()
