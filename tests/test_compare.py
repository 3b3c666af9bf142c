"""`ddtasnet-bench --compare`: a ratio that grew by more than a tenth fails, a slower machine does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge.benchmarks import bench_step, cli
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.quantize import RECIPES
from tests.test_cli_bench import refused
from tests.test_packaging import PROJECT, ROOT

# The fastest hop in milliseconds, beside a reference of 1 ms.
OLD = {"small-onnx-float32.edge": 2.0, "small-tflite-float32.edge": 1.0}


def entry(bundle: str, ms: float, reference_ms: float = 1.0) -> dict[str, Any]:
    """One benchmark, with the fields that are read and some that are not."""
    return {
        "name": "test_step",
        "extra_info": {"bundle": bundle, "reference_us": reference_ms * 1000, "runtime": "fake 1.0"},
        "stats": {"min": ms / 1000, "median": 1.0},
    }


def bench_file(path: Path, entries: list[dict[str, Any]], cpu: str = "Fast 1") -> str:
    path.write_text(json.dumps({"machine_info": {"cpu": {"brand_raw": cpu}}, "benchmarks": entries}))
    return str(path)


@pytest.fixture
def old(tmp_path: Path) -> str:
    return bench_file(tmp_path / "old.json", [entry(*each) for each in OLD.items()])


def compared(old: str, tmp_path: Path, changes: dict[str, float], cpu: str = "Fast 1", slower: float = 1.0) -> int:
    """Exit code of comparing with a run in which `changes` hold, on a machine that is `slower` times as slow."""
    entries = [entry(bundle, ms * slower, slower) for bundle, ms in (OLD | changes).items()]
    return cli.main(["--compare", old, bench_file(tmp_path / "new.json", entries, cpu)])


def test_the_same_run_passes(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--compare", old, old]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "+0.0 %" in said.out
    assert "both on Fast 1" in said.out


@pytest.mark.parametrize(("ms", "code"), [(2.19, 0), (2.21, 1), (1.0, 0)])
def test_a_tenth_is_allowed(old: str, tmp_path: Path, ms: float, code: int) -> None:
    assert compared(old, tmp_path, {"small-onnx-float32.edge": ms}) == code


def test_each_regression_is_one_line(old: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"small-onnx-float32.edge": 3.0, "small-tflite-float32.edge": 1.25}
    assert compared(old, tmp_path, changes) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "failed: small-onnx-float32.edge is 50.0 % slower, 3.00 times its reference instead of 2.00"
    )
    assert second.startswith("failed: small-tflite-float32.edge is 25.0 % slower")


def test_a_machine_that_is_three_times_as_slow_passes(
    old: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(old, tmp_path, {}, "Slow 2", slower=3.0) == 0
    assert "two machines, Fast 1 and Slow 2" in capsys.readouterr().out


def test_a_regression_on_a_faster_machine_is_found(old: str, tmp_path: Path) -> None:
    assert compared(old, tmp_path, {"small-tflite-float32.edge": 1.5}, "Faster 3", slower=0.2) == 1


def test_one_noisy_turn_of_three_is_no_regression(old: str, tmp_path: Path) -> None:
    turns = [entry(bundle, ms * noise) for noise in (1.0, 5.0, 1.0) for bundle, ms in OLD.items()]
    assert cli.main(["--compare", old, bench_file(tmp_path / "new.json", turns)]) == 0


def test_a_machine_that_changes_its_speed_between_turns_passes(old: str, tmp_path: Path) -> None:
    turns = [entry(bundle, ms * speed, speed) for speed in (0.5, 4.0, 9.0) for bundle, ms in OLD.items()]
    assert cli.main(["--compare", old, bench_file(tmp_path / "new.json", turns)]) == 0


def test_a_bundle_that_was_lost_fails_and_one_that_is_new_does_not(
    old: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = bench_file(tmp_path / "fewer.json", [entry("small-onnx-float32.edge", 2.0)])
    assert cli.main(["--compare", old, fewer]) == 1
    assert capsys.readouterr().err == "failed: small-tflite-float32.edge is in the old file only; measure it again\n"
    assert cli.main(["--compare", fewer, old]) == 0
    assert "small-tflite-float32.edge is new" in capsys.readouterr().out


def test_the_json_has_every_ratio(old: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = bench_file(tmp_path / "new.json", [entry("small-onnx-float32.edge", 3.0)])
    assert cli.main(["--compare", old, new, "--json", "-"]) == 1
    said = capsys.readouterr()
    values = json.loads(said.out)
    (change,) = values["changes"]
    assert change == {"bundle": "small-onnx-float32.edge", "old": 2.0, "new": 3.0, "growth": 0.5}
    assert len(values["failures"]) == len(said.err.splitlines()) == 2


GOOD = entry("a.edge", 1.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "indices must be integers"),
        ("{}", "'benchmarks' is missing"),
        (json.dumps({"benchmarks": [], "machine_info": {"cpu": {}}}), "holds no benchmark"),
        (json.dumps({"benchmarks": [GOOD]}), "'machine_info' is missing"),
        (json.dumps({"benchmarks": [{**GOOD, "extra_info": {}}]}), "'bundle' is missing"),
        (json.dumps({"benchmarks": [{**GOOD, "stats": {}}]}), "'min' is missing"),
        (json.dumps({"benchmarks": [{**GOOD, "stats": {"min": 0.0}}]}), "make no ratio"),
        (json.dumps({"benchmarks": [entry("a.edge", 1.0, 0.0)]}), "make no ratio"),
        (json.dumps({"benchmarks": [{**GOOD, "stats": {"min": "fast"}}]}), "not supported"),
    ],
)
def test_a_malformed_file_is_one_line(
    old: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    for pair in ([old, str(path)], [str(path), old]):
        line = refused(["--compare", *pair], capsys)
        assert f"cannot compare {path}: " in line
        assert reason in line
        assert "pytest benchmarks/bench_step.py" in line


def test_a_file_that_is_not_there_is_one_line(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in refused(["--compare", old, "absent.json"], capsys)


# The suite that makes these files


def test_the_suite_times_every_target_and_recipe_in_turns() -> None:
    in_a_turn = [(each.model, each.target, each.recipe) for each in bench_step.WANTED]
    assert set(in_a_turn) == {
        (model, target, recipe) for model in ("tiny", "small") for target in TARGETS for recipe in RECIPES
    }
    assert len(bench_step.CASES) == bench_step.TURNS * len(in_a_turn)
    assert [case.values[1] for case in bench_step.CASES] == bench_step.WANTED * bench_step.TURNS


def test_a_file_that_the_suite_made_is_what_the_command_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.json"
    one = ["-k", "1-tiny-onnx-float32", "--benchmark-json", str(made), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", bench_step.__file__, *one]
    # A run of its own: pytest-benchmark measures nothing in a worker of pytest-xdist.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert cli.main(["--compare", str(made), str(made)]) == 0
    assert "tiny-onnx-float32.edge" in capsys.readouterr().out
    (benchmark,) = json.loads(made.read_text())["benchmarks"]
    assert benchmark["stats"]["rounds"] == bench_step.HOPS
    # tiny has half a million weights, read as float32 in a time that no machine reaches or misses by far.
    assert 1.0 < benchmark["extra_info"]["reference_us"] < 1e5


def test_the_normal_run_does_not_collect_the_suite() -> None:
    settings = PROJECT["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests"]
    assert "python_files" not in settings
