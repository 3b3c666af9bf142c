"""Where the time of a step goes: what a profile of one bundle holds, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.report import BundleFacts

# Nodes that a table shows.
TOP = 10


@dataclass(frozen=True)
class NodeCost:
    """One node of a step: microseconds per hop. layer and weight_bytes: of the product that it computes, if any."""

    name: str
    op: str
    layer: str | None
    us: float
    weight_bytes: int


@dataclass(frozen=True)
class OpCost:
    """All nodes of one operator: how many run per hop, and their microseconds per hop."""

    op: str
    calls: int
    us: float


@dataclass(frozen=True)
class Profile:
    """What one process measured, in microseconds per hop.

    step_us: without the profiler; profiled_step_us: with it. basis: which hops these and the times of the nodes are
    means of. rounding_us: by how much each node may be too short. bandwidth: bytes per second that one thread reads
    from a working set as large as the weights. remark: what else to know about the profiler.
    """

    runtime: str
    step_us: float
    profiled_step_us: float
    nodes: tuple[NodeCost, ...]
    basis: str
    rounding_us: float
    remark: str
    bandwidth: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Profile:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON."""
        return cls(**{**values, "nodes": tuple(NodeCost(**node) for node in values["nodes"])})

    @property
    def nodes_us(self) -> float:
        """All nodes together."""
        return sum(node.us for node in self.nodes)

    @property
    def outside_us(self) -> float:
        """The rest of the step: session, scheduling, and what the profiler rounded off."""
        return self.step_us - self.nodes_us

    def ops(self) -> list[OpCost]:
        """Every operator, the most expensive first."""
        by_op: dict[str, list[float]] = {}
        for node in self.nodes:
            by_op.setdefault(node.op, []).append(node.us)
        costs = [OpCost(op, len(times), sum(times)) for op, times in by_op.items()]
        return sorted(costs, key=lambda cost: cost.us, reverse=True)

    def top(self, count: int = TOP) -> list[NodeCost]:
        """The most expensive nodes."""
        return sorted(self.nodes, key=lambda node: node.us, reverse=True)[:count]

    def floor_us(self, weight_bytes: int) -> float:
        """Microseconds in which one thread reads so many bytes once."""
        return weight_bytes / self.bandwidth * 1e6

    def summary(self) -> dict[str, Any]:
        """The derived figures; `layers` has every layer of the model, the most expensive first."""
        layers = [node for node in self.top(len(self.nodes)) if node.layer is not None]
        return {
            "nodes_us": self.nodes_us,
            "outside_us": self.outside_us,
            "ops": [{**asdict(cost), "share": cost.us / self.step_us} for cost in self.ops()],
            "layers": [self._described(node) for node in layers],
            "top": [self._described(node) for node in self.top()],
        }

    def _described(self, node: NodeCost) -> dict[str, Any]:
        floor = self.floor_us(node.weight_bytes)
        # A profiler that rounds down may have nothing left.
        ratio = floor / node.us if node.us else None
        return {**asdict(node), "share": node.us / self.step_us, "floor_us": floor, "floor_share": ratio}


@dataclass(frozen=True)
class BundleProfile(BundleFacts):
    """One bundle and its profile, or why it has none."""

    profile: Profile | None = None
    left_out: str | None = None


@dataclass(frozen=True)
class ProfileReport:
    """Profiles of one run on one machine, on one thread. warmup: hops dropped first. input: the sound that was fed."""

    device: str
    machine: Machine
    hops: int
    warmup: int
    threads: int
    input: str
    results: tuple[BundleProfile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: everything measured, and a `summary` for each profile with what follows from it."""
        values = asdict(self)
        for entry, result in zip(values["results"], self.results, strict=True):
            entry["summary"] = None if result.profile is None else result.profile.summary()
        return values
