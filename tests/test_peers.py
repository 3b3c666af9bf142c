"""`ddtasnet-bench --peers`: what is compared, how it is timed, and what a peer that fails becomes."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks import cli, modes
from ddtasnet_edge.benchmarks.machine import HOST, describe_machine
from ddtasnet_edge.benchmarks.peers import registry, suite
from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.registry import PEERS, REFERENCE, RUNTIME_OF, our_name
from ddtasnet_edge.benchmarks.peers.report import COLUMNS, PeersReport
from ddtasnet_edge.benchmarks.peers.result import PeerResult
from ddtasnet_edge.benchmarks.peers.suite import ROUNDS, run_peers
from ddtasnet_edge.benchmarks.peers.worker import PeerCheck, PeerJob, reason_of
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.errors import ConfigError, EdgeError
from ddtasnet_edge.export import EXPORTERS
from ddtasnet_edge.files import json_safe
from ddtasnet_edge.quantize.recipe import RECIPES
from tests.small import small_config
from tests.test_packaging import PROJECT

OURS = our_name("onnx", "float32")


def make_round(*times_us: float) -> HopTimes:
    """A round in which each hop took so long."""
    return HopTimes(11_610.0, times_us, sum(times_us))


# The registry


def test_every_row_can_be_told_from_the_others_and_starts_from_one_above_it() -> None:
    above: set[str] = set()
    for name, peer in PEERS.items():
        assert name == peer.name
        assert peer.base is None or peer.base in above
        above.add(name)
    assert next(iter(PEERS)) == REFERENCE


def test_extras_are_those_of_the_package() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert {peer.extra for peer in PEERS.values()} == {"export", "peers", "executorch"}
    assert {"export", "peers", "executorch"} <= set(extras)


def test_our_bundles_are_those_of_every_target_and_every_recipe() -> None:
    ours = {name for name, peer in PEERS.items() if peer.ours}
    assert ours == {our_name(target, recipe) for target in set(EXPORTERS) - {"torch"} for recipe in RECIPES}
    assert set(RUNTIME_OF.values()) < {peer.runtime for peer in PEERS.values() if not peer.ours}


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "nncf" else object())
    assert PEERS["openvino-ptq"].missing() == "nncf not installed: pip install 'ddtasnet-edge[peers]'"
    assert PEERS["openvino"].missing() is None
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "executorch" else object())
    assert PEERS["executorch"].missing() == "executorch not installed: pip install 'ddtasnet-edge[executorch]'"


# How it is timed


@dataclass
class FakeProcesses:
    """Stands in for `run_peer`: hops of 1 ms, of ours 0.25 ms; what `broken` names fails at that task."""

    broken: dict[tuple[str, str], str] = field(default_factory=dict)
    jobs: list[PeerJob] = field(default_factory=list)
    check: PeerCheck = field(default_factory=lambda: PeerCheck("fake 1.0", 60.0, 0.001, None, 1000.0, 4_000_000))

    def __call__(self, job: PeerJob) -> dict[str, object]:
        self.jobs.append(job)
        if (reason := self.broken.get((job.task, job.peer))) is not None:
            raise EdgeError(reason)
        if job.task == "check":
            return asdict(self.check)
        elapsed = 250.0 if PEERS[job.peer].ours else 1000.0
        return asdict(make_round(*(elapsed,) * job.hops)) if job.task == "measure" else {}

    def measured(self) -> list[str]:
        """The peers in the order in which they were timed."""
        return [job.peer for job in self.jobs if job.task == "measure"]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> FakeProcesses:
    fake = FakeProcesses()
    monkeypatch.setattr(suite, "run_peer", fake)
    monkeypatch.setattr(registry, "find_spec", lambda _: object())
    monkeypatch.setattr(suite, "build_bundle", lambda *_: None)
    monkeypatch.setattr(suite, "_prepare", lambda *_: "noise")
    return fake


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The configuration file of a small model."""
    path = tmp_path / "little.json"
    path.write_text(json.dumps(small_config().to_dict()))
    return str(path)


