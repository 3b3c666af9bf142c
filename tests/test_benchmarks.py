"""The benchmark counts what happened: every hop kept, ticks honoured, memory and machine told apart."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.benchmarks import sound, suite, timing, worker
from ddtasnet_edge.benchmarks.bandwidth import read_bandwidth
from ddtasnet_edge.benchmarks.process import run_module
from ddtasnet_edge.benchmarks.realtime import RealTime
from ddtasnet_edge.benchmarks.timing import HopTimes, measure_hops, measure_overhead, pool
from ddtasnet_edge.benchmarks.worker import Job, Round, measure_round, peak_rss, to_npy
from ddtasnet_edge.errors import AudioError, EdgeError, MissingDependencyError
from ddtasnet_edge.runtimes.graph_io import GraphSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, StreamSpec

# One hop lasts exactly 1 ms, so the hop budget is a round number of nanoseconds.
SPEC = StreamSpec(16000, 2, ("voice", "rest"), 32, 16, 16, ())
MS = 1_000_000

finite_times = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300)


class FakeClock:
    """Nanoseconds that pass only when somebody sleeps or works. Reading it costs one, or a spin would never end."""

    def __init__(self) -> None:
        self.now = 0
        self.slept: list[float] = []

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * 1e9)


class FakeSession(Session):
    """Takes the listed times (ns), one per hop and the last for ever, and remembers what it heard and when."""

    runtime = "fake 1.0"

    def __init__(self, clock: FakeClock | None = None, durations: Iterable[int] = (0,)) -> None:
        super().__init__(SPEC)
        self.clock = clock or FakeClock()
        self.durations = list(durations)
        self.heard: list[FloatArray] = []
        self.starts: list[int] = []
        self.heard_before_reset = 0
        self.is_closed = False

    def _run(self, hop: FloatArray) -> FloatArray:
        self.starts.append(self.clock.now)
        self.clock.now += self.durations[min(len(self.heard), len(self.durations) - 1)]
        self.heard.append(hop.copy())
        return np.zeros((2, *hop.shape), dtype=np.float32)

    def _read_state(self) -> dict[str, FloatArray]:
        return {}

    def _write_state(self, _state: object) -> None:
        self.heard_before_reset = len(self.heard)

    def _close(self) -> None:
        self.is_closed = True


class FakeGraph(FakeSession, GraphSession):
    """Its graph takes 80 % of a step."""

    def execute(self) -> None:
        self.clock.now += self.durations[-1] * 4 // 5


def ramp(count: int) -> FloatArray:
    """`count` hops of SPEC, each filled with its own index."""
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 2, 16)).copy()


def timed(session: FakeSession, count: int, *, warmup: int = 0, paced: bool = False) -> HopTimes:
    clock = session.clock
    return measure_hops(session, ramp(5), count, warmup=warmup, paced=paced, clock=clock, sleep=clock.sleep)


# Overhead


def test_overhead_is_what_a_step_takes_beyond_its_graph() -> None:
    session = FakeGraph(durations=[1_000_000, 50_000])
    assert measure_overhead(session, ramp(5), 21, clock=session.clock) == pytest.approx(10.0)
    assert len(session.heard) == 21


@pytest.mark.parametrize(("session", "found"), [(FakeSession(), False), (FakeGraph(), True)])
def test_a_round_tells_the_overhead_of_a_graph(session: FakeSession, found: bool) -> None:
    job = Job("a.edge", 5, 2, 1, False, 1000)
    made = measure_round(job, ramp(5), lambda _path, _threads: session)
    assert (made.overhead_us is not None) == found
    assert Round.from_dict(json.loads(json.dumps(asdict(made)))) == made


# Percentiles, misses, pooling


def test_percentiles_of_a_known_list() -> None:
    times = HopTimes(990.0, tuple(float(n) for n in range(1000, 0, -1)), 0.0)
    found = {per_mille: times.percentile_us(per_mille) for per_mille in (500, 950, 990, 999, 1000)}
    assert found == {500: 500.0, 950: 950.0, 990: 990.0, 999: 999.0, 1000: 1000.0}
    assert times.misses == 10


@given(finite_times, st.integers(1, 1000))
def test_a_percentile_is_the_smallest_hop_that_covers_its_share(times: list[float], per_mille: int) -> None:
    found = HopTimes(1.0, tuple(times), 0.0).percentile_us(per_mille)
    assert found in times
    assert sum(elapsed <= found for elapsed in times) * 1000 >= per_mille * len(times)
    assert sum(elapsed < found for elapsed in times) * 1000 < per_mille * len(times)


@given(finite_times, st.floats(0.001, 1e6))
def test_misses_are_the_hops_over_the_budget_and_no_others(times: list[float], budget: float) -> None:
    on_time = [elapsed for elapsed in times if elapsed <= budget]
    assert HopTimes(budget, tuple(times), 0.0).misses == len(times) - len(on_time)


@given(st.lists(finite_times, min_size=1, max_size=4))
def test_pooling_keeps_every_hop_of_every_round(rounds: list[list[float]]) -> None:
    parts = [HopTimes(10.0, tuple(times), sum(times)) for times in rounds]
    pooled = pool(parts)
    assert list(pooled.times_us) == [elapsed for times in rounds for elapsed in times]
    assert pooled.misses == sum(part.misses for part in parts)
    assert pooled.percentile_us(1000) == max(max(times) for times in rounds)


@given(finite_times, st.floats(0.001, 1e6))
def test_a_buffer_of_one_hop_is_enough_when_nothing_was_missed_and_only_then(times: list[float], budget: float) -> None:
    found = HopTimes(budget, tuple(times), 0.0)
    assert (found.buffer_hops <= 1) == (found.misses == 0)
    assert found.buffer_hops * budget >= found.buffer_us * (1 - 1e-15)  # the product is rounded
    assert (found.buffer_hops - 1) * budget <= found.buffer_us


def test_rtf_is_compute_time_over_audio_time() -> None:
    assert HopTimes(1000.0, (250.0, 750.0), 1000.0).rtf == 0.5


# Measuring


@given(st.lists(st.integers(1, 5 * MS), min_size=1, max_size=40), st.integers(0, 10))
def test_back_to_back_drops_the_warmup_and_nothing_else(durations: list[int], warmup: int) -> None:
    session = FakeSession(durations=[9 * MS] * warmup + durations)
    times = timed(session, len(durations), warmup=warmup)
    # One nanosecond more than the step took: the clock charges one for being read.
    assert list(times.times_us) == [(duration + 1) / 1000 for duration in durations]
    assert times.busy_us == pytest.approx(sum(times.times_us), rel=1e-12)  # sums of floats in another order
    assert times.misses == sum(duration + 1 > MS for duration in durations)
    assert session.clock.slept == []


def test_hops_are_consecutive_through_the_warmup_and_repeat_from_the_start() -> None:
    session = FakeSession()
    timed(session, 6, warmup=3)
    assert [int(hop[0, 0]) for hop in session.heard] == [0, 1, 2, 3, 4, 0, 1, 2, 3]


def test_paced_hops_start_on_the_hop_clock() -> None:
    session = FakeSession(durations=[MS // 5])
    times = timed(session, 50, paced=True)
    starts = np.array(session.starts)
    # A few nanoseconds late at most: the reads of the clock between the tick and the step.
    assert np.abs(starts - starts[0] - np.arange(50) * MS).max() <= 5
    assert times.misses == 0
    assert times.rtf == pytest.approx(0.2, rel=1e-4)  # 5 ns of clock reads in 1 ms


def test_a_late_paced_hop_makes_the_hops_behind_it_late_until_the_stream_has_caught_up() -> None:
    session = FakeSession(durations=[MS // 2, MS * 5 // 2, MS // 2, MS // 2, MS // 2, MS // 2, MS // 2])
    times = timed(session, 7, paced=True)
    since_tick = [0.5, 2.5, 2.0, 1.5, 1.0, 0.5, 0.5]
    assert np.array(times.times_us) / 1000 == pytest.approx(since_tick, abs=1e-4)  # reads of the clock, 1 ns each
    # Stems on the very tick are a few nanoseconds of clock reads late, so the fifth hop is a miss as well.
    assert times.misses == 4
    assert times.busy_us == pytest.approx(5500, rel=1e-4)


@given(st.lists(st.integers(1, 4 * MS), min_size=1, max_size=60))
def test_paced_hops_queue_and_the_buffer_is_the_smallest_that_hides_it(durations: list[int]) -> None:
    """Against a queue of its own: a hop starts on its tick, or when the hop before it is done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "SPIN_NS", 1000)  # each nanosecond of it is a read of the fake clock
        times = timed(FakeSession(durations=durations), len(durations), paced=True)
    done, expected = 0, []
    for tick, duration in zip(itertools.count(0, MS), durations):
        done = max(done, tick) + duration
        expected.append((done - tick) / 1000)
    reads_of_the_clock = 0.01 * len(durations)
    assert list(times.times_us) == pytest.approx(expected, abs=reads_of_the_clock)

    def late(buffer_us: float) -> int:
        return sum(elapsed > buffer_us for elapsed in times.times_us)

    assert late(times.buffer_us) == 0
    assert late(np.nextafter(times.buffer_us, 0)) > 0
    assert late(times.buffer_hops * times.budget_us) == 0
    assert late((times.buffer_hops - 1) * times.budget_us) > 0


