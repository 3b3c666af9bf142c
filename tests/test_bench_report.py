"""A benchmark report: rounds put together, figures beside their facts, nothing lost in JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from ddtasnet_edge.benchmarks.hogs import Cores
from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.realtime import RealTime
from ddtasnet_edge.benchmarks.report import COLUMNS, BenchReport, BundleResult
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.benchmarks.worker import Round


def a_round(times: list[float], **changes: object) -> Round:
    made = Round("fake 1.0", HopTimes(1000.0, tuple(times), sum(times)), 5000.0, 6000.0, 50_000_000, 1e9)
    return replace(made, **changes)  # type: ignore[arg-type]


def a_result(target: str, times: list[float], model: str = "small") -> BundleResult:
    name = f"{model}-{target}-float32.edge"
    return BundleResult(name, "0123456789ab", "verified", model, target, "float32", 4_000_000, 1000, (a_round(times),))


def a_report(*results: BundleResult) -> BenchReport:
    return BenchReport("host", describe_machine(), "back-to-back", 3, None, 1, 100, 1, "silence", None, results)


def test_a_round_survives_json() -> None:
    made = a_round([1.0, 2.5], peak_rss_bytes=None)
    assert Round.from_dict(json.loads(json.dumps(asdict(made)))) == made


def test_what_was_in_force_survives_json() -> None:
    refused = RealTime(None, memory_locked=True, refused=("SCHED_FIFO was refused",))
    result = replace(a_result("onnx", [1.0]), rounds=(a_round([1.0], realtime=refused),))
    for cores in (Cores(1, (1,), (0,)), Cores(3, None, None)):
        report = replace(a_report(result), hops=None, minutes=0.5, mode="paced", cores=cores)
        assert BenchReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_a_report_survives_json() -> None:
    report = a_report(a_result("torch", [4.0, 8.0]), a_result("tflite", [1.0, 2.0]))
    text = json.dumps(report.to_dict())
    assert BenchReport.from_dict(json.loads(text)) == report


def test_the_speedup_is_against_torch_of_the_same_model_in_the_same_run() -> None:
    torch_small, tflite_small = a_result("torch", [9.0, 8.0, 8.0]), a_result("tflite", [2.0, 7.0, 1.0])
    tflite_base = a_result("tflite", [3.0], model="base")
    report = a_report(tflite_small, torch_small, tflite_base)
    assert [report.speedup(result) for result in report.results] == [4.0, 1.0, None]
    assert [row[COLUMNS.index("x torch")] for row in report.rows()] == ["4.00", "1.00", "-"]


def test_rounds_of_one_bundle_are_put_together() -> None:
    rounds = (
        a_round([1.0, 2.0], load_us=10.0, peak_rss_bytes=30, bandwidth=1e9),
        a_round([1500.0], load_us=30.0, peak_rss_bytes=20, bandwidth=2e9),
        a_round([3.0], load_us=20.0, peak_rss_bytes=None, bandwidth=1e9),
    )
    result = replace(a_result("tflite", [1.0]), rounds=rounds)
    assert result.hop_times.times_us == (1.0, 2.0, 1500.0, 3.0)
    assert result.load_us == 20.0
    assert result.peak_rss_bytes == 30
    assert result.floor_us == 0.5  # 1000 bytes at the fastest 2 GB/s
    assert result.p50_over_floor == 4.0
    assert result.summary()["misses"] == 1
    assert result.summary()["p99.9_us"] == 1500.0


def test_the_table_has_a_cell_for_every_column_and_a_dash_for_what_is_unknown() -> None:
    result = replace(a_result("onnx", [1234.0]), rounds=(a_round([1234.0], peak_rss_bytes=None),))
    (row,) = a_report(result).rows()
    cells = dict(zip(COLUMNS, row, strict=True))
    assert cells["p50"] == cells["max"] == "1.234"
    assert cells["miss"] == "1"
    assert cells["RTF"] == "1.234"
    assert cells["floor"] == "0.001"
    assert cells["RSS"] == "-"


def test_the_notes_carry_the_facts_of_the_run() -> None:
    notes = "\n".join(replace(a_report(a_result("onnx", [1.0])), mode="paced", threads=2).notes())
    machine = describe_machine()
    facts = [machine.cpu, machine.governor, machine.system, machine.python, "paced", "2 threads", "100 warm-up hops"]
    facts += ["input: silence", "fake 1.0", "0123456789ab", "verified", "device host", "first stems after 6 ms"]
    assert [fact for fact in facts if fact not in notes] == []


def test_the_buffer_is_told_where_hops_wait_for_the_clock_and_nowhere_else() -> None:
    report = a_report(a_result("onnx", [300.0, 2500.0]))
    paced = replace(report, mode="paced")
    (entry,) = paced.to_dict()["results"]
    assert (entry["summary"]["buffer_us"], entry["summary"]["buffer_hops"]) == (2500.0, 3)
    assert "no miss with a buffer of 2.500 ms (whole hops: 3)" in paced.notes()[-1]
    (entry,) = report.to_dict()["results"]
    assert (entry["summary"]["buffer_us"], entry["summary"]["buffer_hops"]) == (None, None)
    assert "buffer" not in report.notes()[-1]


def test_the_load_and_what_was_refused_are_a_line_each() -> None:
    refused = RealTime(None, memory_locked=False, refused=("SCHED_FIFO was refused (no): ask", "mlockall was refused"))
    rounds = (a_round([1.0], realtime=refused),) * 3
    report = a_report(
        replace(a_result("onnx", [1.0]), rounds=rounds), replace(a_result("tflite", [1.0]), rounds=rounds)
    )
    notes = replace(report, minutes=10.0, hops=None, cores=Cores(2, (2,), (0, 1))).notes()
    assert "10 minutes per bundle" in notes[1]
    assert notes[2] == "hogs: 2 busy processes, one on each core of 0, 1; measured on 2"
    assert notes[3] == (
        "real-time: ordinary scheduling, memory not locked; SCHED_FIFO was refused (no): ask; mlockall was refused"
    )
    assert len(notes) == 6
