"""Work on a board that goes on without us: started once, waited for over as many connections as it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ddtasnet_edge.benchmarks.process import ProcessDiedError, last_words, signal_name
from ddtasnet_edge.benchmarks.remote.connection import Connection, answers
from ddtasnet_edge.benchmarks.remote.refusals import full_disk
from ddtasnet_edge.errors import EdgeError

# How long one question waits there for the end, seconds. It sleeps in the kernel: nothing disturbs what is measured.
WAIT = 20
# Until a started job has its lock.
START_TRIES, START_PAUSE = 100, 0.1
SIGNAL_BASE = 128
# What a signal usually means on a board.
HINTS = {
    "SIGILL": "a library was built for another processor; try another version of it, or another target",
    "SIGKILL": "probably no memory was left; close other programs, or use a smaller model",
    "SIGBUS": "a disk is full or failing, or a library was built for another processor",
    "SIGSEGV": "a crash in native code; try another version of the runtime, or another target",
}


class JobFailedError(EdgeError):
    """A job that ended with another status than 0. said: the end of its stderr."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def run_job(connection: Connection, folder: str, name: str, command: Sequence[str]) -> None:
    """Run a command there to its end; name: of this job alone, a plain word.

    Raises JobFailedError with the last line that it said, ProcessDiedError when a signal ended it, EdgeError when it
    is gone or the connection is.
    """
    start_job(connection, folder, name, command)
    said = _wait(connection, folder, name)
    facts, _, stderr = said.partition("said=\n")
    _judge(connection, answers(facts), stderr)


def start_job(connection: Connection, folder: str, name: str, command: Sequence[str]) -> None:
    """Start a command there, once, however often the answer gets lost."""
    connection.ask("start", folder, name, *command)


def _wait(connection: Connection, folder: str, name: str) -> str:
    starts = 0
    while True:
        said = connection.ask("wait", folder, name, str(WAIT))
        state = answers(said).get("state")
        if state == "starting" and starts < START_TRIES:
            starts += 1
            time.sleep(START_PAUSE)
        elif state != "running":
            return said


def _judge(connection: Connection, facts: dict[str, str], stderr: str) -> None:
    host, state = connection.address.host, facts.get("state")
    if state == "gone":
        raise EdgeError(f"our folder on {host} is gone: was it cleaned up, or another disk mounted? Start again")
    status = int(facts.get("status", -1))
    if status == 0:
        return
    if full := full_disk(host, stderr, int(facts["free"])):
        raise full
    if state != "ended":
        raise EdgeError(f"the job on {host} was cut off without a word: was it restarted? Start again when it is up")
    if status > SIGNAL_BASE:
        name = signal_name(status - SIGNAL_BASE)
        raise ProcessDiedError(f"the process on {host} died of {name}: {HINTS.get(name, 'start again')}")
    raise JobFailedError(f"{host}: {last_words(status, stderr).removeprefix('error: ')}", stderr)
