"""A module of this package in a fresh process: what it costs and what it breaks are its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ddtasnet_edge.errors import EdgeError

# Of output that is no result, for the message.
SHOWN_BYTES = 80


class ProcessDiedError(EdgeError):
    """A signal ended a process: a crash in native code, or no memory left."""


def keep_stdout() -> Callable[[Mapping[str, Any]], None]:
    """To be called first in a module that `run_module` runs: stdout is for the result alone from now on.

    What anything else prints there, native libraries at exit too, goes to stderr. Returns what prints the result.
    """
    kept = os.dup(1)
    os.dup2(2, 1)

    def print_result(result: Mapping[str, Any]) -> None:
        with os.fdopen(kept, "w", encoding="utf-8") as stdout:
            json.dump(result, stdout)

    return print_result


def run_module(
    module: str,
    job: Mapping[str, Any],
    given: bytes = b"",
    *,
    patience: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `python -m ddtasnet_edge.benchmarks.<module> JOB` prints on stdout, both as JSON.

    given: its stdin; patience: seconds until it is stopped. Raises EdgeError with the last line that it said when it
    fails, takes too long or prints something else, ProcessDiedError when a signal ended it.
    """
    command = [sys.executable, "-m", f"ddtasnet_edge.benchmarks.{module}", json.dumps(job)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=patience, env=environment)
    except subprocess.TimeoutExpired as expired:
        raise EdgeError(f"took longer than {expired.timeout / 60:.0f} minutes") from None
    said = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            printed = repr(done.stdout[:SHOWN_BYTES].decode(errors="replace")) if done.stdout else "nothing"
            reason = f"the process of {module} printed {printed} where its result in JSON was expected"
            raise EdgeError(reason) from subprocess.SubprocessError(said)
        return found
    if done.returncode < 0:
        died = f"the process died of {signal_name(-done.returncode)}"
        raise ProcessDiedError(died) from subprocess.SubprocessError(said)
    raise EdgeError(last_words(done.returncode, said)) from subprocess.SubprocessError(said)


def last_words(status: int, said: str) -> str:
    """The last line of what a process said before it failed."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"the process ended with {status} and said nothing"


def signal_name(number: int) -> str:
    """As SIGKILL for 9; signals without a name of their own keep their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
