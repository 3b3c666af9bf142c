"""What is known about one peer: what it sounds like, how long it took, or why neither is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from ddtasnet_edge.benchmarks.peers.registry import Peer
from ddtasnet_edge.benchmarks.peers.worker import PeerCheck
from ddtasnet_edge.benchmarks.timing import HopTimes


@dataclass(frozen=True)
class PeerResult:
    """One peer: what it sounds like, how long each of its rounds took; failure: why it was not timed to the end."""

    peer: Peer
    failure: str | None = None
    build_seconds: float | None = None
    check: PeerCheck | None = None
    rounds: tuple[HopTimes, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PeerResult:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON."""
        peer, check = values["peer"], values["check"]
        return cls(
            peer=Peer(**{**peer, "needs": tuple(peer["needs"])}),
            failure=values["failure"],
            build_seconds=values["build_seconds"],
            check=check and PeerCheck.from_dict(check),
            rounds=tuple(HopTimes.from_dict(one) for one in values["rounds"]),
        )

    @property
    def timed(self) -> bool:
        """Whether it got through all rounds."""
        return self.failure is None and bool(self.rounds)

    @property
    def dsdr_db(self) -> float:
        """Change in SDR of the stem that changed most; NaN where it is not known."""
        return math.nan if self.check is None else self.check.dsdr_db

    @property
    def medians_us(self) -> tuple[float, ...]:
        """The median hop of each round."""
        return tuple(times.percentile_us(500) for times in self.rounds)

    @property
    def p50_us(self) -> float:
        """Median over the rounds of their medians."""
        return median(self.medians_us)

    @property
    def spread(self) -> float:
        """From the fastest round to the slowest, as a share of p50: what of a difference may be noise."""
        return (max(self.medians_us) - min(self.medians_us)) / self.p50_us

    def times(self, other: PeerResult) -> float:
        """How many times as long as `other`: the median over rounds of the ratio within one round."""
        return median(mine / its for mine, its in zip(self.medians_us, other.medians_us, strict=True))
