"""The README's commands and examples, run as a reader would run them."""

from __future__ import annotations

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

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = ("ddtasnet-export", "ddtasnet-bench", "ddtasnet-run")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


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
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith(COMMANDS)]
    assert {shlex.split(line)[0] for line in lines} == set(COMMANDS)
    for line in lines:
        done = run(shlex.split(line), folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert sorted(path.name for path in (folder / "stems").iterdir()) == [
        "bass.wav", "drums.wav", "other.wav", "vocals.wav",
    ]  # fmt: skip


def test_the_python_example_works(folder: Path) -> None:
    (example,) = blocks("python")
    done = run([sys.executable, "-c", example], folder)
    assert done.returncode == 0, done.stderr


def test_the_make_commands_exist() -> None:
    named = set(re.findall(r"^make (\w+)", "".join(blocks("sh")), flags=re.MULTILINE))
    assert named == {"demo", "test"}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert named <= set(targets)
