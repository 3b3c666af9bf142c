"""The command `ddtasnet-train`: a run, resuming it, and one line for everything that is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ddtasnet_edge.models.checkpoint import load_checkpoint, save_checkpoint
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.models.source import find_model
from ddtasnet_edge.training import allocator, cli
from ddtasnet_edge.training.trainer import BEST, LAST, SNAPSHOT
from tests.small import small_config
from tests.songbook import write_songs

QUICK = ("--batch", "1", "--segments", "1", "--segment-hops", "32", "--threads", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting lasts as long as its process, which here has other tests to run."""
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: None)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(small_config().to_dict()))
    return path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that exits with 2."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in said.err
    return lines[-1]


def test_a_run_and_its_report(songs: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "run", tmp_path / "report.json"
    arguments = ["--config", str(config), "--songs", str(songs), "--out", str(out), "--steps", "4", *QUICK]
    assert cli.main([*arguments, "--json", str(report)]) == 0
    said = capsys.readouterr()
    assert "mine: 0.01 M weights on cpu in float32; 3 tracks (0 min) to train on, 1 to validate" in said.err
    assert "mean uSDR" in said.out
    assert str(out / BEST) in said.out
    assert [row["step"] for row in json.loads(report.read_text())] == [1, 2, 3, 4]
    assert load_checkpoint(out / LAST).config == small_config()


def test_a_run_is_never_written_over(
    songs: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config), "--songs", str(songs), "--out", str(tmp_path / "run"), "--steps", "1", *QUICK]
    assert cli.main([*arguments, "--quiet"]) == 0
    before = (tmp_path / "run" / SNAPSHOT).read_bytes()
    assert "holds a run already; go on with --resume, or choose another --out" in refused(arguments, capsys)
    assert "was trained with settings.seed 0, not 1" in refused([*arguments, "--resume", "--seed", "1"], capsys)
    assert (tmp_path / "run" / SNAPSHOT).read_bytes() == before


def test_json_on_stdout_is_json_alone(
    songs: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config), "--songs", str(songs), "--out", str(tmp_path / "run"), "--steps", "2", *QUICK]
    assert cli.main([*arguments, "--json", "-"]) == 0
    assert [row["step"] for row in json.loads(capsys.readouterr().out)] == [1, 2]


def test_what_cannot_be_resumed_is_refused_before_any_work(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistyped = tmp_path / "rum"
    arguments = ["--config", str(config), "--out", str(mistyped), "--steps", "1", "--resume", *QUICK]
    assert f"no run to resume: {mistyped / SNAPSHOT} is missing" in refused(arguments, capsys)
    assert not mistyped.exists()


def test_starting_from_a_checkpoint(songs: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    save_checkpoint(create_model(small_config(), 7), first)
    run = ["--from", str(first), "--songs", str(songs), "--out", str(tmp_path / "run"), "--steps", "1", *QUICK]
    assert cli.main([*run, "--rate", "1e-9", "--quiet"]) == 0
    start, end = load_checkpoint(first).state_dict(), load_checkpoint(tmp_path / "run" / LAST).state_dict()
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in start)


def test_starting_from_what_is_shipped(songs: Path, tmp_path: Path) -> None:
    run = ["--from", "tiny", "--songs", str(songs), "--out", str(tmp_path / "run"), "--steps", "1", *QUICK]
    assert cli.main([*run, "--rate", "1e-9", "--quiet"]) == 0
    start, end = find_model("tiny").model.state_dict(), load_checkpoint(tmp_path / "run" / LAST).state_dict()
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "tinny", "--steps", "1"], "unknown preset 'tinny': .*did you mean 'tiny'"),
        (["--preset", "tiny", "--config", "a.json", "--steps", "1"], "--preset and --config each name a model"),
        (["--config", "missing.json", "--steps", "1"], "cannot read model configuration missing.json"),
        (["--from", "missing.safetensors", "--steps", "1"], "no checkpoint file at missing.safetensors"),
        (["--from", "base", "--steps", "1"], "--from names trained weights, preset base, random weights .* is not"),
        (["--steps", "0"], "steps is 0: expected at least 1"),
        (["--minutes", "-1"], "minutes is -1.0: expected more than 0"),
        (["--steps", "1", "--threads", "0"], "threads is 0: expected at least 1"),
        (["--steps", "1", "--songs", "nowhere"], "no songs in nowhere/train; make some: ddtasnet-songs"),
        (["--steps", "1", "--musdb", "nowhere"], "no folder nowhere/train; a MUSDB18 root holds"),
        (["--steps", "1", "--resume"], "no run to resume"),
        (["--steps", "1", "--device", "cuda"], "no CUDA device is usable by this PyTorch; give --device cpu"),
    ],
)
def test_what_cannot_be_run(
    arguments: list[str],
    message: str,
    songs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if "--songs" not in arguments and "--musdb" not in arguments:
        arguments = [*arguments, "--songs", str(songs)]
    assert re.search(message, refused(arguments, capsys))


def test_neither_steps_nor_time_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--preset", "tiny"])
    assert "one of the arguments --hours --minutes --steps is required" in capsys.readouterr().err


def test_ctrl_c_leaves_a_run_to_go_on_with(songs: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = "import sys; from ddtasnet_edge.training.cli import main; sys.exit(main())"
    options = ["--config", str(config), "--songs", str(songs), "--out", str(run), "--steps", "100000", *QUICK]
    command = [sys.executable, "-c", code, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    # The line that describes the run comes just before its first step.
    assert process.stderr is not None
    assert "to train on" in process.stderr.readline()
    time.sleep(3.0)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert "go on with the same command and --resume" in said
    assert "Traceback" not in said
    assert (run / SNAPSHOT).is_file()
    assert not list(run.glob(".*"))
