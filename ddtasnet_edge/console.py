"""What the commands share: exit codes, one-line errors, tables and progress bars.

Results go to stdout, everything said to a person on the way goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from ddtasnet_edge import files
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.table import draw_table

T = TypeVar("T")

EXIT_OK, EXIT_GATE_FAILED, EXIT_USAGE = 0, 1, 2
EXIT_INTERRUPTED = 130

# A progress bar appears on work that has run this long, in seconds.
PROGRESS_AFTER = 2.0


def parser(prog: str, description: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser with the options that all commands have: --json, --quiet, --debug, --version."""
    from ddtasnet_edge import __version__

    made = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", metavar="FILE", help="write the report as JSON to FILE, or to stdout with -")
    made.add_argument("--quiet", action="store_true", help="no progress, no tables; errors and results only")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    made.add_argument("--version", action="version", version=f"{prog} {__version__}")
    return made


def run_command(action: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run a command's action and turn errors into one line and an exit code."""
    _clean_up_when_ended()
    try:
        return action(arguments)
    except EdgeError as error:
        if arguments.debug:
            traceback.print_exc()
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; nothing half-written was kept")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 - a person gets one line for our mistakes too
        if arguments.debug:
            traceback.print_exc()
        say(f"error: unexpected {type(error).__name__}: {error}; report it with what --debug prints")
        return EXIT_USAGE


def _clean_up_when_ended() -> None:
    """Terminated politely, or when its terminal is closed, a command cleans up as after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hang_up = getattr(signal, "SIGHUP", None)
    # Under nohup it is ignored, and stays so.
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        signal.signal(hang_up, _hung_up)


def _hung_up(number: int, frame: FrameType | None) -> None:
    # The shell tells of it and then the system does: the second time must not interrupt the cleaning up, here or in
    # the processes that do it.
    signal.signal(number, signal.SIG_IGN)
    signal.default_int_handler(number, frame)


def say(message: str, quiet: bool = False) -> None:
    """A line for a person, on stderr; nothing fails because a terminal that was closed takes none."""
    if not quiet:
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> None:
    """A table on stdout; columns of numbers are right-aligned. Never wraps or cuts a cell."""
    print(draw_table(title, columns, rows, caption))


def write_json(destination: str, values: Any) -> None:
    """A report as JSON: to a file, whole or not at all, or to stdout when `destination` is '-'."""
    text = json.dumps(files.json_safe(values), indent=2, ensure_ascii=False)
    if destination == "-":
        print(text)
    else:
        files.write_text(Path(destination), text + "\n")


#: A function that hears the name of each stage of some work when it begins.
Begin = Callable[[str], None]


def _unheard(stage: str) -> None:
    """Where stages go when nobody watches."""


def _unshown(share: float, remark: str) -> None:
    """Where percentages go when nobody watches."""


def _is_watched(quiet: bool) -> bool:
    """Whether progress has anybody to see it, and rich, which a device does not install, to be drawn with."""
    return not quiet and sys.stderr.isatty() and find_spec("rich") is not None


@contextmanager
def stages(total: int, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr for work in `total` named stages; none where nobody watches.

    Yields the function that a stage calls when it begins, with its name.
    """
    if not _is_watched(quiet):
        yield _unheard
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # A stream of its own: the stages redirect file descriptor 2 while a converter runs.
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        Progress(*columns, console=Console(file=terminal), transient=True) as bar,
    ):
        task = bar.add_task("starting", total=total, completed=-1)

        def begin(name: str) -> None:
            bar.update(task, description=name, advance=1)

        yield begin


@contextmanager
def activity(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """What is being done right now, on stderr, for work whose stages nobody can count; none where nobody watches.

    Yields the function that a stage calls when it begins, with its name.
    """
    if not _is_watched(quiet):
        yield _unheard
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        Progress(*columns, console=Console(file=terminal), transient=True) as bar,
    ):
        task = bar.add_task("starting", total=None)
        yield lambda name: bar.update(task, description=name)


def progress(items: Iterable[T], total: int | None, label: str, quiet: bool = False) -> Iterator[T]:
    """Pass `items` through with a progress bar on stderr once it takes over two seconds; none where nobody watches."""
    if not _is_watched(quiet):
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    started = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, visible=False)
        for item in items:
            yield item
            bar.update(task, advance=1, visible=time.monotonic() - started > PROGRESS_AFTER)


@contextmanager
def percentage(label: str, quiet: bool = False) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on stderr for work that knows how much of it is done; none where nobody watches.

    Yields the function that is told the share, 0 to 1, and a remark.
    """
    if not _is_watched(quiet):
        yield _unshown
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda share, remark: bar.update(task, completed=share, description=f"{label}: {remark}")
