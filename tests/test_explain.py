"""`ddtasnet-export --explain` and `ddtasnet-bench --passes`: what passes save, counted and timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks import cli as bench_cli
from ddtasnet_edge.benchmarks import pass_suite
from ddtasnet_edge.bundle import read_bundle
from ddtasnet_edge.compiler import Compiler
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.export.cli import main
from ddtasnet_edge.export.explain import Explained, explain
from ddtasnet_edge.export.passes import passes_of
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.quantize import INT8, recipe_named
from tests.small import UNITS, small_config

# Of float32.
BYTES = 4


@pytest.fixture(scope="module")
def model() -> DDTasNet:
    return create_model(small_config()).eval()


@pytest.fixture(scope="module")
def explained(model: DDTasNet) -> dict[str, Explained]:
    return {each.name: each for each in explain(model, "onnx", lambda _: None)}


def test_every_pass_of_the_target_is_explained(explained: dict[str, Explained]) -> None:
    assert list(explained) == [each.name for each in passes_of("onnx")]
    with_all = {each.with_it for each in explained.values()}
    assert len(with_all) == 1
    assert all(each.without != each.with_it for each in explained.values())


def test_streams_apart_read_their_weights_twice(model: DDTasNet, explained: dict[str, Explained]) -> None:
    shared = sum(
        weight.numel() for name, weight in model.named_parameters() if name.startswith("spectral_") and weight.ndim == 2
    )
    each = explained["stacked streams"]
    assert each.without.weights - each.with_it.weights == BYTES * shared
    assert each.without.operators > each.with_it.operators


def test_products_apart_are_more_operators_and_the_same_weights(explained: dict[str, Explained]) -> None:
    for name in ("stacked gates", "stacked maps"):
        assert explained[name].without.operators > explained[name].with_it.operators
        assert explained[name].without.weights == explained[name].with_it.weights


def test_a_ring_writes_one_row_of_three(explained: dict[str, Explained]) -> None:
    # Keys and values of three streams and one number that says that a row is there.
    row = 3 * (2 * UNITS + 1)
    each = explained["ring attention"]
    assert each.without.state - each.with_it.state == BYTES * 2 * row


def test_the_command_prints_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "few.json").write_text(json.dumps(small_config().to_dict()))
    arguments = ["--model", str(tmp_path / "few.json"), "--target", "onnx", "--explain", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json", str(tmp_path / "passes.json")]) == 0
    out = capsys.readouterr().out
    written = json.loads((tmp_path / "passes.json").read_text())["passes"]
    for each in written:
        assert f"{each['without']['operators']} -> {each['with_it']['operators']}" in out
    assert {each["name"] for each in written} == {each.name for each in passes_of("onnx")}
    assert not (tmp_path / "out").exists()


def test_passes_are_timed_against_the_step_with_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_suite, "TARGETS", ("onnx",))
    (tmp_path / "few.json").write_text(json.dumps(small_config().to_dict()))
    arguments = ["--passes", "--model", str(tmp_path / "few.json"), "--hops", "3"]
    assert bench_cli.main([*arguments, "--json", str(tmp_path / "gains.json")]) == 0
    values = json.loads((tmp_path / "gains.json").read_text())
    rows = values["rows"]
    assert [row["pass"] for row in rows] == [*(each.name for each in passes_of("onnx")), "nothing"]
    assert len({row["on_us"] for row in rows}) == 1
    assert all(row["off_us"] > 0.0 for row in rows)
    assert all(0.0 < row["low"] <= row["gain"] <= row["high"] for row in rows)
    assert {row["target"] for row in rows} == {"onnx"}
    report = pass_suite.PassReport.from_dict(values)
    assert json.loads(json.dumps(report.to_dict())) == values
    assert report.model == str(tmp_path / "few.json")
    out = capsys.readouterr().out
    assert all(fact in out for fact in ("stacked streams", "(device host)", "in turn in one process", "onnxruntime"))


def test_each_step_that_is_timed_lacks_one_pass(tmp_path: Path) -> None:
    (tmp_path / "few.json").write_text(json.dumps(small_config().to_dict()))
    bundles = pass_suite._build(str(tmp_path / "few.json"), "onnx", "float32", tmp_path, lambda _: None)
    names = [each.name for each in passes_of("onnx")]
    lacking = [[name for name in names if name not in bundle.manifest.graph["passes"]] for bundle in bundles.values()]
    assert lacking == [[], *([name] for name in names)]


def test_a_gain_is_the_median_of_the_ratios_within_rounds() -> None:
    run = pass_suite.PassRun("onnx", "fake", ("one",), ((10.0, 20.0, 10.0), (20.0, 60.0, 10.0)))
    (gain,) = run.gains()
    assert (gain.off_us, gain.on_us) == (20.0, 10.0)
    assert (gain.low, gain.gain, gain.high) == (1.5, 2.0, 2.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--target", "torch"], "--explain is about onnx, openvino, tflite; torch has no passes"),
        (["--target", "onnx", "--int8"], "--explain builds no bundle and has no use for --int8; leave that out"),
        (["--target", "onnx", "--force", "--songs", "songs"], "no use for --force, --songs"),
    ],
)
def test_what_cannot_be_explained(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*given, "--explain"]) == 2
    assert said in capsys.readouterr().err


def test_a_step_without_a_pass_that_changes_products_is_float(tmp_path: Path) -> None:
    compiler = Compiler("tiny", without=passes_of("onnx")[0])
    with pytest.raises(ConfigError, match="build float32"):
        compiler.build(tmp_path, "onnx", INT8)


def test_a_step_without_a_pass_that_keeps_products_can_be_rounded(tmp_path: Path) -> None:
    (ring,) = (each for each in passes_of("onnx") if each.name == "ring attention")
    Compiler("tiny", without=ring).build(tmp_path, "onnx", recipe_named("dynamic_wi8_afp32"))
    graph = read_bundle(tmp_path).manifest.graph
    assert "ring attention" not in graph["passes"]
    assert {product["dtype"] for product in graph["products"]} == {"float32", "int8"}
