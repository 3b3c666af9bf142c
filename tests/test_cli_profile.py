"""`ddtasnet-bench --profile`: the tables, the JSON, and one line for everything that can be wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge.benchmarks import cli, profile_suite
from ddtasnet_edge.benchmarks.worker import Job
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.spec import FloatArray
from tests.bundles import Workshop
from tests.test_cli_bench import make_bundle, refused
from tests.test_profile import PROFILE


@dataclass
class FakeProfiler:
    """Stands in for the process of a profile; the one of an OpenVINO bundle fails."""

    jobs: list[Job] = field(default_factory=list)

    def __call__(self, module: str, job: Job, hops: FloatArray) -> dict[str, Any]:
        assert module == "profile_worker"
        assert hops.shape[1:] == (2, 512)
        self.jobs.append(job)
        if "openvino" in job.bundle:
            raise EdgeError("the runtime says nothing; install another")
        values: dict[str, Any] = json.loads(json.dumps(asdict(PROFILE)))
        return values


@pytest.fixture
def profiler(monkeypatch: pytest.MonkeyPatch) -> FakeProfiler:
    fake = FakeProfiler()
    monkeypatch.setattr(profile_suite, "run_process", fake)
    return fake


@pytest.fixture
def bundles(tmp_path: Path) -> list[str]:
    return [str(make_bundle(tmp_path / f"small-{target}-float32.edge", target)) for target in ("tflite", "openvino")]


@pytest.mark.usefixtures("profiler")
def test_the_tables_and_their_facts(
    bundles: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([*bundles, "--profile"]) == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    assert ["Gemm", "2", "55.0", "55.0 %"] in rows
    assert ["outside", "", "15.0", "15.0 %"] in rows
    assert ["gemm", "Gemm", "fusion.weight", "40.0", "40.0 %", "20.0", "20.0", "2.0"] in rows
    assert ["sine", "Sin", "-", "30.0", "30.0 %", "-", "-", "-"] in rows
    facts = ("fake 1.0", "means of all 3 hops", "150 us a step with the profiler", "a remark", "1 thread", "Falcon")
    assert [fact for fact in facts if fact not in out] == []
    assert "small-openvino-float32.edge: left out: the runtime says nothing; install another" in out


def test_hops_have_a_default_of_their_own(bundles: list[str], profiler: FakeProfiler) -> None:
    assert cli.main([bundles[0], "--profile", "--quiet"]) == 0
    assert cli.main([bundles[0], "--profile", "--quiet", "--hops", "7"]) == 0
    assert [(job.hops, job.warmup, job.threads, job.paced) for job in profiler.jobs] == [
        (300, 100, 1, False),
        (7, 100, 1, False),
    ]


@pytest.mark.usefixtures("profiler")
def test_json_holds_every_node_and_what_follows(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*bundles, "--profile", "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert set(values) == {"device", "machine", "hops", "warmup", "threads", "input", "results"}
    made, missing = values["results"]
    facts = {"bundle", "digest", "status", "model", "target", "recipe", "size_bytes", "weight_bytes"}
    assert set(made) == facts | {"profile", "left_out", "summary"}
    assert made["profile"] == json.loads(json.dumps(asdict(PROFILE)))
    assert set(made["summary"]) == {"nodes_us", "outside_us", "ops", "layers", "top"}
    assert set(made["summary"]["ops"][0]) == {"op", "calls", "us", "share"}
    node = {"name", "op", "layer", "us", "weight_bytes", "share", "floor_us", "floor_share"}
    assert set(made["summary"]["top"][0]) == set(made["summary"]["layers"][0]) == node
    assert (missing["profile"], missing["summary"]) == (None, None)
    assert missing["left_out"] == "the runtime says nothing; install another"


def test_a_torch_bundle_has_no_profiler(
    bundles: list[str], profiler: FakeProfiler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = str(make_bundle(tmp_path / "small-torch-float32.edge", "torch"))
    line = refused([*bundles, torch, "--profile"], capsys)
    assert "target 'torch' has no profiler; profile bundles for onnx, openvino, tflite" in line
    assert profiler.jobs == []


@pytest.mark.parametrize("option", [["--paced"], ["--threads", "2"], ["--minutes", "1"], ["--hog"], ["--realtime"]])
def test_options_that_a_profile_has_no_use_for(
    bundles: list[str], profiler: FakeProfiler, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    line = refused([*bundles, "--profile", *option], capsys)
    assert f"--profile has no use for {option[0]}; leave that out" in line
    assert profiler.jobs == []


@pytest.mark.usefixtures("profiler")
def test_nothing_to_show_is_an_error(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "the runtime says nothing; install another" in refused([bundles[1], "--profile"], capsys)


def test_a_bundle_that_no_runtime_opens_is_one_line(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused([bundles[0], "--profile", "--hops", "1"], capsys)


def test_real_profiles_in_real_processes(tiny: Workshop, tmp_path: Path) -> None:
    paths = [str(tiny.bundle(target, "static_wi8_ai8").path) for target in ("onnx", "openvino", "tflite")]
    destination = tmp_path / "profile.json"
    assert cli.main([*paths, "--profile", "--hops", "4", "--json", str(destination), "--quiet"]) == 0
    for result in json.loads(destination.read_text())["results"]:
        assert result["left_out"] is None
        assert sum(cost["calls"] for cost in result["summary"]["ops"]) == len(result["profile"]["nodes"])
        assert "fusion.rnn.weight_hh_l0" in {node["layer"] for node in result["summary"]["layers"]}