def results_of(model: str, *names: str, hops: int = 50) -> dict[str, PeerResult]:
    """Compare these peers; their results by name."""
    return {one.peer.name: one for one in run_peers(model, Options(hops=hops), names=names, quiet=True).results}


def test_rounds_are_interleaved(model: str, processes: FakeProcesses) -> None:
    names = (REFERENCE, "onnx", OURS)
    results = results_of(model, *names)
    assert processes.measured() == list(names) * ROUNDS
    assert {job.hops for job in processes.jobs if job.task == "measure"} == {50 // ROUNDS}
    assert {len(one.rounds) for one in results.values()} == {ROUNDS}


def test_a_slow_peer_gets_fewer_hops_but_some(model: str, processes: FakeProcesses) -> None:
    processes.check = PeerCheck("fake 1.0", 60.0, 0.0, None, 400_000.0, 1)
    results_of(model, REFERENCE, hops=5000)
    assert {(job.hops, job.warmup) for job in processes.jobs if job.task == "measure"} == {(20, 20)}
    processes.check = PeerCheck("fake 1.0", 60.0, 0.0, None, 1e8, 1)
    processes.jobs.clear()
    results_of(model, REFERENCE, hops=5000)
    assert {(job.hops, job.warmup) for job in processes.jobs if job.task == "measure"} == {(10, 10)}


def test_what_cannot_be_built_is_a_row_with_its_reason(model: str, processes: FakeProcesses) -> None:
    processes.broken[("build", "onnx")] = "TypeError: no such operator"
    results = results_of(model, REFERENCE, "onnx", "onnx-int8")
    assert results["onnx"].failure == "TypeError: no such operator"
    assert results["onnx-int8"].failure == "starts from onnx, which there is not"
    assert processes.measured() == [REFERENCE] * ROUNDS


def test_what_stops_on_the_way_is_a_row_with_its_reason(model: str, processes: FakeProcesses) -> None:
    processes.broken[("measure", "onnx")] = "the process died of SIGSEGV"
    results = results_of(model, REFERENCE, "onnx")
    assert results["onnx"].failure == "round 1: the process died of SIGSEGV"
    assert processes.measured().count("onnx") == 1
    assert len(results[REFERENCE].rounds) == ROUNDS


def test_a_missing_package_is_a_row(model: str, processes: FakeProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "executorch" else object())
    results = results_of(model, REFERENCE, "executorch")
    assert results["executorch"].failure == "executorch not installed: pip install 'ddtasnet-edge[executorch]'"
    assert not [job for job in processes.jobs if job.peer == "executorch"]


def test_nobody_is_timed_on_wrong_output(model: str, processes: FakeProcesses) -> None:
    processes.check = PeerCheck("fake 1.0", float("nan"), float("nan"), "the stems hold NaN or infinity", 1000.0, 1)
    results = results_of(model, "onnx")
    assert results["onnx"].failure == "wrong output: the stems hold NaN or infinity"
    assert processes.measured() == []


def test_a_bundle_of_ours_that_cannot_be_built_is_a_row(
    model: str, processes: FakeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ConfigError("recipe does not fit")

    monkeypatch.setattr(suite, "build_bundle", fail)
    assert results_of(model, OURS)[OURS].failure == "recipe does not fit"
    assert processes.jobs == []


# What is reported


def report_of(*results: PeerResult) -> PeersReport:
    return PeersReport(
        HOST, describe_machine(), "small", "preset small", 10, 2, 100, 1, "noise", {"torch": "2"}, results
    )


def timed(name: str, *medians_us: float, failure: str | None = None, dsdr_db: float = 0.01) -> PeerResult:
    """The result of a peer with one hop per round."""
    check = PeerCheck("fake 1.0", 50.0, dsdr_db, failure, 1000.0, 5_000_000)
    return PeerResult(PEERS[name], failure, 7.0, check, tuple(make_round(elapsed) for elapsed in medians_us))


def test_ratios_are_those_within_a_round() -> None:
    # A machine that is twice as slow in the second round and three times in the third.
    torch_eager, ours = timed(REFERENCE, 4000.0, 8000.0, 12000.0), timed(OURS, 1000.0, 2000.0, 4000.0)
    report = report_of(torch_eager, ours, timed("onnx", 2000.0, 4000.0, 6000.0))
    cells = dict(zip(COLUMNS, report.rows()[1], strict=True))
    assert (cells["p50"], cells["spread"], cells["x torch"], cells["/ours"]) == ("2.000", "150", "4.00", "1.00")
    assert (cells["SNR"], cells["dSDR"], cells["MB"]) == ("50.0", "+0.010", "5.0")
    assert (cells["build"], cells["remark"]) == ("7", "")
    assert dict(zip(COLUMNS, report.rows()[2], strict=True))["/ours"] == "2.00"


def test_equals_are_compared_with_equals() -> None:
    report = report_of(
        timed(REFERENCE, 4000.0),
        timed("onnx", 1500.0),
        timed("onnx-gru-int8", 900.0),
        timed("openvino-weights", 600.0),
        timed(OURS, 1000.0),
        timed(our_name("onnx", "static_wi8_ai8"), 300.0),
    )
    found = {one.what: (one.ours, one.peer, one.gain) for one in report.comparisons()}
    int8 = our_name("onnx", "static_wi8_ai8")
    assert found == {
        "float32, any runtime": (OURS, "onnx", 1.5),
        "float32, onnxruntime": (OURS, "onnx", 1.5),
        "INT8, any runtime": (int8, "openvino-weights", 2.0),
        "INT8, onnxruntime": (int8, "onnx-gru-int8", 3.0),
    }


def test_what_is_rough_does_not_stand_for_ours() -> None:
    rough, fine, other = our_name("tflite", "static_wi8_ai8"), our_name("onnx", "static_wi8_ai8"), "openvino-weights"
    for dsdr_db, ours in ((0.06, fine), (-0.06, fine), (0.05, rough), (math.nan, rough)):
        report = report_of(timed(rough, 300.0, dsdr_db=dsdr_db), timed(fine, 400.0), timed(other, 600.0))
        assert [one.ours for one in report.comparisons()] == [ours]
    assert f"{rough} 2.00x as fast as {other} (dSDR - and +0.010 dB)" in report.notes()[0]


def test_a_report_survives_json() -> None:
    unheard = timed("onnx", 1000.0, 1500.0, dsdr_db=math.nan)
    report = report_of(timed(REFERENCE, 1000.0, 1500.0), unheard, PeerResult(PEERS["openvino-ptq"], "broke"))
    values = json.loads(json.dumps(json_safe(report.to_dict())))
    again = PeersReport.from_dict(values)
    assert json.loads(json.dumps(json_safe(again.to_dict()))) == values
    assert (again.rows(), again.notes()) == (report.rows(), report.notes())


def test_a_failed_peer_has_a_row_and_no_figures() -> None:
    report = report_of(timed(REFERENCE, 1000.0), timed("onnx", failure="wrong output: SNR 0 dB"))
    cells = dict(zip(COLUMNS, report.rows()[1], strict=True))
    assert [cells[name] for name in ("p50", "spread", "x torch", "/ours")] == ["-"] * 4
    assert (cells["SNR"], cells["remark"]) == ("50.0", "wrong output: SNR 0 dB")
    assert list(report.comparisons()) == []


def test_a_comparison_says_what_it_cost() -> None:
    report = report_of(timed(REFERENCE, 4000.0), timed(OURS, 1000.0))
    said = "float32, any runtime: ours-onnx-float32 4.00x as fast as torch-eager (dSDR +0.010 and +0.010 dB)"
    assert said in report.notes()


def test_json_holds_every_round_and_every_fact() -> None:
    values = report_of(timed(REFERENCE, 1000.0, 1500.0), timed("onnx", failure="broke")).to_dict()
    values = json.loads(json.dumps(values))
    assert {"machine", "versions", "model", "weights", "rounds", "threads", "input", "comparisons"} < set(values)
    first, second = values["results"]
    assert first["summary"]["medians_us"] == [1000.0, 1500.0]
    assert first["rounds"][1]["times_us"] == [1500.0]
    assert second["failure"] == "broke"
    assert second["summary"]["p50_us"] is None


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["some.edge", "--peers"], "--peers has no use for bundles; leave that out"),
        (["--peers", "--paced"], "--peers has no use for --paced"),
        (["--compare", "old.json", "new.json", "--hops", "5"], "--compare has no use for --hops"),
        (["--model", "tiny"], "no use for --model"),
        (["--peers", "--model", "smal"], "unknown preset 'smal'"),
        (["--peers", "--model", "absent.safetensors"], "no checkpoint file at absent.safetensors"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_the_command_prints_the_table_and_writes_the_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, Options]] = []

    def fake_peers(model: str, options: Options, *, quiet: bool) -> PeersReport:
        assert not quiet
        asked.append((model, options))
        return report_of(timed(REFERENCE, 1000.0), timed("executorch", failure="executorch not installed"))

    monkeypatch.setattr(modes, "run_peers", fake_peers)
    assert cli.main(["--peers", "--model", "tiny", "--hops", "9", "--json", str(tmp_path / "peers.json")]) == 0
    assert asked == [("tiny", Options(hops=9))]
    out = capsys.readouterr().out
    assert all(column in out for column in COLUMNS)
    assert "executorch not installed" in out
    assert json.loads((tmp_path / "peers.json").read_text())["results"][0]["peer"]["name"] == REFERENCE


