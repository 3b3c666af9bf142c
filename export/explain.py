"""What each pass does to the graph of one target: the step converted with all passes, and without each in turn."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.export.facts import GraphFacts
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.passes import passes_of, with_passes
from ddtasnet_edge.export.registry import exporter_for
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.spec import STEMS

# Nodes of a graph that compute nothing.
NO_OPERATORS = ("Constant", "Parameter", "Result")
FLOAT_BYTES = 4


COLUMNS = ("target", "pass", "what it does", "operators", "weights kB", "state kB")
LEGEND = (
    "Before -> after, with the other passes in place. weights: of products, as often as a hop reads them; "
    "state: written per hop."
)


@dataclass(frozen=True)
class Cost:
    """What a step of a float32 graph takes. operators: their number; the others in bytes per hop.

    weights: of matrix products, each as often as it is read. state: what is written of it.
    """

    operators: int
    weights: int
    state: int


@dataclass(frozen=True)
class Explained:
    """One pass on one target."""

    target: str
    name: str
    summary: str
    without: Cost
    with_it: Cost


def explain(model: DDTasNet, target: str, begin: Callable[[str], None]) -> Iterator[Explained]:
    """Every pass of a target, in order; `begin` hears of each conversion."""
    begin(f"{target}: all passes")
    with_all = _cost(with_passes(model, target), target)
    for each in passes_of(target):
        begin(f"{target}: without {each.name}")
        without = _cost(with_passes(model, target, without=each), target)
        yield Explained(target, each.name, each.summary, without, with_all)


def _cost(model: DDTasNet, target: str) -> Cost:
    exporter = exporter_for(target)
    with tempfile.TemporaryDirectory() as temporary:
        exporter.export_graph(model, Path(temporary))
        facts = exporter.inspect_graph(Path(temporary), Layers(model))
    weights = sum(product.weight_bytes for product in facts.products)
    return Cost(_operators(facts), weights, _state_written(facts))


def _operators(facts: GraphFacts) -> int:
    return sum(count for name, count in facts.ops.items() if name not in NO_OPERATORS)


def _state_written(facts: GraphFacts) -> int:
    shapes = [tensor.shape for name, tensor in facts.outputs.items() if name != STEMS]
    return FLOAT_BYTES * sum(math.prod(int(size) for size in shape) for shape in shapes)


def rows(explained: Sequence[Explained]) -> list[tuple[str, ...]]:
    """Cells of the table, by COLUMNS."""
    return [
        (
            each.target,
            each.name,
            each.summary,
            f"{each.without.operators} -> {each.with_it.operators}",
            f"{each.without.weights / 1e3:.0f} -> {each.with_it.weights / 1e3:.0f}",
            f"{each.without.state / 1e3:.1f} -> {each.with_it.state / 1e3:.1f}",
        )
        for each in explained
    ]
