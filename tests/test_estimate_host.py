"""A machine's own profile: what is fitted to probes is what made their times, and predicts what was left out."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.benchmarks.estimate import host_suite, host_worker, validation
from ddtasnet_edge.benchmarks.estimate.cost import PRESET_COSTS, StepCost, Work, preset_costs
from ddtasnet_edge.benchmarks.estimate.host import Measured, fit_profile, solve_non_negative
from ddtasnet_edge.benchmarks.estimate.host_suite import HostReport, read_caches
from ddtasnet_edge.benchmarks.estimate.host_worker import ShortRound
from ddtasnet_edge.benchmarks.estimate.memory import PEAKS, peak_bytes
from ddtasnet_edge.benchmarks.estimate.model import estimate
from ddtasnet_edge.benchmarks.estimate.preset_costs import main as write_costs
from ddtasnet_edge.benchmarks.estimate.probes import PROBES
from ddtasnet_edge.benchmarks.estimate.profile import Cache, DeviceProfile
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.worker import Job
from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.errors import DeviceError
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray
from tests.bundles import Workshop
from tests.test_estimate import MB, board, figure

CACHES = (Cache("l2", MB, 1, "a test"), Cache("l3", 16 * MB, 2, "a test"))
TRUTH = board(
    read__l2=figure(40.0),
    read__l3=figure(25.0),
    read__ram=figure(12.0),
    macs__float32=figure(30.0),
    macs__int8=figure(60.0),
    macs__int4=figure(40.0),
    litert__operator_us=figure(0.4),
)
HOST = replace(TRUTH, caches=CACHES)


def probe(model: str, weights: int, dtype: str, truth: DeviceProfile = HOST, noise: float = 1.0) -> Measured:
    """A bundle with so many weights as the true machine would have run it."""
    size = round(weights * {"float32": 4, "int8": 1, "int4": 0.6}[dtype])
    cost = StepCost(model, "tflite", dtype, 1e4, (Work(dtype, size, 2 * weights),), 300, 1000, size)
    us = noise * estimate(truth, cost).us
    return Measured(cost, (1.5 * us, us, 1.2 * us), 1.1 * us, 5.0, 80e9, 50_000_000 + 2 * size)


def probes(noise: float = 1.0) -> list[Measured]:
    sizes = (200_000, 900_000, 4_000_000, 12_000_000, 50_000_000)
    names = list(PROBES)
    return [
        probe(names[i], size, dtype, noise=noise)
        for i, size in enumerate(sizes)
        for dtype in ("float32", "int8", "int4")
    ]


def report(points: list[Measured]) -> HostReport:
    return HostReport("Chip", 2, "Linux", ("fake 1",), 10, 3, "noise", CACHES, tuple(points))


def test_a_fit_predicts_what_it_never_saw() -> None:
    profile = fit_profile("Chip", 2, CACHES, probes())
    for weights in (500_000, 2_000_000, 30_000_000, 100_000_000):
        for dtype in ("float32", "int8", "int4"):
            unseen = probe("tiny", weights, dtype)
            assert estimate(profile, unseen.cost).us == pytest.approx(unseen.us, rel=0.02)


def test_a_fit_to_a_slower_machine_is_slower() -> None:
    fast, slow = (fit_profile("Chip", 2, CACHES, probes(noise)) for noise in (1.0, 2.0))
    cost = probe("tiny", 4_000_000, "int8").cost
    assert estimate(slow, cost).us == pytest.approx(2 * estimate(fast, cost).us, rel=0.05)


def test_nothing_is_read_faster_than_it_can_be_read() -> None:
    found = fit_profile("Chip", 2, CACHES, [replace(each, bandwidth=20e9) for each in probes()])
    assert all(value <= 20.0 * (1 + 1e-9) for name, value in found.values().items() if ".read." in name)


def test_too_few_probes_are_refused() -> None:
    with pytest.raises(DeviceError, match="too few"):
        fit_profile("Chip", 2, CACHES, probes()[:4])
    with pytest.raises(DeviceError, match="no probe"):
        fit_profile("Chip", 2, CACHES, [])


@given(st.lists(st.floats(0, 10), min_size=3, max_size=3), st.integers(0, 1000))
def test_what_is_not_negative_is_found(truth: list[float], seed: int) -> None:
    matrix = np.random.default_rng(seed).uniform(0.1, 1.0, (9, 3))
    found = solve_non_negative(matrix, matrix @ np.array(truth))
    assert (found >= 0).all()
    assert matrix @ found == pytest.approx(matrix @ np.array(truth), abs=1e-6)


def test_what_would_be_negative_is_zero() -> None:
    matrix = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = solve_non_negative(matrix, np.array([2.0, -1.0, 1.0]))
    assert found == pytest.approx([1.5, 0.0])


def test_the_session_is_that_of_small_probes_and_never_negative() -> None:
    """What it adds is a difference: of long hops on a busy machine it is anything, below zero too."""
    noisy = [replace(each, overhead_us=5.0 if each.cost.working_set < 3 * MB else -400.0) for each in probes()]
    assert fit_profile("Chip", 2, CACHES, noisy).values()["litert.hop_us"] == 5.0
    broken = [replace(each, overhead_us=-1.0) for each in probes()]
    assert fit_profile("Chip", 2, CACHES, broken).values()["litert.hop_us"] == 0.0


def test_a_cache_that_others_use_too_is_fitted_to_a_sixteenth() -> None:
    """The machine keeps 5/8 of the cache for us, which no quarter of it is; near that size it decides the time."""
    truth = replace(HOST, caches=(CACHES[0], Cache("l3", 10 * MB, 2, "a test")))
    names = list(PROBES)
    sizes = (200_000, 900_000, 3_000_000, 4_000_000, 12_000_000, 17_000_000, 50_000_000)
    points = [
        probe(names[i], size, dtype, truth) for i, size in enumerate(sizes) for dtype in ("float32", "int8", "int4")
    ]
    profile = fit_profile("Chip", 2, CACHES, points)
    assert profile.caches[-1].bytes == 10 * MB
    unseen = probe("base", 15_000_000, "int8", truth)
    assert estimate(profile, unseen.cost).us == pytest.approx(unseen.us, rel=0.02)


def test_a_share_of_the_largest_cache_is_never_smaller_than_the_cache_before_it() -> None:
    """2/16 of 8 MB are less than an L2 of 1.25 MB; probes of a machine whose L3 is that small do not change it."""
    caches = (Cache("l2", 5 * MB // 4, 1, "a test"), Cache("l3", 8 * MB, 2, "a test"))
    points = [
        probe(name, size, dtype, replace(HOST, caches=(caches[0], replace(caches[1], bytes=MB))))
        for name, size in zip(PROBES, (200_000, 900_000, 1_200_000, 1_600_000, 2_100_000, 4_000_000), strict=False)
        for dtype in ("float32", "int8", "int4")
    ]
    l2, l3 = fit_profile("Chip", 2, caches, points).caches
    assert l2 == caches[0]
    assert l2.bytes <= l3.bytes < 2 * l2.bytes


def test_a_hop_is_that_of_the_fastest_round_and_repeats_as_its_halves_do() -> None:
    measured = replace(probe("tiny", 500_000, "int8"), rounds_us=(40.0, 22.0, 20.0, 30.0))
    assert measured.us == 20.0
    assert measured.repeated == pytest.approx(22.0 / 20.0 - 1)
    assert replace(measured, rounds_us=(40.0,)).repeated is None


def test_presets_test_what_probes_fitted() -> None:
    found = report([*probes(), probe("tiny", 500_000, "int8", noise=1.25)])
    (check,) = found.checks()
    assert check.measured.cost.model == "tiny"
    assert check.error == pytest.approx(1 / 1.25 - 1, abs=0.02)
    assert check.error_of_p50 == pytest.approx((check.error + 1) / 1.1 - 1)
    assert found.rows() == [["litert", "tiny", "int8", *check.row()[3:]]]
    assert len(check.row()) == len(host_suite.COLUMNS)
    (said,) = (note for note in found.notes() if note.startswith("litert: mean error"))
    assert said.startswith(
        "litert: mean error 20.0%, largest 20.0%, 0 of 1 points within 15%; against p50: mean error 27"
    )
    assert f"noise: {found.noise()}" in found.notes()
    assert "halves of the rounds: 20.0% apart, at most 20.0%" in said


@pytest.mark.parametrize(
    ("noises", "said"),
    [
        ((1.0, 1.0), "is met by litert"),
        # 8 % off by what a tenth of the hops took; the middle hop is a tenth longer than that, 16 % off.
        (
            (1.0, 1.08),
            "is met by no runtime and missed by litert: on 0 of 2 points together, against the middle hop on 1",
        ),
        (
            (1.25, 1.08),
            "is met by no runtime and missed by litert: on 1 of 2 points together, against the middle hop on 2",
        ),
    ],
)
def test_the_goal_is_told_by_both_measures(noises: tuple[float, ...], said: str) -> None:
    found = report([*probes(), *(probe("tiny", 500_000, "int8", noise=noise) for noise in noises)])
    assert f"goal: 15% on every point {said}" in found.notes()
    (inside,) = (note for note in found.notes() if note.startswith("litert: mean error"))
    within = [
        sum(abs(error) <= 0.15 for error in errors)
        for errors in zip(*((check.error, check.error_of_p50) for check in found.checks()), strict=True)
    ]
    assert re.findall(r"(\d) of 2 points within 15%", inside) == [str(count) for count in within]


def test_a_runtime_that_meets_the_goal_is_named_apart_from_one_that_does_not() -> None:
    other = [
        replace(point, cost=replace(point.cost, target="onnx"))
        for point in [*probes(), probe("tiny", 500_000, "int8", noise=1.25)]
    ]
    found = report([*probes(), probe("tiny", 500_000, "int8"), *other])
    assert "is met by litert and missed by onnxruntime: on 1 of 1 points" in found.goal()


def test_the_noise_is_that_of_rounds_and_of_hops() -> None:
    quiet = replace(probe("tiny", 500_000, "int8"), rounds_us=(10.0, 11.0, 12.0), p50_us=10.5)
    wild = replace(quiet, rounds_us=(10.0, 30.0), p50_us=14.0)
    said = report([quiet, quiet, wild]).noise()
    assert said.startswith("of 3 bundles the slowest round took 20% longer than the fastest (median; at most 200%)")
    assert "the middle hop 5% longer" in said
    assert said.endswith("(at most 40%)")


def test_a_report_survives_json_and_is_computed_again() -> None:
    found = report([*probes(), probe("tiny", 500_000, "int8")])
    values = json.loads(json.dumps(found.to_dict()))
    assert HostReport.from_dict(values) == found
    (check,), (written,) = found.checks(), values["checks"]
    assert (written["us"], written["error"], written["error_of_p50"]) == pytest.approx(
        (check.predicted.us, check.error, check.error_of_p50)
    )
    assert written["error"] != written["error_of_p50"]


def test_the_committed_report_holds_what_follows_from_its_measurements() -> None:
    values = json.loads((Path(__file__).parent.parent / "docs/performance/estimate.json").read_text())
    checks = HostReport.from_dict(values["host"]).to_dict()["checks"]
    assert [sorted(check) for check in values["host"]["checks"]] == [sorted(check) for check in checks]
    for written, check in zip(values["host"]["checks"], checks, strict=True):
        for name in ("us", "error", "error_of_p50"):
            assert written[name] == pytest.approx(check[name], rel=1e-6, abs=1e-6)


def test_probes_are_no_presets() -> None:
    assert not set(PROBES) & set(PRESETS)
    shapes = {(config.units, config.bases) for config in PRESETS.values()}
    assert not shapes & {(config.units, config.bases) for config in PROBES.values()}


def test_caches_are_read_as_linux_shows_them(tmp_path: Path) -> None:
    for index, (level, size, shared) in enumerate((("1", "32K", "1"), ("3", "8M", "0,000000ff"), ("2", "512K", "1"))):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("size", size), ("shared_cpu_map", shared)):
            (folder / name).write_text(f"{text}\n")
    found = read_caches(tmp_path)
    assert [(cache.name, cache.bytes, cache.shared_by) for cache in found] == [("l2", 512 << 10, 1), ("l3", 8 << 20, 8)]


def test_a_system_without_caches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="does not show its caches"):
        read_caches(tmp_path)


def test_a_peak_is_the_base_and_the_copies() -> None:
    cost = probe("tiny", 1_000_000, "int8").cost
    base, copies = PEAKS["litert"]
    assert peak_bytes(cost) == base + copies * cost.size_bytes
    assert peak_bytes(replace(cost, target="torch")) is None


def test_validation_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report([*probes(), probe("tiny", 500_000, "int8")])
    monkeypatch.setattr(validation, "measure_host", lambda *_, **__: found)
    out = tmp_path / "estimate.json"
    assert validation.main(["--measure", str(tmp_path), "--json", str(out)]) == 0
    assert "DTLN" in capsys.readouterr().out
    assert HostReport.from_dict(json.loads(out.read_text())["host"]) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "tny"], "unknown preset 'tny'"),
        (["--target", "tflit"], "did you mean 'tflite'"),
        (["--hops", "0"], "at least 1"),
        (["--rounds", "0"], "at least 1"),
    ],
)
def test_validation_refuses_what_it_cannot_do(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validation.main(options) == 2
    assert said in capsys.readouterr().err


def test_costs_are_written_from_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddtasnet_edge.benchmarks.estimate.preset_costs.collect", lambda _: list(preset_costs()))
    out = tmp_path / "costs.json"
    assert write_costs(["--bundles", str(tmp_path), "--out", str(out)]) == 0
    assert out.read_text() == PRESET_COSTS.read_text()


def test_a_folder_without_the_presets_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_costs(["--bundles", str(tmp_path)]) == 2
    assert "no bundle at" in capsys.readouterr().err


def test_measuring_builds_probes_first_and_takes_every_bundle_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorted by size in every round; the fastest round is what a bundle took."""
    large, small = (fake_bundle(size) for size in (9, 1))
    built: list[str] = []
    jobs: list[Job] = []

    def build(what: str) -> list[SimpleNamespace]:
        built.append(what)
        return [large] if what == "presets" else [small]

    def run(module: str, values: Job, _: object) -> dict[str, object]:
        assert module == host_worker.MODULE
        jobs.append(values)
        turn = len(jobs)
        return asdict(ShortRound("fake 1", 100.0 - turn, 200.0 - turn, float(turn), 1e9 * turn, 1000 * turn))

    monkeypatch.setattr(host_suite, "read_caches", lambda: CACHES)
    monkeypatch.setattr(host_suite, "build_probes", lambda *_: build("probes"))
    monkeypatch.setattr(host_suite, "build_presets", lambda *_: build("presets"))
    monkeypatch.setattr(host_suite, "run_process", run)
    monkeypatch.setattr(host_suite, "load_sound", lambda *_: SimpleNamespace(hops=None, description="noise"))
    monkeypatch.setattr(host_suite, "cost_of", lambda _: preset_costs()[0])
    found = host_suite.measure_host(tmp_path / "kept", ["tiny"], ["tflite"], hops=7, rounds=3, quiet=True)
    assert built == ["probes", "presets"]
    assert [job.weight_bytes for job in jobs] == [1, 9] * 3
    assert {(job.hops, job.threads) for job in jobs} == {(7, 1)}
    first = found.points[0]
    assert (first.rounds_us, first.us, first.p50_us) == ((99.0, 97.0, 95.0), 95.0, 195.0)
    assert (first.overhead_us, first.bandwidth, first.peak_rss_bytes) == (3.0, 5e9, 5000)
    assert (found.rounds, found.runtimes) == (3, ("fake 1",))


