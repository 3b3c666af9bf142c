"""How long a hop takes: every hop after the warm-up is kept, none is averaged away or removed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ddtasnet_edge.runtimes.graph_io import GraphSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray

# A sleeping process wakes up to about 0.1 ms late, more on a slow device; the rest of the wait is spent spinning.
SPIN_NS = 1_000_000


@dataclass(frozen=True)
class HopTimes:
    """Times of consecutive hops, in microseconds.

    times_us: one value per hop, from the moment the hop was there until its stems were. Back-to-back, that is the
    compute time. Paced, it counts from the tick of the hop clock, so waiting behind a late hop is included.
    busy_us: compute time of all hops together. budget_us: the hop budget.
    """

    budget_us: float
    times_us: tuple[float, ...]
    busy_us: float

    def percentile_us(self, per_mille: int) -> float:
        """Nearest-rank percentile: the smallest time of a hop that `per_mille` of 1000 hops do not exceed."""
        rank = -(-len(self.times_us) * per_mille // 1000)
        return sorted(self.times_us)[rank - 1]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HopTimes:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON."""
        return cls(**{**values, "times_us": tuple(values["times_us"])})

    @property
    def misses(self) -> int:
        """Hops whose stems came after the hop budget, which is when the next hop is due."""
        return sum(elapsed > self.budget_us for elapsed in self.times_us)

    @property
    def buffer_us(self) -> float:
        """Paced: the smallest delay from the tick of a hop to its stems with which no hop would have been late.

        It comes on top of the algorithmic latency and of collecting the hop.
        """
        return max(self.times_us)

    @property
    def buffer_hops(self) -> int:
        """The same for a device that takes and gives a hop on each tick: how many ticks later it plays the stems.

        One is what a miss is measured against: played while the next hop is collected.
        """
        # Not ceil(a / b): where a is larger than b by one rounding, the quotient is 1.
        return int(-(-self.buffer_us // self.budget_us))

    @property
    def rtf(self) -> float:
        """Real-time factor: compute time / audio time; below 1 is faster than real time."""
        return self.busy_us / (len(self.times_us) * self.budget_us)


def pool(parts: Sequence[HopTimes]) -> HopTimes:
    """The hops of several rounds of one bundle as one population."""
    times = tuple(itertools.chain.from_iterable(part.times_us for part in parts))
    return HopTimes(parts[0].budget_us, times, sum(part.busy_us for part in parts))


def measure_hops(
    session: Session,
    hops: FloatArray,
    count: int,
    *,
    warmup: int,
    paced: bool,
    clock: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> HopTimes:
    """Time `count` consecutive steps of a session after `warmup` steps that are run alike and dropped.

    hops: float32 [n, channels, hop], repeated as often as needed; the state is carried throughout. paced: each
    hop starts on a tick of the hop clock, or when the hop before it is done if that is later. clock returns
    nanoseconds, sleep takes seconds.

    The garbage collector stays on: a program that calls the session pays for its pauses too, so they belong in
    the figures. The loop itself creates nothing the collector tracks.
    """
    stream = itertools.cycle(hops)
    _time_steps(session, itertools.islice(stream, warmup), paced, clock, sleep)
    return _time_steps(session, itertools.islice(stream, count), paced, clock, sleep)


def _time_steps(
    session: Session,
    hops: Iterator[FloatArray],
    paced: bool,
    clock: Callable[[], int],
    sleep: Callable[[float], None],
) -> HopTimes:
    budget_ns = round(session.spec.hop_budget * 1e9)
    times: list[float] = []
    busy_ns = 0
    tick = clock()
    for hop in hops:
        if paced:
            _wait_until(tick, clock, sleep)
        started = clock()
        session.step(hop)
        ended = clock()
        times.append((ended - (tick if paced else started)) / 1000)
        busy_ns += ended - started
        tick += budget_ns
    return HopTimes(budget_ns / 1000, tuple(times), busy_ns / 1000)


def measure_overhead(
    session: GraphSession, hops: FloatArray, count: int, clock: Callable[[], int] = time.perf_counter_ns
) -> float:
    """Microseconds that a step takes beyond the runtime's own execution: the median of `count` steps less that of
    `count` executions of the graph, one after each step, so that both find the caches alike.
    """
    steps, executions = [], []
    for hop in itertools.islice(itertools.cycle(hops), count):
        started = clock()
        session.step(hop)
        stepped = clock()
        session.execute()
        steps.append(stepped - started)
        executions.append(clock() - stepped)
    return (median(steps) - median(executions)) / 1000


def _wait_until(moment: int, clock: Callable[[], int], sleep: Callable[[float], None]) -> None:
    spare = moment - SPIN_NS - clock()
    if spare > 0:
        sleep(spare / 1e9)
    while clock() < moment:
        pass
