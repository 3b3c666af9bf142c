"""Real-time scheduling and locked memory for this process, as far as the system permits."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge.errors import DeviceError

# The lowest real-time priority comes before every ordinary process and holds up none of the kernel's own threads.
PRIORITY = 1
# Of <sys/mman.h> on Linux: what is mapped now and what will be.
MCL_CURRENT, MCL_FUTURE = 1, 2

FIFO_REMEDY = f"allow it with ulimit -r {PRIORITY} or CAP_SYS_NICE"
LOCK_REMEDY = "allow it with ulimit -l unlimited or CAP_IPC_LOCK"


@dataclass(frozen=True)
class RealTime:
    """What is in force. priority: of SCHED_FIFO, None for the ordinary scheduler. refused: what, why, what to do."""

    priority: int | None
    memory_locked: bool
    refused: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RealTime:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON."""
        return cls(**{**values, "refused": tuple(values["refused"])})

    def note(self) -> str:
        """This in a line."""
        scheduler = "ordinary scheduling" if self.priority is None else f"SCHED_FIFO at priority {self.priority}"
        memory = "memory locked" if self.memory_locked else "memory not locked"
        return "; ".join([f"real-time: {scheduler}, {memory}", *self.refused])


def check_support() -> None:
    """Raise DeviceError on a system that lacks the calls."""
    if platform.system() != "Linux":
        raise DeviceError(
            f"--realtime needs sched_setscheduler and mlockall as Linux has them, this is {platform.system()}; "
            "leave out --realtime"
        )


def enter_realtime() -> RealTime:
    """Give every thread of this process SCHED_FIFO and keep its memory from being paged out; never raises.

    To be called when the session has made its first step, so that its threads and memory are there; threads started
    later inherit. Linux stops a real-time process that leaves no pause for 50 ms of each second, hence only for hops
    that wait for the hop clock.
    """
    refusals = (
        _refusal("SCHED_FIFO", _schedule, FIFO_REMEDY),
        _refusal("mlockall", _lock_memory, LOCK_REMEDY),
    )
    fifo_refused, lock_refused = refusals
    return RealTime(
        priority=PRIORITY if fifo_refused is None else None,
        memory_locked=lock_refused is None,
        refused=tuple(refusal for refusal in refusals if refusal is not None),
    )


def _refusal(name: str, ask: Callable[[], None], remedy: str) -> str | None:
    try:
        ask()
    except OSError as error:
        return f"{name} was refused ({error.strerror}): {remedy}"
    return None


def _schedule() -> None:
    for thread in Path("/proc/self/task").iterdir():
        # One that has just ended needs nothing.
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))


def _lock_memory() -> None:
    # The C library is part of this process.
    if ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
