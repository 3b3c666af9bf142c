"""`ddtasnet-bench`: the table, the JSON, and one line for everything that can be wrong."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddtasnet_edge import api
from ddtasnet_edge.benchmarks import cli, suite
from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.report import COLUMNS, BenchReport
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.benchmarks.worker import Job, Round
from ddtasnet_edge.bundle import Manifest, record_files, write_manifest
from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.errors import EdgeError, GateError
from ddtasnet_edge.models.checkpoint import save_checkpoint
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.spec import FloatArray, StreamSpec

SPEC = StreamSpec(44100, 2, ("drums", "bass", "other", "vocals"), 1024, 512, 512, ())
DEFAULT_BUNDLE = Path("build/small-tflite-static_wi8_ai8.edge")


def make_manifest(path: Path, graph_file: str, target: str, recipe: str, spec: StreamSpec) -> None:
    """Make a bundle of a folder that holds a graph file."""
    manifest = Manifest(
        target=target,
        recipe=recipe,
        model={"name": "small", "weights": "random", "config": {}},
        spec=spec,
        graph={"weight_bytes": 4_000_000},
        files=record_files(path, (graph_file,)),
        tools={},
        licence={},
    )
    write_manifest(path, manifest)


def make_bundle(path: Path, target: str = "tflite", recipe: str = "float32") -> Path:
    """A bundle that reads and checks well; no runtime could open its graph."""
    path.mkdir(parents=True)
    (path / "graph.bin").write_bytes(b"\x07" * 1000)
    make_manifest(path, "graph.bin", target, recipe, SPEC)
    return path


@dataclass
class FakeWorker:
    """Stands in for `run_worker`: every hop takes 1 ms, on torch 4 ms, in 1 GB/s memory."""

    jobs: list[Job] = field(default_factory=list)

    def __call__(self, job: Job, hops: FloatArray) -> Round:
        assert hops.shape[0] >= job.warmup + job.hops
        assert hops.shape[1:] == (2, 512)
        self.jobs.append(job)
        elapsed = 4000.0 if "torch" in job.bundle else 1000.0
        times = HopTimes(512 / 44100 * 1e6, (elapsed,) * job.hops, elapsed * job.hops)
        return Round("fake 1.0", times, 25_000.0, 30_000.0, 60_000_000, 1e9)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    fake = FakeWorker()
    monkeypatch.setattr(suite, "run_worker", fake)
    return fake


@pytest.fixture
def bundles(tmp_path: Path) -> list[str]:
    """A torch bundle and a tflite bundle of the same model."""
    paths = [tmp_path / "small-torch-float32.edge", tmp_path / "small-tflite-static_wi8_ai8.edge"]
    return [str(make_bundle(paths[0], "torch")), str(make_bundle(paths[1], "tflite", "static_wi8_ai8"))]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; returns its only line of explanation."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    return line


# What it prints


@pytest.mark.usefixtures("worker")
def test_the_table_and_its_facts(
    bundles: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([*bundles, "--hops", "30"]) == 0
    out = capsys.readouterr().out
    assert all(column in out for column in COLUMNS)
    (row,) = [line for line in out.splitlines() if "static_wi8_ai8 " in line]
    cells = dict(zip(COLUMNS, row.replace("│", " ").split(), strict=True))
    assert cells["target"] == "tflite"
    assert cells["p50"] == cells["p99.9"] == cells["max"] == "1.000"
    assert cells["miss"] == "0"
    assert cells["RTF"] == "0.086"  # 1 ms of 11.61 ms
    assert cells["x torch"] == "4.00"
    assert cells["floor"] == "4.000"  # 4 MB at 1 GB/s
    assert cells["/floor"] == "0.2"
    assert cells["load"] == "25"
    assert cells["RSS"] == "60"
    for fact in ("back-to-back", "1 thread", "30 hops", "100 warm-up hops", "fake 1.0", "logical cores", "Falcon 69"):
        assert fact in out


def test_rounds_are_interleaved_and_ask_for_what_was_asked(bundles: list[str], worker: FakeWorker) -> None:
    assert cli.main([*bundles, "--hops", "10", "--paced", "--threads", "1", "--quiet"]) == 0
    assert [job.bundle for job in worker.jobs] == bundles * 3
    assert [job.hops for job in worker.jobs] == [4, 4, 3, 3, 3, 3]
    assert {(job.paced, job.threads, job.weight_bytes) for job in worker.jobs} == {(True, 1, 4_000_000)}


@pytest.mark.usefixtures("worker")
def test_paced_is_called_paced(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*bundles, "--paced"]) == 0
    out = capsys.readouterr().out
    assert "mode: paced" in out
    assert "back-to-back" not in out


def test_minutes_are_minutes_of_audio(bundles: list[str], worker: FakeWorker, tmp_path: Path) -> None:
    destination = tmp_path / "report.json"
    assert cli.main([bundles[0], "--minutes", "0.01", "--json", str(destination), "--quiet"]) == 0
    assert sum(job.hops for job in worker.jobs) == 52  # 0.6 s of 11.61 ms, rounded up
    values = json.loads(destination.read_text())
    assert (values["minutes"], values["hops"]) == (0.01, None)
    assert values["results"][0]["summary"]["hops"] == 52


def test_hops_and_minutes_exclude_each_other(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main([*bundles, "--hops", "5", "--minutes", "1"])
    assert "--minutes: not allowed with argument --hops" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "long", ""])
def test_minutes_are_more_than_none_and_end(bundles: list[str], capsys: pytest.CaptureFixture[str], value: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main([*bundles, f"--minutes={value}"])
    assert f"'{value}' is not a number of minutes above 0" in capsys.readouterr().err


def test_real_time_is_passed_on_and_needs_the_hop_clock(
    bundles: list[str], worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert "--realtime is for hops that wait for the hop clock; add --paced" in refused(
        [*bundles, "--realtime"], capsys
    )
    assert worker.jobs == []
    assert cli.main([*bundles, "--paced", "--realtime", "--quiet"]) == 0
    assert {job.realtime for job in worker.jobs} == {True}


def test_real_time_on_another_system_is_refused(
    bundles: list[str], worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    line = refused([*bundles, "--paced", "--realtime"], capsys)
    assert "--realtime needs sched_setscheduler and mlockall as Linux has them, this is Darwin" in line
    assert worker.jobs == []


def test_a_song_is_fed_and_named(bundles: list[str], worker: FakeWorker, tmp_path: Path) -> None:
    song, destination = tmp_path / "mine.wav", tmp_path / "report.json"
    soundfile.write(song, np.random.default_rng(0).uniform(-0.5, 0.5, (5 * 44100, 2)), 44100)
    assert cli.main([bundles[0], "--hops", "3", "--song", str(song), "--json", str(destination), "--quiet"]) == 0
    assert len(worker.jobs) == 3
    assert json.loads(destination.read_text())["input"] == "5.0 s of mine.wav (audio supplied by the user)"


@pytest.mark.usefixtures("worker")
def test_quiet_prints_nothing(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*bundles, "--quiet"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.usefixtures("worker")
def test_json_holds_every_hop_every_figure_and_every_fact(bundles: list[str], tmp_path: Path) -> None:
    destination = tmp_path / "report.json"
    assert cli.main([*bundles, "--hops", "7", "--json", str(destination), "--quiet"]) == 0
    values = json.loads(destination.read_text())
    assert json.loads(json.dumps(BenchReport.from_dict(values).to_dict())) == values
    assert {field.name for field in fields(Machine)} == set(values["machine"])
    facts = {name: values[name] for name in ("device", "mode", "hops", "rounds", "warmup", "threads")}
    assert facts == {"device": "host", "mode": "back-to-back", "hops": 7, "rounds": 3, "warmup": 100, "threads": 1}
    result = values["results"][1]
    hops = [elapsed for one in result["rounds"] for elapsed in one["hop_times"]["times_us"]]
    assert hops == [1000.0] * 7
    assert len(result["digest"]) == 12
    assert result["size_bytes"] == 1000
    assert {
        *("p50_us", "p95_us", "p99_us", "p99.9_us", "max_us", "misses", "rtf", "floor_us", "p50_over_floor", "load_us"),
        *(
            "first_stems_us",
            "peak_rss_bytes",
            "bandwidth",
            "overhead_us",
            "x_torch",
            "runtime",
            "hops",
            "hop_budget_us",
        ),
        *("buffer_us", "buffer_hops"),
    } == set(result["summary"])


@pytest.mark.usefixtures("worker")
def test_json_on_stdout_is_json_alone(bundles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*bundles, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["target"] == "torch"


def test_a_real_bundle_in_a_real_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = create_model(PRESETS["tiny"])
    path = tmp_path / "tiny-torch-float32.edge"
    path.mkdir()
    save_checkpoint(model, path / "model.safetensors")
    make_manifest(path, "model.safetensors", "torch", "float32", model.spec())
    assert cli.main([str(path), "--hops", "1", "--json", "-"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["summary"]["runtime"].startswith("torch ")
    assert result["summary"]["hops"] == 1
    assert 0 < result["summary"]["p50_us"] < result["summary"]["first_stems_us"]


# Without a bundle


def test_the_default_bundle_is_built_when_it_is_not_there(
    worker: FakeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def compile_small(model: str, target: str, recipe: str, out: Path) -> Path:
        assert (model, target, recipe, str(out)) == ("small", "tflite", "static_wi8_ai8", "build")
        return make_bundle(DEFAULT_BUNDLE, target, recipe)

    monkeypatch.setattr(api, "compile", compile_small)
    assert cli.main([]) == 0
    assert f"building {DEFAULT_BUNDLE}" in capsys.readouterr().err
    assert {job.bundle for job in worker.jobs} == {str(DEFAULT_BUNDLE)}


@pytest.mark.usefixtures("worker")
def test_the_default_bundle_is_not_built_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(api, "compile")
    make_bundle(DEFAULT_BUNDLE)
    assert cli.main([]) == 0
    assert f"measuring {DEFAULT_BUNDLE}" in capsys.readouterr().err


def test_a_default_bundle_that_fails_parity_is_not_measured(
    worker: FakeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def compile_small(*_arguments: object, **_options: object) -> Path:
        raise GateError("SNR is 3 dB, expected 15 dB")

    monkeypatch.setattr(api, "compile", compile_small)
    assert cli.main([]) == 1
    assert worker.jobs == []


# What is refused


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option in ("--hops", "--threads") for value in ("0", "-1", "1.5", "many", "")],
)
def test_counts_are_whole_numbers_of_at_least_one(
    bundles: list[str], worker: FakeWorker, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main([*bundles, f"{option}={value}"])
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: '{value}' is not a whole number of at least 1" in last_line
    assert worker.jobs == []


def test_more_threads_than_cores_are_refused(
    bundles: list[str], worker: FakeWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = os.cpu_count() or 1
    line = refused([*bundles, "--threads", str(cores + 1)], capsys)
    assert f"--threads is {cores + 1}, this machine has {cores} logical cores" in line
    assert worker.jobs == []


@pytest.mark.parametrize(
    ("device", "message"),
    [("toaster", "unknown device 'toaster': expected one of host, rpi"), ("rpi-5", "did you mean 'rpi5'?")],
)
def test_an_unknown_device_is_refused(
    bundles: list[str], worker: FakeWorker, capsys: pytest.CaptureFixture[str], device: str, message: str
) -> None:
    assert message in refused([*bundles, "--device", device], capsys)
    assert worker.jobs == []


@pytest.mark.skipif(Path("/proc/device-tree/model").exists(), reason="this may be a Raspberry Pi")
def test_a_pi_is_not_measured_from_another_machine(
    bundles: list[str], worker: FakeWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused([*bundles, "--device", "rpi4"], capsys)
    assert "this machine is not a Raspberry Pi" in line
    assert "run this command on the Pi itself" in line
    assert worker.jobs == []


def test_a_bad_bundle_is_found_before_the_first_is_measured(
    bundles: list[str], worker: FakeWorker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no bundle at" in refused([*bundles, str(tmp_path / "absent.edge")], capsys)
    assert "is a file; a bundle is a folder" in refused([str(Path(bundles[0], "graph.bin"))], capsys)
    graph = Path(bundles[1], "graph.bin")
    graph.write_bytes(b"\x06" + graph.read_bytes()[1:])
    assert "sha256" in refused(bundles, capsys)
    assert worker.jobs == []


def test_a_json_without_a_folder_is_refused_before_any_work(
    bundles: list[str], worker: FakeWorker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([*bundles, "--json", str(tmp_path / "absent" / "report.json")], capsys)
    assert "report.json: there is no folder" in said
    assert worker.jobs == []


@pytest.mark.usefixtures("worker")
def test_a_json_that_cannot_be_written_still_shows_the_table(
    bundles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").mkdir()
    assert cli.main([*bundles, "--json", str(tmp_path / "report.json")]) == 2
    said = capsys.readouterr()
    assert "Time per hop" in said.out
    (line,) = said.err.splitlines()
    assert line.startswith("error: cannot write")


def test_a_failing_worker_is_one_line_and_all_of_it_with_debug(
    bundles: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The graph file is no graph: the process of the round says so, whichever runtimes are installed.
    refused([bundles[1], "--hops", "1"], capsys)

    def fail(_job: Job, _hops: FloatArray) -> Round:
        raise EdgeError("short") from RuntimeError("all that the process said")

    monkeypatch.setattr(suite, "run_worker", fail)
    assert cli.main([*bundles, "--debug"]) == 2
    assert "all that the process said" in capsys.readouterr().err
