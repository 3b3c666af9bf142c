"""The README's commands and examples, run as a reader would run them."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddtasnet_edge.clips import default_clip
from tests.test_packaging import SCRIPTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
USED = ("ddtasnet-export", "ddtasnet-bench", "ddtasnet-run")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The arguments of every command of ours in the shell blocks of `text`."""
    lines = "".join(blocks("sh", text)).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("ddtasnet-")]


def section(title: str) -> str:
    """The text below one heading."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment's scripts first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        arguments, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader stands: a folder with a song."""
    song = np.tile(default_clip(with_stems=False).mix, (1, 2))
    soundfile.write(tmp_path / "song.mp3", song.T, 44100)
    return tmp_path


def test_the_commands_work_one_after_the_other(folder: Path) -> None:
    lines = commands(section("Use"))
    assert {line[0] for line in lines} == set(USED)
    for line in lines:
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert sorted(path.name for path in (folder / "stems").iterdir()) == [
        "bass.wav", "drums.wav", "other.wav", "vocals.wav",
    ]  # fmt: skip


def test_every_command_has_the_options_it_is_shown_with() -> None:
    shown = commands(README)
    assert {line[0] for line in shown} == set(SCRIPTS)
    for program, *arguments in shown:
        module = importlib.import_module(SCRIPTS[program].partition(":")[0])
        module._parser().parse_args(arguments)


def test_the_python_example_works(folder: Path) -> None:
    (example,) = blocks("python")
    done = run([sys.executable, "-c", example], folder)
    assert done.returncode == 0, done.stderr


def test_the_make_commands_exist() -> None:
    named = set(re.findall(r"^make (\w+)", "".join(blocks("sh")), flags=re.MULTILINE))
    assert named == {"demo", "test"}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert named <= set(targets)
