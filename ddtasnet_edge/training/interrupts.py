"""Ctrl-C at a moment that suits the work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Not every system has it.
HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and the closing of the terminal are noted, so that the step in work is finished.

    A second one interrupts at once. Yields the function that says whether one came.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True
        if number == HANG_UP:
            # The shell tells of it and then the system does: that is no second wish.
            signal.signal(number, signal.SIG_IGN)

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup it is ignored, and stays so.
    if HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:
        numbers.append(HANG_UP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
