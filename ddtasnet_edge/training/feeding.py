"""Batches made ahead of the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

AHEAD = 2


@contextmanager
def made_ahead(make: Callable[[int], T], first: int) -> Iterator[Iterator[T]]:
    """What `make` gives for the numbers from `first` on, in order, made in a thread while the last is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="music") as pool:
        waiting: list[Future[T]] = []

        def produce() -> Iterator[T]:
            index = first
            while True:
                while len(waiting) < AHEAD:
                    waiting.append(pool.submit(make, index))
                    index += 1
                yield waiting.pop(0).result()

        try:
            yield produce()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
