"""A setting of the C library that makes training on a CPU up to twice as fast."""

from __future__ import annotations

import ctypes
import sys

# Names and numbers of malloc.h in glibc.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Keep freed memory in the process instead of giving it back to the system.

    The activations of a step are freed and asked for again in the next; as fresh pages they cost more time than the
    arithmetic of a small model (`tiny`: 11 seconds of audio per second before, 24 after). Does nothing where the C
    library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
