"""A busy machine on purpose: one process that never rests on every core that the measured one does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ddtasnet_edge.errors import ConfigError

# Asks now and then for its parent, so that no hog outlives a benchmark that was killed.
BUSY = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    sum(range(100_000))
"""


@dataclass(frozen=True)
class Cores:
    """Who runs where. hogs: how many there are. measured, busy: logical cores, None where the system cannot pin."""

    hogs: int
    measured: tuple[int, ...] | None
    busy: tuple[int, ...] | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cores:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON."""
        lists = {name: cores and tuple(cores) for name, cores in values.items() if name != "hogs"}
        return cls(hogs=values["hogs"], **lists)

    def note(self) -> str:
        """This in a line."""
        count = f"hogs: {self.hogs} busy process{'' if self.hogs == 1 else 'es'}"
        if self.measured is None or self.busy is None:
            return f"{count}, pinned to no core, as this system offers no way to"
        return f"{count}, one on each core of {_listed(self.busy)}; measured on {_listed(self.measured)}"


def share_cores(threads: int) -> Cores:
    """As many cores as threads for the measured process, the others for hogs; ConfigError when none is left.

    The measured process gets the last cores: the first one serves most interrupts.
    """
    pins = hasattr(os, "sched_setaffinity")
    cores = tuple(sorted(os.sched_getaffinity(0))) if pins else tuple(range(os.cpu_count() or 1))
    hogs = len(cores) - threads
    if hogs < 1:
        raise ConfigError(
            f"--hog needs a core beside the {threads} that are measured, and this process may use {len(cores)}; "
            "leave out --hog, or ask for fewer --threads"
        )
    return Cores(hogs, cores[hogs:], cores[:hogs]) if pins else Cores(hogs, None, None)


@contextmanager
def hogs_running(cores: Cores | None) -> Iterator[None]:
    """Keep the busy cores busy; however the work ends, the hogs end with it. None: no hogs."""
    with ExitStack() as running:
        for index in range(cores.hogs if cores else 0):
            hog = running.enter_context(_hog())
            if cores and cores.busy:
                os.sched_setaffinity(hog.pid, {cores.busy[index]})
        yield


@contextmanager
def _hog() -> Iterator[subprocess.Popen[bytes]]:
    # Ctrl-C reaches every process of a terminal; the traceback of a hog is of no use to anybody.
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    hog = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield hog
    finally:
        hog.kill()
        hog.wait()


def _listed(cores: tuple[int, ...]) -> str:
    return ", ".join(str(core) for core in cores)
