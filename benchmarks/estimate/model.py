"""The time of a hop: a roofline over the memory level that its working set fits in, plus dispatch.

    time = session + operators x dispatch + sum over products of (longer + (1 - overlap) x shorter) + state / bandwidth

longer and shorter are the two sides of the roofline, bytes / bandwidth and multiply-accumulates / rate. A core that
computes while it waits has overlap 1, one that does not 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddtasnet_edge.benchmarks.estimate.cost import StepCost, Work
from ddtasnet_edge.benchmarks.estimate.profile import DOT_PRODUCT, RAM, Cache, DeviceProfile
from ddtasnet_edge.errors import DeviceError

LINE_BYTES = 64
# A hit rate falls over a range, not at an edge: none is left at this many times a cache.
FADE = 2.0
#: A step is in time with this share of its budget left.
HEADROOM = 0.3


@dataclass(frozen=True)
class Estimate:
    """Microseconds of a hop, between low and high; cores: that it is for. `parts` add up to `us`."""

    us: float
    low_us: float
    high_us: float
    cores: int
    parts: Mapping[str, float]


def estimate(profile: DeviceProfile, cost: StepCost, cores: int = 1) -> Estimate:
    """The time of a hop on so many cores, with the band that the uncertainty of every figure leaves.

    Each figure alone is put to its low and its high; the changes that result are independent, so their squares add.
    Raises DeviceError for a runtime or precision that the profile does not know.
    """
    values = profile.values()
    parts = _parts(profile, values, cost, cores)
    middle = sum(parts.values())
    changes = [
        sum(_parts(profile, {**values, name: edge}, cost, cores).values()) - middle
        for name, figure in profile.figures.items()
        for edge in {figure.low, figure.high} - {figure.value}
    ]
    above = math.sqrt(sum(change**2 for change in changes if change > 0))
    below = math.sqrt(sum(change**2 for change in changes if change < 0))
    return Estimate(middle, max(middle - below, 0.0), middle + above, cores, parts)


def cores_needed(profile: DeviceProfile, cost: StepCost, budget_us: float) -> int | None:
    """The fewest cores with which a hop takes at most `budget_us`; None when all of them do not do.

    Assumed: products are shared out evenly and for nothing, memory is as fast as the profile says for all cores at
    once, and operators are dispatched by one core.
    """
    for cores in range(1, profile.cores + 1):
        if estimate(profile, cost, cores).us <= budget_us:
            return cores
    return None


def _parts(profile: DeviceProfile, values: Mapping[str, float], cost: StepCost, cores: int) -> dict[str, float]:
    runtime = cost.runtime
    read = bandwidth(profile, values, runtime, cost.working_set, cores, cost.streams)
    overlap = values["overlap"]
    reading = computing = 0.0
    for work in cost.work:
        waits, counts = work.bytes / read, _macs_us(values, runtime, work) / cores
        # What is hidden is taken off the shorter side.
        hidden = overlap * min(waits, counts)
        reading += waits - (hidden if waits <= counts else 0.0)
        computing += counts - (hidden if counts < waits else 0.0)
    return {
        "session": _lookup(values, runtime, "hop_us"),
        "operators": cost.operators * _lookup(values, runtime, "operator_us"),
        "weights": reading,
        "multiply-accumulates": computing,
        "state": cost.state_bytes / read,
    }


def bandwidth(
    profile: DeviceProfile,
    values: Mapping[str, float],
    runtime: str,
    working_set: int,
    cores: int = 1,
    streams: int = 1,
) -> float:
    """Bytes per microsecond at which cores together read a working set over and over.

    A cache that the set fits in serves all of it; up to FADE times that size ever less, the rest comes from the next.
    """
    shares = level_shares(profile.caches, working_set)
    return 1.0 / sum(
        share * 1e-3 / _level_gbps(profile, values, runtime, level, cores, streams) for level, share in shares.items()
    )


def level_shares(caches: Sequence[Cache], working_set: int) -> dict[str, float]:
    """Which share of a working set each memory level serves; they add up to one."""
    shares, left = {}, 1.0
    for cache in caches:
        beyond = (working_set / cache.bytes - 1) / (FADE - 1)
        missed = min(max(beyond, 0.0), 1.0)
        shares[cache.name] = left * (1 - missed)
        left *= missed
    return shares | {RAM: left}


def _level_gbps(
    profile: DeviceProfile, values: Mapping[str, float], runtime: str, level: str, cores: int, streams: int
) -> float:
    if level == RAM and streams > profile.prefetch_streams:
        return cores * LINE_BYTES / values["latency_ns"]
    one = _lookup(values, runtime, f"read.{level}")
    if level == RAM:
        return one if cores == 1 else max(one, values.get("read_all.ram", one))
    # Caches that cores share, too, answer each of them: nothing public says where that ends on these boards.
    return one * cores


def _macs_us(values: Mapping[str, float], runtime: str, work: Work) -> float:
    """Microseconds of one core; dot product instructions are used where the device has them."""
    if not work.macs:
        return 0.0
    rate = _lookup(values, runtime, f"macs.{work.dtype}{DOT_PRODUCT}", f"macs.{work.dtype}")
    return work.macs / (rate * values["clock_ghz"] * 1e3)


def _lookup(values: Mapping[str, float], runtime: str, *names: str) -> float:
    """The first figure there is: those of the runtime go before those of all."""
    for name in (*(f"{runtime}.{name}" for name in names), *names):
        if name in values:
            return values[name]
    raise DeviceError(
        f"the profile has no figure '{names[-1]}' for runtime '{runtime}'; add it to the device's TOML file"
    )