# Processes of their own


def test_two_peers_in_real_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Long hops: there are few of them in the clip.
    config = small_config(window_length=1024, hop_length=512)
    model = tmp_path / "long.json"
    model.write_text(json.dumps(config.to_dict()))
    monkeypatch.setattr(suite, "ROUNDS", 1)
    results = results_of(str(model), REFERENCE, OURS, hops=3)
    for result in results.values():
        assert result.failure is None
        (one,) = result.rounds
        assert len(one.times_us) == 3
        assert result.check is not None
        assert result.check.snr_db > 80
    runtimes = [result.check and result.check.runtime.split()[0] for result in results.values()]
    assert runtimes == ["torch", "onnxruntime"]


def executable(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -9 $$", "the process died of SIGKILL"),
        ("exec sleep 30", "took longer than 0 minutes"),
        ("echo no such thing >&2; exit 3", "no such thing"),
    ],
)
def test_a_process_that_ends_badly_is_an_error(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable(tmp_path / "python", script))
    monkeypatch.setattr(suite, "PATIENCE", 1.0)
    with pytest.raises(EdgeError, match=f"^{reason}$"):
        suite.run_peer(PeerJob("build", "onnx", str(tmp_path), 1))


def test_what_a_tool_raises_comes_back_as_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="no checkpoint file at"):
        suite.run_peer(PeerJob("build", "torch-aoti", str(tmp_path), 1))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("\n first\nsecond"), "ValueError: first"),
        (AssertionError(), "AssertionError"),
        (ConfigError("give another"), "give another"),
    ],
)
def test_a_reason_is_one_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_without_a_compiler_the_row_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddtasnet_edge.benchmarks.peers import torch as torch_peers

    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EdgeError, match="no C\\+\\+ compiler 'no-such-compiler': install g\\+\\+"):
        torch_peers.build_peer("torch-aoti", PeerPlace(tmp_path, threads=1))
