"""`ddtasnet-bench` for a board that is not this machine: over ssh, emulated, and what is refused in one line."""

from __future__ import annotations

import json
import platform
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge.benchmarks import cli, device_modes, modes, place_parity
from ddtasnet_edge.benchmarks.board_answer import BoardAnswer, answer_for
from ddtasnet_edge.benchmarks.emulation.boards import BOARDS
from ddtasnet_edge.benchmarks.estimate.answer import Goal
from ddtasnet_edge.benchmarks.estimate.profile import profile_names
from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.place_parity import PlaceParity, PlaceParityReport
from ddtasnet_edge.benchmarks.report import BenchReport, BundleResult, facts_of
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import DeviceError, EdgeError
from ddtasnet_edge.runtimes.parity import ParityReport
from ddtasnet_edge.runtimes.thresholds import Thresholds
from tests import sshd
from tests.bundles import Workshop
from tests.test_bench_report import a_report, a_round


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--device", "rpi"],
            "three ways: run this command on the Pi itself, .*--host user@pi, or add --emulate to a board's name",
        ),
        (["--device", "rpi4"], "not a Raspberry Pi"),
        (["--device", "rpi44", "--emulate"], "unknown device 'rpi44': .*did you mean 'rpi4'"),
        (["--device", "rpi6", "--emulate"], "unknown device 'rpi6': .*did you mean 'rpi5'"),
        (["--device", "RPI4", "--emulate"], "unknown device 'RPI4': .*did you mean 'rpi4'"),
        (["--device", "rpi", "--emulate"], "needs to know which board, found --device rpi; give rpi4"),
        (["--emulate"], "needs to know which board, found --device host"),
        (["--device", "rpi4", "--emulate", "--hops", "9"], "--emulate has no use for --hops; leave that out"),
        (["--device", "rpi4", "--emulate", "--port", "22"], "--emulate has no use for --port"),
        (["--port", "22"], "no use for --port, which needs --host user@pi; add that, or leave it out"),
        (["--device", "rpi", "--identity", "key"], "no use for --identity, which needs --host user@pi"),
        (
            ["--ssh-config", "file", "--port", "22"],
            "no use for --port, --ssh-config, which need --host user@pi; .* leave them out$",
        ),
        (["--model", "tiny"], "no use for --model, which needs --peers, --passes, .* or --host user@pi; add"),
        (["--recipe", "float32", "--port", "22"], "no use for --port, --recipe; leave them out"),
        (["--song", "no/such.wav"], "cannot read no/such.wav: No such file"),
        (["--host", "pi", "--song", "no/such.wav"], "cannot read no/such.wav: No such file"),
        (["--device", "rpi4", "--emulate", "--song", "a.wav"], "--emulate has no use for --song"),
        (["--budget-ms", "3"], "are about a board; say which with --device"),
        (["--device", "rpi4", "--emulate", "--hop", "256"], "give both"),
        (["--device", "rpi4", "--emulate", "--budget-ms", "-1"], "--budget-ms is -1.0"),
        (["--device", "rpi4", "--emulate", "--budget-ms", "nan"], "--budget-ms is nan"),
        (["--device", "rpi4", "--emulate", "--plot", "no/such/plot.png"], "cannot write no/such/plot.png: there is"),
        (
            ["--device", "rpi4", "--emulate", "--json", "no/such/file.json"],
            "cannot write no/such/file.json: there is no",
        ),
        (["--host=-oProxyCommand=x"], "is not a host"),
        (["--host", "", "--hops", "9"], "the host is empty, as a shell variable that is not set; give a name"),
        (["--host", "pi", "--identity", "no/such/key"], "no identity file no/such/key"),
        (["--host", "pi", "--realtime"], "add --paced"),
        (["--host", "pi", "no/such.edge"], "no bundle at no/such.edge"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    options: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(options) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert re.search(line, said), said
    assert list(tmp_path.iterdir()) == []


def test_without_qemu_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["--device", "rpi5", "--emulate"]) == 2
    assert "apt-get install qemu-user-static" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_boards_have_a_profile_and_can_be_emulated() -> None:
    assert set(profile_names()) == set(BOARDS)


def test_the_answer_ranks_every_preset_and_shows_the_bundles_of_the_run(tiny: Workshop) -> None:
    found = answer_for("rpi4", [tiny.bundle("tflite", "static_wi8_ai8")], Goal())
    assert [verdict.recipe for verdict in found.shown.verdicts] == ["static_wi8_ai8"]
    assert {"tiny", "small", "base", "large"} <= {verdict.model for verdict in found.all_presets.verdicts}
    (sentence,) = found.all_presets.sentences()
    assert sentence.startswith("Raspberry Pi 4")
    assert "estimated" in sentence


