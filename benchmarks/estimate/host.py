"""A profile fitted to measurements of this machine: few figures per runtime, from probes that are not presets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.benchmarks.estimate.cost import FLOAT, StepCost
from ddtasnet_edge.benchmarks.estimate.model import level_shares
from ddtasnet_edge.benchmarks.estimate.profile import RAM, Cache, DeviceProfile, Figure
from ddtasnet_edge.errors import DeviceError

Array = NDArray[np.float64]

DTYPES = (FLOAT, "int8", "int4")
#: Multiply-accumulates per nanosecond where they are never what a product waits for.
UNLIMITED = 1e4
# How much of its largest cache a machine that others use too may have; the fit takes what suits the probes best. In
# small steps: a share that is a third off makes sets of about that size a third too fast or too slow.
LARGEST_CACHE_SHARES = tuple(sixteenths / 16 for sixteenths in range(2, 17))


@dataclass(frozen=True)
class Measured:
    """A bundle as measured: an undisturbed hop, what its session adds, and how fast its bytes can be read at all.

    rounds_us: of each round, what a tenth of the hops was faster than. p50_us: the middle hop of the fastest round.
    bandwidth: bytes per second of one thread, of a working set as large as the weights.
    """

    cost: StepCost
    rounds_us: tuple[float, ...]
    p50_us: float
    overhead_us: float
    bandwidth: float
    peak_rss_bytes: int | None

    @property
    def us(self) -> float:
        """Of the fastest round: whoever shares this machine slows whole rounds; the profile is that of it alone."""
        return min(self.rounds_us)

    @property
    def repeated(self) -> float | None:
        """How far two measurements are apart, of every other round each; None with a single round."""
        first, second = self.rounds_us[::2], self.rounds_us[1::2]
        return max(min(first), min(second)) / min(first + second) - 1 if second else None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measured:
        """The inverse of `dataclasses.asdict`."""
        rebuilt = {"cost": StepCost.from_dict(values["cost"]), "rounds_us": tuple(values["rounds_us"])}
        return cls(**{**values, **rebuilt})


@dataclass(frozen=True)
class Fit:
    """Figures of one runtime and the mean square of its relative residuals over the probes."""

    figures: Mapping[str, Figure]
    mean_square: float


def fit_profile(title: str, cores: int, caches: Sequence[Cache], probes: Sequence[Measured]) -> DeviceProfile:
    """The profile that suits the probes best, in relative terms.

    For each runtime: dispatch per operator, bytes per second of each memory level beyond what reading them takes at
    all, and multiply-accumulates of each precision. All are linear in time and none is negative. Raises DeviceError
    without probes, or with fewer of a runtime than it has figures.
    """
    if not probes:
        raise DeviceError("no probe was measured; there is nothing to fit a profile to")
    fits = {
        share: {runtime: _fit(runtime, of_runtime, shared) for runtime, of_runtime in _by_runtime(probes).items()}
        for share in LARGEST_CACHE_SHARES
        for shared in [_with_largest(caches, share)]
        if _is_ordered(shared)
    }
    best = min(fits, key=lambda share: sum(fit.mean_square for fit in fits[share].values()))
    figures = {name: figure for fit in fits[best].values() for name, figure in fit.figures.items()}
    return DeviceProfile(
        name="host",
        title=title,
        soc=title,
        cores=cores,
        memory_mb=0,
        prefetch_streams=1,
        caches=tuple(_with_largest(caches, best)),
        figures={
            "clock_ghz": Figure(1.0, 1.0, 1.0, "assumed: rates are per nanosecond, not per cycle"),
            "overlap": Figure(0.0, 0.0, 0.0, "assumed: reading and computing add up, as they are fitted apart"),
            **figures,
        },
        source="fitted to probes",
    )


def _with_largest(caches: Sequence[Cache], share: float) -> list[Cache]:
    return [*caches[:-1], replace(caches[-1], bytes=int(caches[-1].bytes * share))]


def _is_ordered(caches: Sequence[Cache]) -> bool:
    """Whether each holds at least what the one before it holds: a level that holds less would serve nothing."""
    return all(smaller.bytes <= larger.bytes for smaller, larger in itertools.pairwise(caches))


def _by_runtime(probes: Sequence[Measured]) -> dict[str, list[Measured]]:
    groups: dict[str, list[Measured]] = {}
    for probe in probes:
        groups.setdefault(probe.cost.runtime, []).append(probe)
    return groups


def _fit(runtime: str, probes: Sequence[Measured], caches: Sequence[Cache]) -> Fit:
    levels = [*(cache.name for cache in caches), RAM]
    floors = _floors(probes, caches)
    # Of the smaller third, as it is a difference, which the noise of a long hop can make anything.
    smaller = sorted(probes, key=lambda probe: probe.cost.working_set)[: -(-len(probes) // 3)]
    session = max(min(probe.overhead_us for probe in smaller), 0.0)
    columns = [_columns(probe.cost, caches) for probe in probes]
    names = ["operators", *levels, *DTYPES]
    if len(probes) < len(names):
        raise DeviceError(f"{len(probes)} probes of {runtime} are too few to fit {len(names)} figures to; measure more")
    matrix = np.array([[column[name] for name in names] for column in columns])
    times = np.array([probe.us for probe in probes])
    known = session + matrix @ np.array([floors.get(name, 0.0) for name in names])
    # Relative: a tenth of a small model counts as much as a tenth of a large one.
    weights = 1.0 / times
    found = solve_non_negative(matrix * weights[:, None], (times - known) * weights)
    costs = {name: float(cost) + floors.get(name, 0.0) for name, cost in zip(names, found, strict=True)}
    residuals = (known + matrix @ found) * weights - 1.0
    spread = float(np.sqrt(np.mean(residuals**2)))
    return Fit(_figures(runtime, session, costs, levels, spread), spread**2)


def _columns(cost: StepCost, caches: Sequence[Cache]) -> dict[str, float]:
    """What each unknown is multiplied with: operators, bytes from each level, multiply-accumulates."""
    shares = level_shares(caches, cost.working_set)
    macs = {dtype: float(sum(work.macs for work in cost.work if work.dtype == dtype)) for dtype in DTYPES}
    return {
        "operators": float(cost.operators),
        **{level: share * cost.working_set for level, share in shares.items()},
        **macs,
    }


def _floors(probes: Sequence[Measured], caches: Sequence[Cache]) -> dict[str, float]:
    """Microseconds per byte of the fastest reading seen of sets that a level serves most of."""
    fastest: dict[str, float] = {}
    for probe in probes:
        shares = level_shares(caches, probe.cost.weight_bytes)
        level = max(shares, key=lambda name: shares[name])
        fastest[level] = max(fastest.get(level, 0.0), probe.bandwidth)
    return {level: 1e6 / bandwidth for level, bandwidth in fastest.items()}


def solve_non_negative(matrix: Array, goal: Array) -> Array:
    """The x >= 0 with the smallest |matrix x - goal|, by trying which of its few elements are zero."""
    count = matrix.shape[1]
    best, smallest = np.zeros(count), float(goal @ goal)
    for size in range(1, count + 1):
        for chosen in map(list, itertools.combinations(range(count), size)):
            solution = np.linalg.lstsq(matrix[:, chosen], goal, rcond=None)[0]
            if (solution < 0).any():
                continue
            residual = matrix[:, chosen] @ solution - goal
            if residual @ residual < smallest:
                best, smallest = np.zeros(count), float(residual @ residual)
                best[chosen] = solution
    return best


def _figures(
    runtime: str, session: float, costs: Mapping[str, float], levels: Sequence[str], spread: float
) -> dict[str, Figure]:
    rates = {f"read.{level}": 1e-3 / costs[level] for level in levels if costs[level] > 0}
    rates |= {f"macs.{dtype}": 1e-3 / costs[dtype] if costs[dtype] > 0 else UNLIMITED for dtype in DTYPES}
    values = {"hop_us": session, "operator_us": costs["operators"], **rates}
    return {
        f"{runtime}.{name}": Figure(value, value / (1 + spread), value * (1 + spread), "fitted to the probes")
        for name, value in values.items()
    }
