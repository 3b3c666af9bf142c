"""The wheel that goes to a board: everything but weights, from a checkout as from an install."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from ddtasnet_edge.benchmarks.remote import wheel
from ddtasnet_edge.errors import MissingDependencyError
from tests.test_packaging import shipped_files


def test_it_holds_every_file_of_the_package_but_the_weights(tmp_path: Path) -> None:
    with ZipFile(wheel.make_wheel(tmp_path)) as made:
        names = [name for name in made.namelist() if ".dist-info/" not in name]
    assert len(names) == len(set(names))
    assert set(names) == {name for name in shipped_files() if "/weights/" not in name}


def test_its_record_tells_size_and_hash_of_every_file(tmp_path: Path) -> None:
    with ZipFile(wheel.make_wheel(tmp_path)) as made:
        (record,) = [name for name in made.namelist() if name.endswith("/RECORD")]
        rows = {name: (digest, size) for name, digest, size in csv.reader(made.read(record).decode().splitlines())}
        assert rows.keys() == set(made.namelist())
        assert rows.pop(record) == ("", "")
        for name, (digest, size) in rows.items():
            content = made.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={expected}", len(content))


def test_an_installed_package_without_a_checkout_makes_the_same_wheel(tmp_path: Path) -> None:
    ours = wheel.make_wheel(tmp_path)
    site, again = tmp_path / "site", tmp_path / "again"
    again.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, ours]
    subprocess.run(install, check=True)
    code = f"""
from pathlib import Path
from ddtasnet_edge.benchmarks.remote import wheel
wheel.make_wheel(Path({str(again)!r}))
"""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    with ZipFile(ours) as first, ZipFile(again / ours.name) as second:
        assert [(name, first.read(name)) for name in sorted(first.namelist())] == [
            (name, second.read(name)) for name in sorted(second.namelist())
        ]


def test_the_same_files_make_the_same_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for name, year in (("early", 2025), ("late", 2026)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(zipfile.time, "localtime", lambda *_, now=(year, 7, 1, 12, 0, 0, 0, 0, 0): now)
        made.append(wheel.make_wheel(tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_without_an_install_nobody_knows_its_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(MissingDependencyError, match=r"not installed here; pip install -e \."):
        wheel.make_wheel(tmp_path)