def test_a_smaller_budget_allows_no_more(tiny: Workshop) -> None:
    bundles = [tiny.bundle("tflite", "float32")]
    wide, narrow = (answer_for("rpi3", bundles, Goal(budget_ms=budget)).all_presets for budget in (1000.0, 0.001))
    assert wide.largest("rpi3") is not None
    assert narrow.largest("rpi3") is None
    assert all(verdict.late == "yes" for verdict in narrow.verdicts)


PI_3A = replace(
    describe_machine(), name="Raspberry Pi 3 Model A Plus Rev 1.0", cpu="Cortex-A53", memory_bytes=400 << 20
)


def measured(*bundles: Bundle, us: float = 3000.0, **changes: Any) -> BenchReport:
    """A report of a Pi 3A+ on which every hop of every bundle took as long; changes: of its other facts."""
    results = tuple(BundleResult(**facts_of(bundle), rounds=(a_round([us] * 3),)) for bundle in bundles)
    return replace(a_report(*results), device="rpi3", machine=PI_3A, **changes)


def torch_twin(bundle: Bundle) -> Bundle:
    """The bundle as if it were one of PyTorch, which no profile knows."""
    manifest = replace(bundle.manifest, target="torch", graph={"weight_bytes": 1})
    return Bundle(Path("tiny-torch-float32.edge"), manifest)


def test_what_no_profile_knows_is_left_out_and_named(tiny: Workshop) -> None:
    bundle = tiny.bundle("tflite", "float32")
    both = bundle, torch_twin(bundle)
    found = answer_for("rpi3", both, Goal(), measured(*both, us=50_000.0))
    assert [verdict.target for verdict in found.shown.verdicts] == ["tflite"]
    assert found.left_out == ("tiny-torch-float32.edge",)
    assert any("tiny-torch-float32.edge: not in this answer" in note for note in found.notes())


