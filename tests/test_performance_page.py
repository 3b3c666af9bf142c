"""The performance page: figures from the files, in the units that it says, beside their command and machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.hogs import Cores
from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.pass_suite import PassReport, PassRun
from ddtasnet_edge.benchmarks.peers import report as peers_report
from ddtasnet_edge.benchmarks.peers.registry import PEERS, REFERENCE, our_name
from ddtasnet_edge.benchmarks.peers.report import PeersReport
from ddtasnet_edge.benchmarks.peers.result import PeerResult
from ddtasnet_edge.benchmarks.peers.worker import PeerCheck
from ddtasnet_edge.benchmarks.performance_page import main
from ddtasnet_edge.benchmarks.performance_sections import SECTIONS
from ddtasnet_edge.benchmarks.realtime import RealTime
from ddtasnet_edge.benchmarks.report import PACED, BenchReport
from ddtasnet_edge.benchmarks.scaling import ScaledModel, ScalingReport
from ddtasnet_edge.benchmarks.timing import HopTimes
from tests.test_bench_report import a_report, a_result, a_round

MACHINE = Machine("Board 7", "Fast 1", 4, "performance", "Linux", "3.11")
# Hop budget 1 ms; p50 and p99 in microseconds.
BENCH = replace(a_report(a_result("torch", [900.0, 1500.0]), a_result("tflite", [100.0, 300.0])), machine=MACHINE)
HEARD = PeerCheck("fake 1.0", 60.0, float("nan"), None, 1.0, 5_000_000)
INT8 = our_name("tflite", "static_wi8_ai8")


def timed(name: str, elapsed_us: float) -> PeerResult:
    return PeerResult(PEERS[name], None, 7.0, HEARD, (HopTimes(1000.0, (elapsed_us,), elapsed_us),))


PEERS_REPORT = PeersReport(
    *("rpi5", MACHINE, "base", "preset base, random weights", 50, 5, 100, 1, "silence", {"onnx": "1.2"}),
    results=(
        *(timed(REFERENCE, 1000.0), timed("litert-int8", 313.5), timed(INT8, 250.0)),
        PeerResult(PEERS["onnx-int8"], "no | kernel"),
    ),
)
# Three rounds with all passes and three without: 1.5, 3 and 2 times as long.
PASSES = PassReport(
    "my base.pt",
    "host",
    MACHINE,
    90,
    "music",
    (PassRun("onnx", "fake 1.0", ("fused",), ((2000.0, 1000.0, 1500.0), (3000.0, 3000.0, 3000.0))),),
)
SCALING = ScalingReport(
    (ScaledModel("small", "small", 512, 512_000, 2_000_000, "random"),),
    tuple(replace(BENCH, threads=threads) for threads in (1, 2)),
)
VALUES: dict[str, dict[str, Any]] = {
    "bench": BENCH.to_dict(),
    "peers": PEERS_REPORT.to_dict(),
    "passes": PASSES.to_dict(),
    "scaling": SCALING.to_dict(),
    "paced": replace(BENCH, mode=PACED, threads=2).to_dict(),
}


def page(folder: Path, *names: str) -> str:
    """The page of some sections."""
    options: list[str] = []
    for name in names:
        path = folder / f"{name}.json"
        console.write_json(str(path), VALUES[name])
        options += [f"--{name}", str(path)]
    out = folder / "PAGE.md"
    assert main([*options, "--out", str(out)]) == 0
    return out.read_text()


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its header first."""
    lines = iter(text.split(heading, 1)[1].splitlines())
    table: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            break
    return [table[0], *table[2:]]


def test_time_per_hop(tmp_path: Path) -> None:
    text = page(tmp_path, "bench")
    columns, torch, tflite = rows(text, "## Time per hop")
    cells = dict(zip(columns, tflite, strict=True))
    assert (cells["target"], cells["p50"], cells["max"], cells["x torch"]) == ("tflite", "0.100", "0.300", "9.00")
    assert dict(zip(columns, torch, strict=True))["miss"] == "1"
    assert "build/small-torch-float32.edge build/small-tflite-float32.edge --hops 3 --json" in text
    assert "machine: Board 7, Fast 1" in text


