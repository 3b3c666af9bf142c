"""What native libraries print on their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Keep what a library writes to file descriptor 2 from the terminal; errors come as exceptions all the same."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
