"""Where bundles run: a Python with the light install on this machine, on a board, or on an emulated one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """Files go there, modules of this package run there, and what they write comes back."""

    @property
    def name(self) -> str:
        """What it is called in reports and messages."""
        ...

    @property
    def jobs(self) -> int:
        """How many modules may run there at once."""
        ...

    def send(self, path: Path) -> str:
        """Make a file or folder of this machine readable there; returns its path there. Raises EdgeError."""
        ...

    def make_path(self, name: str) -> str:
        """A path there that a module may write to; name: of a file, without folders."""
        ...

    def run(self, module: str, arguments: Sequence[str]) -> None:
        """`python -m ddtasnet_edge.benchmarks.<module> ARGUMENTS` there.

        Raises EdgeError with the last line that it said when it fails, ProcessDiedError when a signal ended it.
        """
        ...

    def fetch(self, there: str, here: Path) -> None:
        """Bring one file back, whole or not at all. Raises EdgeError."""
        ...

    def end(self) -> None:
        """Stop the modules that other threads wait for, if several may run, and start no other."""
        ...
