"""`ddtasnet-bench` for a board that is not this machine: over ssh, emulated, and what is refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks import cli, device_modes, place_parity
from ddtasnet_edge.benchmarks.board_answer import answer_for
from ddtasnet_edge.benchmarks.emulation.boards import BOARDS
from ddtasnet_edge.benchmarks.estimate.answer import Goal
from ddtasnet_edge.benchmarks.estimate.profile import profile_names
from ddtasnet_edge.benchmarks.place_parity import PlaceParity, PlaceParityReport
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.runtimes.parity import ParityReport
from ddtasnet_edge.runtimes.thresholds import Thresholds
from tests import sshd
from tests.bundles import Workshop


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--device", "rpi"], "three ways: run this command on the Pi itself, .*--host user@pi, or add --emulate"),
        (["--device", "rpi4"], "not a Raspberry Pi"),
        (["--device", "rpi44", "--emulate"], "unknown device 'rpi44': .*did you mean 'rpi4'"),
        (["--device", "rpi", "--emulate"], "needs to know which board, found --device rpi; give rpi4"),
        (["--emulate"], "needs to know which board, found --device host"),
        (["--device", "rpi4", "--emulate", "--hops", "9"], "--emulate has no use for --hops"),
        (["--device", "rpi4", "--emulate", "--port", "22"], "--emulate has no use for --port"),
        (["--port", "22"], "timing bundles has no use for --port"),
        (["--budget-ms", "3"], "are about a board; say which with --device"),
        (["--device", "rpi4", "--emulate", "--hop", "256"], "give both"),
        (["--device", "rpi4", "--emulate", "--budget-ms", "-1"], "--budget-ms is -1.0"),
        (["--host=-oProxyCommand=x"], "is not a host"),
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

    with pytest.raises(KeyboardInterrupt):
        list(place_parity.results_of([partial(work, index) for index in range(50)], jobs))
    assert len(begun) < 50


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_the_bundles(jobs: int) -> None:
    works = [partial(int, text) for text in ("4", "2", "9", "1")]
    assert list(place_parity.results_of(works, jobs)) == [4, 2, 9, 1]