def test_a_stream_slower_than_real_time_misses_every_paced_hop() -> None:
    times = timed(FakeSession(durations=[MS * 3 // 2]), 20, paced=True)
    assert times.misses == 20
    assert times.percentile_us(1000) == pytest.approx(1000 + 20 * 500, rel=1e-4)
    assert times.rtf == pytest.approx(1.5, rel=1e-4)


def test_lateness_of_the_warmup_is_not_charged_to_the_hops_that_count() -> None:
    session = FakeSession(durations=[50 * MS, MS // 2])
    assert timed(session, 10, warmup=1, paced=True).misses == 0


def test_waiting_sleeps_first_and_stops_short_of_the_tick() -> None:
    slow_hops = replace(SPEC, sample_rate=1600)  # hop budget 10 ms, more than the spin
    session = FakeSession(durations=[MS])
    session.spec = slow_hops
    timed(session, 3, paced=True)
    assert len(session.clock.slept) == 2
    assert all(0.007 < pause <= 0.008 for pause in session.clock.slept)  # 10 ms - 1 ms of work - 1 ms of spinning


# Bandwidth floor


@pytest.mark.parametrize("working_set", [1 << 20, 4096, 0])
def test_bandwidth_counts_the_bytes_of_one_pass(working_set: int) -> None:
    read = read_bandwidth(working_set, patience_ns=10, clock=FakeClock())
    # The fake clock lets one nanosecond pass per read of the array; the smallest array is two halves of 1 KiB.
    assert read == pytest.approx(max(working_set, 2048) * 1e9, rel=1e-12)


def test_bandwidth_takes_the_fastest_pass() -> None:
    ticks = iter([0, 0, 900, 900, 1000, 1100, 1100, 1100, 1600, 5000, 5000, 5000, 5700, 9000])
    assert read_bandwidth(4096, patience_ns=2000, clock=lambda: next(ticks)) == pytest.approx(4096 / 100e-9)


# Worker


def test_a_round_opens_times_and_closes_one_bundle() -> None:
    sessions: list[FakeSession] = []

    def opener(path: str, threads: int) -> FakeSession:
        assert (path, threads) == ("some.edge", 2)
        sessions.append(FakeSession())
        return sessions[0]

    made = measure_round(Job("some.edge", 7, 3, 2, False, 4096), ramp(5), opener)
    (session,) = sessions
    assert session.is_closed
    assert session.heard_before_reset == 1  # the hop of `first_stems_us` is forgotten before the stream begins
    assert len(session.heard) == 1 + 3 + 7
    assert len(made.hop_times.times_us) == 7
    assert made.runtime == "fake 1.0"
    assert 0 < made.load_us < made.first_stems_us
    assert made.bandwidth > 0


def test_real_time_is_asked_for_when_the_session_has_made_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    in_force = RealTime(1, memory_locked=True)

    def enter() -> RealTime:
        assert len(session.heard) == 1
        return in_force

    monkeypatch.setattr(worker, "enter_realtime", enter)
    job = Job("some.edge", 7, 3, 1, True, 4096)
    assert measure_round(replace(job, realtime=True), ramp(5), lambda *_: session).realtime is in_force
    assert measure_round(job, ramp(5), lambda *_: FakeSession()).realtime is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")
def test_a_round_runs_on_the_cores_it_was_given() -> None:
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def opener(_path: str, _threads: int) -> FakeSession:
        seen.append(os.sched_getaffinity(0))
        return FakeSession()

    try:
        measure_round(Job("some.edge", 1, 0, 1, False, 4096, cores=[max(before)]), ramp(1), opener)
    finally:
        os.sched_setaffinity(0, before)
    assert seen == [{max(before)}]


def test_peak_memory_is_this_process_and_not_its_parent(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900000 kB\nVmHWM:\t   12345 kB\nVmRSS:\t    1000 kB\n")
    assert peak_rss(status) == 12345 * 1024
    assert peak_rss(tmp_path / "absent") is None


def test_a_worker_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    job = Job(str(tmp_path / "absent.edge"), 1, 0, 1, False, 4096)
    command = [sys.executable, "-m", "ddtasnet_edge.benchmarks.worker", json.dumps(asdict(job))]
    done = subprocess.run(command, input=to_npy(ramp(1)), capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert "no bundle at" in line
    with pytest.raises(EdgeError, match=r"no bundle at .*absent\.edge"):
        suite.run_worker(job, ramp(1))


@pytest.mark.parametrize(
    ("code", "stderr", "message"),
    [
        (-4, b"noise\n", "^the process died of SIGILL measuring some.edge; .* try another version"),
        (0, b"noise\n", "^the process of worker printed nothing where its result in JSON was expected$"),
        (1, b"Traceback (most recent call last):\n  ...\nMemoryError: out of memory\n", "^MemoryError: out of memory$"),
    ],
)
def test_a_worker_that_dies_is_explained(
    monkeypatch: pytest.MonkeyPatch, code: int, stderr: bytes, message: str
) -> None:
    done = subprocess.CompletedProcess([], code, b"", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: done)
    with pytest.raises(EdgeError, match=message) as caught:
        suite.run_worker(Job("some.edge", 1, 0, 1, False, 4096), ramp(1))
    assert stderr.decode() in str(caught.value.__cause__)  # --debug shows all of it


# Stands in for Python: what it measures prints past Python's stdout, meanwhile and after Python's own last words.
NOISY = """
import atexit, os, sys
sys.argv[1:] = sys.argv[3:]
atexit.register(os.write, 1, b"native\\n")
from ddtasnet_edge.benchmarks.peers import worker as peers_worker
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.benchmarks.worker import serve

def measure(*_):
    os.write(1, b"native\\n")
    print("python")
    return HopTimes(1.0, (2.0,), 3.0)

peers_worker.work = lambda job: vars(measure())
sys.exit(MAIN)
"""


@pytest.mark.parametrize(
    ("main", "job"),
    [
        ("serve(measure)", asdict(Job("some.edge", 1, 0, 1, False, 4096))),
        ("peers_worker.main()", {"task": "measure", "peer": "onnx", "root": "", "threads": 1}),
    ],
)
def test_what_libraries_print_is_not_taken_for_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: str, job: dict[str, object]
) -> None:
    stub = tmp_path / "python"
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(NOISY.replace("MAIN", main))} "$@"\n')
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub))
    assert run_module("worker", job, to_npy(ramp(1))) == {"budget_us": 1.0, "times_us": [2.0], "busy_us": 3.0}


# Suite


@given(st.integers(1, 10_000))
def test_rounds_share_the_hops_without_losing_one(hops: int) -> None:
    shares = suite.split_hops(hops)
    assert sum(shares) == hops
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= 1


# Input


def test_the_input_is_consecutive_hops_of_the_clip() -> None:
    spec = replace(SPEC, sample_rate=44100, channels=1, hop_length=512)
    few, more = sound.load_sound(spec, 3), sound.load_sound(spec, 5)
    assert few.hops.shape == (3, 1, 512)
    assert few.hops.flags.c_contiguous
    assert np.array_equal(few.hops, more.hops[:3])
    assert "Falcon 69" in few.description
    assert "CC BY-NC-SA" in few.description


def write_song(path: Path, seconds: float, rate: int = 16000, channels: int = 2) -> FloatArray:
    """A file of noise in float32; returns its samples [channels, n]."""
    samples = np.random.default_rng(3).uniform(-1, 1, (channels, round(seconds * rate))).astype(np.float32)
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return samples


def test_the_input_is_the_middle_of_a_song_that_is_named(tmp_path: Path) -> None:
    samples = write_song(tmp_path / "mine.wav", 14.0)
    made = sound.load_sound(SPEC, 1_000_000, tmp_path / "mine.wav")
    assert np.array_equal(made.hops.transpose(1, 0, 2).reshape(2, -1), samples[:, 2 * 16000 : 12 * 16000])
    assert made.description == "10.0 s of mine.wav (audio supplied by the user)"


def test_a_song_of_another_kind_is_made_to_fit(tmp_path: Path) -> None:
    write_song(tmp_path / "mine.wav", 2.0, rate=8000, channels=1)
    music = sound.load_music(SPEC, tmp_path / "mine.wav")
    assert music.samples.shape == (2, 2 * 16000)


def test_a_song_that_is_hardly_one_is_refused(tmp_path: Path) -> None:
    write_song(tmp_path / "click.wav", 0.3)
    with pytest.raises(AudioError, match=r"click\.wav has 0\.30 s, expected at least 1 s; give a longer song"):
        sound.load_sound(SPEC, 10, tmp_path / "click.wav")


def test_a_song_that_cannot_be_read_here_is_never_replaced_by_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(*_args: object, **_options: object) -> None:
        raise MissingDependencyError("no PyAV")

    monkeypatch.setattr(sound, "open_audio", not_installed)
    with pytest.raises(MissingDependencyError, match="no PyAV"):
        sound.load_sound(SPEC, 10, Path("song.m4a"))


def test_the_input_is_noise_and_says_so_without_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(*_args: object, **_options: object) -> None:
        raise MissingDependencyError("no stempeg")

    monkeypatch.setattr(sound, "default_clip", not_installed)
    made = sound.load_sound(SPEC, 10_000_000)
    assert made.description.startswith("noise")
    assert made.hops.shape == (6000, 2, 16)  # no more than there is: 6 s
    assert made.hops.dtype == np.float32
    assert np.abs(made.hops).max() <= 1.0
    assert 20 * math.log10(float(made.hops.std())) == pytest.approx(-20, abs=0.1)
    assert np.array_equal(made.hops, sound.load_sound(SPEC, 10_000_000).hops)
