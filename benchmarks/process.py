"""A module of this package in a fresh process: what it costs and what it breaks are its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ddtasnet_edge.errors import EdgeError


class ProcessDiedError(EdgeError):
    """A signal ended a process: a crash in native code, or no memory left."""


def run_module(
    module: str,
    job: Mapping[str, Any],
    given: bytes = b"",
    *,
    patience: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `python -m ddtasnet_edge.benchmarks.<module> JOB` prints as the last line of stdout, both as JSON.

    given: its stdin; patience: seconds until it is stopped. Raises EdgeError with the last line that it said when it
    fails or takes too long, ProcessDiedError when a signal ended it.
    """
    command = [sys.executable, "-m", f"ddtasnet_edge.benchmarks.{module}", json.dumps(job)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=patience, env=environment)
    except subprocess.TimeoutExpired as expired:
        raise EdgeError(f"took longer than {expired.timeout / 60:.0f} minutes") from None
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    said = done.stderr.decode(errors="replace")
    if done.returncode < 0:
        died = f"the process died of {signal.Signals(-done.returncode).name}"
        raise ProcessDiedError(died) from subprocess.SubprocessError(said)
    lines = said.strip().splitlines()
    reason = lines[-1] if lines else f"the process ended with {done.returncode} and said nothing"
    raise EdgeError(reason) from subprocess.SubprocessError(said)