def test_an_answer_bears_the_name_and_the_memory_of_the_machine_that_was_measured(
    tiny: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny.bundle("tflite", "float32")
    found = answer_for("rpi3", [bundle], Goal(), measured(bundle))
    (sentence,) = found.all_presets.sentences()
    assert sentence.startswith(PI_3A.name)
    assert {verdict.memory_bytes for verdict in found.all_presets.verdicts} == {400 << 20}
    found.print()
    said = capsys.readouterr().out
    assert f"In time on {PI_3A.name}?" in said
    assert "estimated for Raspberry Pi 3 Model B+" in said


def test_a_result_is_that_of_the_very_bundle(tiny: Workshop) -> None:
    """Two with one model, target and recipe: another graph is another bundle, and of equal graphs the name tells."""
    bundle = tiny.bundle("tflite", "float32")
    other = replace(measured(bundle).results[0], digest="0" * 12, rounds=(a_round([9.0]),))
    twin = replace(measured(bundle, us=7000.0).results[0], bundle="twin.edge")
    report = replace(measured(bundle), results=(other, twin, *measured(bundle).results))
    (verdict,) = answer_for("rpi3", [bundle], Goal(), report).shown.verdicts
    assert (verdict.how, verdict.us) == ("measured", 3000.0)
    (verdict,) = answer_for("rpi3", [bundle], Goal(), replace(report, results=(other,))).shown.verdicts
    assert verdict.how == "estimated"


def test_an_answer_says_which_machine_its_sizes_are_of(tiny: Workshop) -> None:
    bundle = tiny.bundle("tflite", "float32")
    estimated, measured_there = (answer_for("rpi3", [bundle], Goal(), report) for report in (None, measured(bundle)))
    assert "MB estimated: from peaks on x86-64, assumed to be the same on ARM" in estimated.notes()
    assert "MB measured: the peak on that very machine" in measured_there.notes()
    assert not any(note.startswith("MB estimated") for note in measured_there.notes())


def test_several_threads_are_named_and_say_nothing_of_one_core(tiny: Workshop) -> None:
    bundle = tiny.bundle("tflite", "float32")
    found = answer_for("rpi3", [bundle], Goal(), measured(bundle, threads=4))
    assert (found.shown.verdicts[0].how, found.shown.verdicts[0].threads) == ("measured", 4)
    assert {(verdict.how, verdict.threads) for verdict in found.all_presets.verdicts} == {("estimated", 1)}


def bench_on_a_pi(monkeypatch: pytest.MonkeyPatch, bundles: list[Bundle], destination: Path) -> int:
    """`ddtasnet-bench` where every bundle takes 50 ms per hop on a Pi 3A+."""
    monkeypatch.setattr(modes, "_bundles", lambda _: bundles)
    monkeypatch.setattr(modes, "run_suite", lambda *_, **__: measured(*bundles, us=50_000.0))
    return cli.main(["--json", str(destination)])


def test_the_json_of_a_run_on_a_pi_holds_the_answer(
    tiny: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny.bundle("tflite", "float32")
    both = [bundle, torch_twin(bundle)]
    assert bench_on_a_pi(monkeypatch, both, tmp_path / "found.json") == 0
    values = json.loads((tmp_path / "found.json").read_text())
    assert values["answer"]["bundles"]["verdicts"][0]["us"] == 50_000.0
    assert values["answer"]["left_out"] == ["tiny-torch-float32.edge"]
    assert BenchReport.from_dict(values) == measured(*both, us=50_000.0)
    said = capsys.readouterr().out
    assert said.index("Time per hop") < said.index("In time on Raspberry Pi 3 Model A Plus")


def test_times_are_delivered_where_nothing_can_be_said_of_them(
    tiny: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> BoardAnswer:
        raise DeviceError("the profile has no figure 'macs.int2'")

    monkeypatch.setattr(modes, "answer_for", refuse)
    assert bench_on_a_pi(monkeypatch, [tiny.bundle("tflite", "float32")], tmp_path / "found.json") == 2
    assert "answer" not in json.loads((tmp_path / "found.json").read_text())
    said = capsys.readouterr()
    assert "Time per hop" in said.out
    assert "no figure 'macs.int2'" in said.err


def parity(same_snr_db: float) -> PlaceParityReport:
    """A report of a bundle that differs there from here, with 50 dB between it and itself."""
    report = ParityReport("runtime", "torch", Thresholds(), ())
    return PlaceParityReport("there", "clip", 1.0, (PlaceParity("b", "0", "a", "r", report, same_snr_db, 50.0),))


@pytest.mark.parametrize(("same", "missed"), [(float("inf"), 0), (60.0, 0), (47.5, 0), (46.0, 1), (float("nan"), 1)])
def test_a_bundle_may_differ_there_as_it_differs_from_itself(same: float, missed: int) -> None:
    said = [line for line in parity(same).failures if "expected at least 47.0 dB" in line]
    assert len(said) == missed


def test_a_missed_gate_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert device_modes.verdict(parity(10.0)) == 1
    assert "failed: b: SNR 10.0 dB against r here" in capsys.readouterr().err


def test_a_board_over_ssh_is_held_against_pytorch_and_timed(
    loopback: sshd.Board, tiny: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, found = tiny.bundle("tflite", "static_wi8_ai8"), tmp_path / "found.json"
    arguments = ["--host", sshd.HOST, "--ssh-config", str(loopback.address.config), "--model", "tiny"]
    assert cli.main([*arguments, str(bundle.path), "--hops", "40", "--json", str(found)]) == 0
    report = json.loads(found.read_text())
    times = BenchReport.from_dict(report["bench"])
    assert (times.results[0].digest, times.hops, times.device) == (bundle.digest, 40, "host")
    # The same runtime on the same processor: not one bit may differ.
    assert report["parity"]["results"][0]["same_bits"] is True
    assert report["answer"] is None
    said = capsys.readouterr().out
    assert "Parity on" in said
    assert "light install: ddtasnet-edge[tflite]" in said
    there = f"{sshd.HOST} ({platform.machine()})"
    assert f"Time per hop on {there}, back-to-back" in said
    assert f"sizes: RSS and the light install are those on {there}, " in said
    assert report["bench"]["input"].startswith("The Easton Ellises")
    assert loopback.leftovers() == []


@pytest.fixture
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Board]:
    with sshd.running_board(tmp_path_factory.mktemp("device") / "board") as board:
        yield board


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_an_error_no_other_bundle_is_begun(jobs: int) -> None:
    begun: list[int] = []

    def work(index: int) -> int:
        begun.append(index)
        raise KeyboardInterrupt

    works = [partial(work, index) for index in range(50)]
    with pytest.raises(KeyboardInterrupt), place_parity.results_of(works, jobs, ignored) as results:
        list(results)
    assert len(begun) < 50


def ignored() -> None:
    """A place where nothing runs has nothing to end."""


def test_after_an_error_works_are_told_to_end_and_waited_for() -> None:
    told, written = threading.Event(), threading.Event()

    def work() -> None:
        assert told.wait(60)
        time.sleep(0.5)
        written.set()

    with pytest.raises(EdgeError, match="judged"), place_parity.results_of([work, work], 2, told.set):
        raise EdgeError("judged")
    assert written.is_set()


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_the_bundles(jobs: int) -> None:
    works = [partial(int, text) for text in ("4", "2", "9", "1")]
    with place_parity.results_of(works, jobs, ignored) as results:
        assert list(results) == [4, 2, 9, 1]