def fake_bundle(size: int) -> SimpleNamespace:
    manifest = SimpleNamespace(target="tflite", spec=None, graph={"weight_bytes": size})
    return SimpleNamespace(manifest=manifest, path=Path("bundle"))


def test_a_short_round_is_of_hops_after_the_warm_up(tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny.bundle("tflite", "float32")
    hops = load_sound(bundle.manifest.spec, 4).hops
    job = Job(str(bundle.path), 5, 2, threads=1, paced=False, weight_bytes=4096)
    stepped: list[object] = []

    def opener(path: str, threads: int) -> Session:
        session = open_session(path, threads)
        step = session.step

        def counted(hop: FloatArray) -> FloatArray:
            stepped.append(hop)
            return step(hop)

        monkeypatch.setattr(session, "step", counted)
        return session

    found = host_worker.measure_short_round(job, hops, opener)
    # As many again beside executions of the graph, for what the session adds.
    assert len(stepped) == 2 + 5 + 5
    assert found.runtime.startswith("ai-edge-litert")
    assert 0 < found.calm_us <= found.p50_us
    assert found.bandwidth > 0


def test_the_peak_is_taken_before_what_is_read_adds_to_it(tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny.bundle("tflite", "float32")
    done: list[str] = []

    def peak() -> int:
        done.append("peak")
        return 7

    def read(size: int, _: int) -> float:
        done.append(f"read {size}")
        return 9.0

    monkeypatch.setattr(host_worker, "peak_rss", peak)
    monkeypatch.setattr(host_worker, "read_bandwidth", read)
    job = Job(str(bundle.path), 1, 0, threads=1, paced=False, weight_bytes=4096)
    found = host_worker.measure_short_round(job, load_sound(bundle.manifest.spec, 1).hops, open_session)
    assert (found.peak_rss_bytes, found.bandwidth) == (7, 9.0)
    assert done == ["peak", "read 4096"]


@pytest.mark.parametrize("runtime", PEAKS)
def test_peaks_are_fitted_to_those_that_were_measured(runtime: str) -> None:
    """In relative terms: an error of a tenth of a small peak counts as much as of a large one."""
    values = json.loads((Path(__file__).parent.parent / "docs/performance/estimate.json").read_text())
    points = [point for point in HostReport.from_dict(values["host"]).points if point.cost.runtime == runtime]
    peaks = np.array([point.peak_rss_bytes for point in points], dtype=np.float64)
    sizes = np.array([point.cost.size_bytes for point in points], dtype=np.float64)
    matrix = np.stack([1 / peaks, sizes / peaks], axis=1)
    assert np.linalg.lstsq(matrix, np.ones_like(peaks), rcond=None)[0] == pytest.approx(PEAKS[runtime], rel=0.01)


def test_peaks_are_those_that_were_measured() -> None:
    """A tenth: how far peaks of the same graph are from each other on one machine, and more than enough here."""
    values = json.loads((Path(__file__).parent.parent / "docs/performance/estimate.json").read_text())
    for point in HostReport.from_dict(values["host"]).points:
        assert point.peak_rss_bytes is not None
        assert peak_bytes(point.cost) == pytest.approx(point.peak_rss_bytes, rel=0.1)
