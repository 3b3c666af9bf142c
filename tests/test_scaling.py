"""`ddtasnet-bench --scaling`: what is built, what is measured, and what follows for this machine and on paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ddtasnet_edge import compiler
from ddtasnet_edge.benchmarks import cli, scaling_suite, suite
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted, find_or_build
from ddtasnet_edge.benchmarks.scaling import ScalingReport
from ddtasnet_edge.benchmarks.scaling_report import limits, measured, notes, on_paper, paper_limits
from ddtasnet_edge.benchmarks.scaling_suite import RECIPES, run_scaling
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.benchmarks.worker import Job, Round
from ddtasnet_edge.bundle import Bundle, Manifest, read_bundle, record_files, write_manifest
from ddtasnet_edge.config import DDTasNetConfig, preset, read_config
from ddtasnet_edge.quantize import RECIPES as ALL_RECIPES
from ddtasnet_edge.quantize import Recipe
from ddtasnet_edge.spec import FloatArray, StreamSpec
from tests.test_cli_bench import refused

PARAMETERS = {"tiny": 1_000_000, "small": 4_000_000, "base": 30_000_000, "large": 100_000_000}
BYTES = {"float32": 4.0, "dynamic_wi8_afp32": 1.0, "dynamic_wi4b64_wi8_afp32": 0.5}
RATE = 44100


def write_bundle(folder: Path, wanted: Wanted) -> None:
    """A bundle that reads well and that no runtime could open; as many bytes as parameters and recipe make."""
    path = Path(wanted.model)
    config: DDTasNetConfig = read_config(path) if path.suffix else preset(wanted.model)
    parameters = PARAMETERS[path.stem.split("-")[0]]
    (folder / "graph.bin").write_bytes(wanted.name.encode())
    hop, window = config.hop_length, config.window_length
    manifest = Manifest(
        target=wanted.target,
        recipe=wanted.recipe,
        model={"name": path.stem, "weights": "random", "parameters": parameters, "config": config.to_dict()},
        spec=StreamSpec(RATE, 2, config.sources, window, hop, window - hop, ()),
        # TFLite reads a tenth less, so that it matters which target the estimates are of.
        graph={"weight_bytes": int(parameters * BYTES[wanted.recipe] * (0.9 if wanted.target == "tflite" else 1.0))},
        files=record_files(folder, ("graph.bin",)),
        tools={},
        licence={},
    )
    write_manifest(folder, manifest)


def fake_build(wanted: Sequence[Wanted], folder: Path, begin: Callable[[str], None]) -> list[Bundle]:
    for each in wanted:
        begin(each.name)
        (folder / each.name).mkdir(parents=True)
        write_bundle(folder / each.name, each)
    return [read_bundle(folder / each.name) for each in wanted]


def fake_worker(job: Job, hops: FloatArray) -> Round:
    """Reads 10 GB/s and computes as long again as it reads; with two threads half as long."""
    elapsed = 2 * job.weight_bytes / 10e9 * 1e6 / job.threads
    times = HopTimes(hops.shape[2] / RATE * 1e6, (elapsed,) * job.hops, elapsed * job.hops)
    return Round("fake 1.0", times, 25_000.0, 30_000.0, 60_000_000, 10e9)


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scaling_suite, "find_or_build", fake_build)
    monkeypatch.setattr(suite, "run_worker", fake_worker)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.chdir(tmp_path)


def scaled(*presets: str) -> ScalingReport:
    return run_scaling(presets, Options(hops=6), Path("cache"), quiet=True)


# What is compared


def test_every_preset_meets_every_target_recipe_and_number_of_threads() -> None:
    found = {(case.model.name, case.target, case.recipe, case.threads) for case in scaled("tiny", "base").cases()}
    assert found == {
        (model, target, recipe, threads)
        for model in ("tiny", "base")
        for target in ("onnx", "openvino", "tflite")
        for recipe in RECIPES
        for threads in (1, 2)
    }


def test_one_preset_has_short_hops_too_and_every_case_its_own_budget() -> None:
    budgets = {case.model.name: case.model.budget_us for case in scaled("tiny", "small").cases()}
    assert budgets == {
        "tiny": 512 / RATE * 1e6,
        "small": 512 / RATE * 1e6,
        "small-hop256": 256 / RATE * 1e6,
        "small-hop128": 128 / RATE * 1e6,
    }


def test_a_single_core_runs_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert {case.threads for case in scaled("tiny").cases()} == {1}


def test_the_recipes_are_one_of_each_width() -> None:
    assert [ALL_RECIPES[recipe].precision.weight_bits for recipe in RECIPES] == [32, 8, 4]


# What follows


def test_in_time_means_within_the_hop_budget() -> None:
    cases = {
        (case.model.name, case.recipe, case.threads): case for case in scaled("large").cases() if case.target == "onnx"
    }
    # 400 MB twice at 10 GB/s are 80 ms, 40 with two threads; 50 MB are 10 ms of the 11.6 that a hop lasts.
    assert cases["large", "float32", 1].p50_us == pytest.approx(80_000)
    assert cases["large", "float32", 1].floor_us == pytest.approx(40_000)
    assert not cases["large", "float32", 2].in_time
    assert not cases["large", "dynamic_wi8_afp32", 1].in_time
    assert cases["large", "dynamic_wi8_afp32", 2].in_time
    assert cases["large", "dynamic_wi4b64_wi8_afp32", 1].in_time
    assert cases["large", "float32", 1].misses == 6
    assert cases["large", "float32", 1].rtf == pytest.approx(0.08 / (512 / RATE))


def test_the_limits_name_what_is_in_time_here() -> None:
    rows = {tuple(row[:3]): row[3:] for row in limits(scaled("tiny", "small", "base", "large")).rows}
    # small at 3.2 ms: within hops of 512 and 256 samples, not within the 2.9 ms of 128.
    assert rows["onnx", "float32", "1"] == ["tiny, small", "small: 512, 256"]
    assert rows["onnx", "dynamic_wi8_afp32", "1"] == ["tiny, small, base", "small: 512, 256, 128"]
    assert rows["onnx", "dynamic_wi8_afp32", "2"] == ["tiny, small, base, large", "small: 512, 256, 128"]


def test_the_limits_of_one_preset_without_short_hops() -> None:
    rows = {tuple(row[:3]): row[3:] for row in limits(scaled("large")).rows}
    assert rows["onnx", "float32", "1"] == ["none", "-"]


def test_estimates_are_bytes_over_bandwidth_of_the_target_that_reads_fewest() -> None:
    found = {(each.model.name, each.recipe, each.bandwidth): each for each in scaled("base").estimates()}
    assert found["base", "float32", 2e9].read_us == pytest.approx(0.9 * 120e6 / 2e9 * 1e6)
    assert not found["base", "float32", 4e9].in_time
    assert found["base", "float32", 10e9].in_time  # 10.8 ms of 11.6
    assert found["base", "dynamic_wi8_afp32", 2e9].read_us == pytest.approx(13_500)
    assert found["base", "dynamic_wi4b64_wi8_afp32", 2e9].in_time


def test_the_paper_says_that_it_is_an_estimate_and_what_is_late() -> None:
    report = scaled("small", "base")
    assert "estimate" in on_paper(report).title
    assert "estimate" in paper_limits(report).title
    (row,) = [row for row in on_paper(report).rows if row[0] == "base" and row[2] == "float32"]
    assert row[3:] == ["108.0", "11.610", "54.000 late", "27.000 late", "10.800"]
    rows = {tuple(row[:2]): row[2:] for row in paper_limits(report).rows}
    assert rows["float32", "2 GB/s"] == ["small", "small: 512"]
    assert rows["float32", "10 GB/s"] == ["small, base", "small: 512, 256, 128"]


def test_random_weights_are_called_random() -> None:
    assert any("base 30.0 M (random)" in note for note in notes(scaled("base")))


def test_a_report_survives_json() -> None:
    report = scaled("tiny")
    values = json.loads(json.dumps(report.to_dict()))
    assert ScalingReport.from_dict(values) == report
    assert values["cases"][0]["in_time"] is True
    assert len(values["estimates"]) == 9


# The command


def test_the_command_prints_the_tables_and_writes_the_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["--scaling", "--model", "tiny,small", "--hops", "9", "--json", "scaling.json"]) == 0
    out = capsys.readouterr().out
    assert "9 hops per bundle in 3 interleaved rounds" in out
    assert "compute is not in it" in out
    report = ScalingReport.from_dict(json.loads(Path("scaling.json").read_text()))
    for row in measured(report).rows:
        assert any(all(cell in line for cell in row) for line in out.splitlines())


def test_an_unknown_preset_is_refused_before_anything_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'small'" in refused(["--scaling", "--model", "tiny,smal"], capsys)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "named"), [(["a.edge"], "bundles"), (["--paced"], "--paced"), (["--threads", "2"], "--threads")]
)
def test_what_scaling_decides_itself_is_refused(
    capsys: pytest.CaptureFixture[str], extra: list[str], named: str
) -> None:
    assert f"--scaling has no use for {named}; leave that out" in refused(["--scaling", *extra], capsys)


def test_a_model_without_a_mode_that_builds_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no use for --model" in refused(["--model", "tiny"], capsys)


# Building


class FakeCompiler:
    """Builds what cannot run; remembers which models were compiled."""

    made: list[str]

    def __init__(self, model: str) -> None:
        self.model = model
        self.made.append(model)

    def build(self, folder: Path, target: str, recipe: Recipe) -> None:
        write_bundle(folder, Wanted(self.model, target, recipe.name))


def test_bundles_are_built_once_and_share_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCompiler.made = []
    monkeypatch.setattr(compiler, "Compiler", FakeCompiler)
    wanted = [Wanted(model, target, "float32") for model in ("tiny", "small") for target in TARGETS]
    begun: list[str] = []
    first = find_or_build(wanted[1:], tmp_path, begun.append)
    assert [bundle.path.name for bundle in first] == [each.name for each in wanted[1:]]
    assert FakeCompiler.made == ["tiny", "small"]
    assert len(begun) == 5
    again = find_or_build(wanted, tmp_path, begun.append)
    assert again[1:] == first
    assert FakeCompiler.made == ["tiny", "small", "tiny"]
    assert begun[5:] == [f"{wanted[0].name}: building"]