def test_pictures_stand_beside_the_page_and_are_shown(tmp_path: Path) -> None:
    text = page(tmp_path, "bench", "scaling")
    pictures = sorted(tmp_path.glob("*.png"))
    assert [path.name for path in pictures] == [
        "performance-floor.png",
        "performance-hops.png",
        "performance-scaling.png",
    ]
    assert all(f"]({path.name})" in text for path in pictures)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_peers(tmp_path: Path) -> None:
    text = page(tmp_path, "peers")
    columns, *cells = rows(text, "## The same weights")
    assert [columns[0], *(row[0] for row in cells)] == ["peer", REFERENCE, "litert-int8", INT8, "onnx-int8"]
    assert cells[2] == [INT8, "8", "0.250", "0", "4.00", "1.00", "60.0", "-", "5.0", "7", ""]
    assert cells[3] == ["onnx-int8", "8", *["-"] * 8, "no / kernel"]
    assert rows(text, peers_report.LEGEND)[1] == ["INT8, any runtime", INT8, "litert-int8", "1.25x", "-", "-"]
    assert "ddtasnet-bench --peers --model base --device rpi5 --hops 50 --json FILE" in text
    assert f"- {REFERENCE}: the step, eagerly" in text
    assert f"- {INT8}: " not in text
    assert "Board 7" in text
    assert "(device rpi5)" in text


def test_passes(tmp_path: Path) -> None:
    text = page(tmp_path, "passes")
    gains = ["2.00", "1.75", "2.50"]
    assert rows(text, "## What the passes")[1] == ["my base", "onnx", "fused", "3.000", "1.500", *gains]
    assert "ddtasnet-bench --passes --model 'my base.pt' --hops 90 --json FILE" in text
    assert all(fact in text for fact in ("Board 7", "(device host)", "fake 1.0", "100 warm-up hops", "music"))


def test_scaling(tmp_path: Path) -> None:
    text = page(tmp_path, "scaling")
    limits = rows(text, "### In time on this machine")
    assert limits[1:3] == [["torch", "float32", "1", "none", "-"], ["tflite", "float32", "1", "small", "-"]]
    assert [row[2] for row in limits[1:]] == ["1", "1", "2", "2"]
    assert "--scaling --model small --hops 3" in text
    assert "(random)" in text
    assert text.count("(estimate)") == 2


def test_paced_is_called_paced(tmp_path: Path) -> None:
    text = page(tmp_path, "paced")
    assert "--paced --threads 2 --hops 3" in text
    assert "mode: paced" in text
    assert len(rows(text, "## Paced")) == 3


def test_the_command_has_every_option_that_was_given(tmp_path: Path) -> None:
    realtime = RealTime(1, memory_locked=True)
    result = replace(a_result("tflite", [1.0]), rounds=(a_round([1.0], realtime=realtime),))
    tails = replace(a_report(result), device="rpi5", mode=PACED, hops=None, minutes=10.0, cores=Cores(1, (1,), (0,)))
    written = tmp_path / "tails.json"
    console.write_json(str(written), tails.to_dict())
    assert main(["--paced", str(written), "--out", str(tmp_path / "PAGE.md")]) == 0
    options = "--device rpi5 --paced --hog --realtime --minutes 10 --json FILE"
    assert f"ddtasnet-bench build/small-tflite-float32.edge {options}" in (tmp_path / "PAGE.md").read_text()


def test_every_section_and_the_command_of_the_page(tmp_path: Path) -> None:
    text = page(tmp_path, *SECTIONS)
    assert text.count("\n## ") == len(SECTIONS)
    options = " ".join(f"--{name} {name}.json" for name in SECTIONS)
    assert f"performance_page {options} --out docs/PAGE.md" in " ".join(text.replace("\\\n", "").split())
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_without_its_file_is_left_out(tmp_path: Path, name: str) -> None:
    assert page(tmp_path, name).count("\n## ") == 1


def test_a_report_of_nothing_but_equal_hops_is_drawn(tmp_path: Path) -> None:
    equal = BenchReport.from_dict(VALUES["bench"])
    result = replace(equal.results[1], rounds=tuple(a_result("tflite", [5.0] * 9).rounds))
    (tmp_path / "equal.json").write_text(json.dumps(replace(equal, results=(result,)).to_dict()))
    assert main(["--bench", str(tmp_path / "equal.json"), "--out", str(tmp_path / "PAGE.md")]) == 0
    assert (tmp_path / "performance-hops.png").is_file()


def test_the_page_in_the_docs_is_what_its_files_make(tmp_path: Path) -> None:
    docs = Path(__file__).parents[1] / "docs"
    options = [option for name in SECTIONS for option in (f"--{name}", str(docs / "performance" / f"{name}.json"))]
    assert main([*options, "--out", str(tmp_path / "PERFORMANCE.md")]) == 0
    assert (tmp_path / "PERFORMANCE.md").read_text() == (docs / "PERFORMANCE.md").read_text()
    for picture in docs.glob("performance-*.png"):
        assert (tmp_path / picture.name).exists()
