"""How fast one thread can read memory: no batch-1 step is faster than its weights can be read."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

# Spent on each way of reading.
PATIENCE_NS = 150_000_000


def read_bandwidth(
    working_set: int, patience_ns: int = PATIENCE_NS, clock: Callable[[], int] = time.perf_counter_ns
) -> float:
    """Bytes per second that one thread reads from a working set of `working_set` bytes, over and over.

    The size matters as much as the machine: what fits a cache is read from the cache, weights included. Of two
    ways to read, both within one thread whatever the libraries are set to, the fastest pass counts, since a floor
    is what nothing undercuts. Comparing two equal halves (memcmp) reads two streams at once and won in 7 of 8
    sizes from 0.5 to 140 MB against numpy's dot, max, sum and bitwise reductions; the maximum of int32 is the runner-up
    that needs no tuned C library.
    """
    half = max(working_set // 2, 1024) // 4 * 4
    # Written, not bytes(half): pages never written all map to one page of zeros and would be read from L1.
    left = b"\x01" * half
    right = bytes(bytearray(left))
    numbers = [np.frombuffer(part, dtype=np.int32) for part in (left, right)]
    ways: tuple[Callable[[], object], ...] = (lambda: left == right, lambda: [part.max() for part in numbers])
    return 2 * half / (min(_fastest_pass(way, patience_ns, clock) for way in ways) / 1e9)


def _fastest_pass(read: Callable[[], object], patience_ns: int, clock: Callable[[], int]) -> int:
    """Nanoseconds of the fastest call within `patience_ns`; at least one is made."""
    deadline = clock() + patience_ns
    fastest: int | None = None
    while fastest is None or clock() < deadline:
        started = clock()
        read()
        elapsed = clock() - started
        fastest = elapsed if fastest is None else min(fastest, elapsed)
    return fastest
