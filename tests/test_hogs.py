"""The other cores are busy while a benchmark runs, and idle again whatever ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks import cli, hogs, suite
from ddtasnet_edge.benchmarks.hogs import Cores, hogs_running, share_cores
from ddtasnet_edge.benchmarks.worker import Job, Round
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.spec import FloatArray
from tests.test_cli_bench import FakeWorker, make_bundle


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every hog that was started."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def remember(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        processes.append(start(*arguments, **options))  # type: ignore[call-overload]
        return processes[-1]

    monkeypatch.setattr(hogs.subprocess, "Popen", remember)
    return processes


def give_cores(monkeypatch: pytest.MonkeyPatch, *cores: int) -> None:
    """A machine with these cores, on which pinning is remembered instead of done."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(cores), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_arguments: None, raising=False)


def test_the_measured_process_has_as_many_cores_as_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    give_cores(monkeypatch, 0, 2, 3, 7)
    assert share_cores(1) == Cores(3, measured=(7,), busy=(0, 2, 3))
    assert share_cores(3) == Cores(1, measured=(2, 3, 7), busy=(0,))


def test_no_core_left_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    give_cores(monkeypatch, 0, 1)
    with pytest.raises(
        ConfigError, match=r"--hog needs a core beside the 2 that are measured, .* may use 2; leave out"
    ):
        share_cores(2)


def test_where_nothing_can_be_pinned_hogs_run_anywhere(
    monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    cores = share_cores(1)
    assert cores == Cores(2, None, None)
    assert cores.note() == "hogs: 2 busy processes, pinned to no core, as this system offers no way to"
    with hogs_running(cores):
        assert len(started) == 2


@pytest.mark.parametrize("end", [None, RuntimeError, KeyboardInterrupt])
def test_hogs_run_on_their_cores_and_end_with_the_work(
    end: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    pinned: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *arguments: pinned.append(arguments), raising=False)

    def work() -> None:
        with hogs_running(Cores(2, (2,), (0, 1))):
            assert [hog.poll() for hog in started] == [None, None]
            if end is not None:
                raise end

    if end is None:
        work()
    else:
        with pytest.raises(end):
            work()
    assert pinned == [(started[0].pid, {0}), (started[1].pid, {1})]
    assert [hog.poll() is not None for hog in started] == [True, True]


def test_hogs_that_cannot_be_pinned_end_too(
    monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError("no such core")

    monkeypatch.setattr(os, "sched_setaffinity", fail, raising=False)
    with pytest.raises(OSError, match="no such core"), hogs_running(Cores(1, (1,), (0,))):
        raise AssertionError("the work must not begin")
    assert started[0].poll() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the number of a parent that is gone")
def test_a_hog_whose_parent_is_gone_ends_by_itself() -> None:
    nobodys_child = subprocess.run([sys.executable, "-c", hogs.BUSY, "0"], timeout=60, check=False)
    assert nobodys_child.returncode == 0


def test_hogs_run_while_bundles_are_measured_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_cores(monkeypatch, 0, 1)
    events: list[object] = []
    measure = FakeWorker()

    @contextmanager
    def running(cores: Cores | None) -> Iterator[None]:
        events.append(cores)
        yield
        events.append("ended")

    def run(job: Job, hops: FloatArray) -> Round:
        events.append(job.cores)
        return measure(job, hops)

    monkeypatch.setattr(suite, "hogs_running", running)
    monkeypatch.setattr(suite, "run_worker", run)
    bundle = str(make_bundle(tmp_path / "some.edge"))
    assert cli.main([bundle, "--hog", "--hops", "2", "--quiet"]) == 0
    assert events == [Cores(1, (1,), (0,)), (1,), (1,), "ended"]
    events.clear()
    assert cli.main([bundle, "--hops", "1", "--quiet"]) == 0
    assert events == [None, None, "ended"]
