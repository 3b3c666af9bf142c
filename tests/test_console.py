"""How a command ends when it is told to."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator

import pytest

from ddtasnet_edge import console

QUIET = Namespace(debug=False)


def not_handled(number: int, _: object) -> None:
    pytest.fail(f"{signal.Signals(number).name} would have ended the tests")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """No signal ends the tests, and handlers are as before afterwards."""
    before = {number: signal.signal(number, not_handled) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_cleans_up(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    cleaned: list[str] = []

    def work(_: Namespace) -> int:
        try:
            signal.raise_signal(number)
            return console.EXIT_OK
        finally:
            cleaned.append("all")

    assert console.run_command(work, QUIET) == console.EXIT_INTERRUPTED
    assert cleaned == ["all"]
    assert capsys.readouterr().err == "interrupted; nothing half-written was kept\n"


def test_a_terminal_that_is_closed_is_told_twice_and_interrupts_once() -> None:
    cleaned: list[str] = []

    def work(_: Namespace) -> int:
        try:
            signal.raise_signal(signal.SIGHUP)
            return console.EXIT_OK
        finally:
            signal.raise_signal(signal.SIGHUP)
            cleaned.append("all")

    assert console.run_command(work, QUIET) == console.EXIT_INTERRUPTED
    assert cleaned == ["all"]


def test_under_nohup_a_command_goes_on() -> None:
    def work(_: Namespace) -> int:
        signal.raise_signal(signal.SIGHUP)
        return console.EXIT_OK

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert console.run_command(work, QUIET) == console.EXIT_OK


def test_a_line_for_a_closed_terminal_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, ours = os.openpty()
    os.close(terminal)
    closed = os.fdopen(ours, "w")
    monkeypatch.setattr(sys, "stderr", closed)
    console.say("nobody hears this")
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output"):
        closed.close()
