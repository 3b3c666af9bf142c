"""Real-time scheduling and locked memory: asked for in full, and a refusal is told, not raised."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from ddtasnet_edge.benchmarks.realtime import RealTime, enter_realtime

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="other systems are refused before")

REPORT = """
import json, os
from dataclasses import asdict
from pathlib import Path
from ddtasnet_edge.benchmarks.realtime import enter_realtime

found = asdict(enter_realtime())
(locked,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmLck")]
system = {"system_fifo": os.sched_getscheduler(0) == os.SCHED_FIFO, "system_locked": int(locked.split()[1]) > 0}
print(json.dumps(found | system))
"""


class FakeSystem:
    """Remembers what it was asked and refuses what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fifo: int = 0, lock: int = 0, gone: int | None = None) -> None:
        self.fifo, self.lock, self.gone = fifo, lock, gone
        self.scheduled: dict[int, tuple[int, int]] = {}
        self.locked: list[int] = []
        monkeypatch.setattr(os, "sched_setscheduler", self._schedule)
        monkeypatch.setattr(ctypes, "CDLL", lambda _name, **_options: SimpleNamespace(mlockall=self._mlockall))

    def _schedule(self, thread: int, policy: int, parameters: os.sched_param) -> None:
        if thread == self.gone:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if self.fifo:
            raise OSError(self.fifo, os.strerror(self.fifo))
        self.scheduled[thread] = (policy, parameters.sched_priority)

    def _mlockall(self, flags: int) -> int:
        self.locked.append(flags)
        ctypes.set_errno(self.lock)
        return -1 if self.lock else 0


def test_every_thread_is_scheduled_and_all_memory_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    system, leave = FakeSystem(monkeypatch), threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        assert enter_realtime() == RealTime(priority=1, memory_locked=True)
        assert {threading.get_native_id(), thread.native_id} <= set(system.scheduled)
    finally:
        leave.set()
        thread.join()
    assert set(system.scheduled.values()) == {(os.SCHED_FIFO, 1)}
    assert system.locked == [1 | 2]  # MCL_CURRENT, MCL_FUTURE


def test_a_refused_scheduler_leaves_the_memory_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeSystem(monkeypatch, fifo=errno.EPERM)
    found = enter_realtime()
    assert (found.priority, found.memory_locked) == (None, True)
    assert found.note() == (
        "real-time: ordinary scheduling, memory locked; SCHED_FIFO was refused (Operation not permitted): "
        "allow it with ulimit -r 1 or CAP_SYS_NICE"
    )


def test_a_refused_lock_leaves_the_scheduler_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeSystem(monkeypatch, lock=errno.ENOMEM)
    found = enter_realtime()
    assert (found.priority, found.memory_locked) == (1, False)
    assert found.note() == (
        "real-time: SCHED_FIFO at priority 1, memory not locked; mlockall was refused (Cannot allocate memory): "
        "allow it with ulimit -l unlimited or CAP_IPC_LOCK"
    )


def test_both_refusals_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeSystem(monkeypatch, fifo=errno.EPERM, lock=errno.EPERM)
    found = enter_realtime()
    assert (found.priority, found.memory_locked, len(found.refused)) == (None, False, 2)


def test_a_thread_that_has_just_ended_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeSystem(monkeypatch, gone=threading.get_native_id())
    assert enter_realtime() == RealTime(priority=1, memory_locked=True)


def test_the_report_says_what_the_system_says() -> None:
    """In a process of its own, and true whether this system permits it or not."""
    done = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["memory_locked"] == found["system_locked"]
    assert (found["priority"] is not None) == found["system_fifo"]
    assert len(found["refused"]) == (not found["memory_locked"]) + (found["priority"] is None)
