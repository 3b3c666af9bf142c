"""What a hop costs a device, from the manifest of a bundle alone: bytes, multiply-accumulates, operators, state."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.bundle import Bundle, Manifest
from ddtasnet_edge.spec import StreamSpec

PRESET_COSTS = Path(__file__).with_name("preset_costs.json")
#: What graphs count as operators and no runtime runs.
NO_WORK = frozenset({"Constant", "Parameter", "Result"})
FLOAT = "float32"
FLOAT_BYTES = 4
#: The runtime of each target, as profiles call it.
RUNTIMES = dict(zip(("onnx", "openvino", "tflite"), ("onnxruntime", "openvino", "litert"), strict=True))
assert set(RUNTIMES) == set(TARGETS)


@dataclass(frozen=True)
class Work:
    """Products of one kind: dtype of the weights, bytes of them that are read, and multiply-accumulates."""

    dtype: str
    bytes: int
    macs: int


@dataclass(frozen=True)
class StepCost:
    """What one hop costs. state_bytes: read and written; size_bytes: of the graph files; hop_us: the hop budget.

    Weights that several rows share are read once and multiplied with each row. streams: of weights that a product
    reads at once; today's runtimes pack weights into one.
    """

    model: str
    target: str
    recipe: str
    hop_us: float
    work: tuple[Work, ...]
    operators: int
    state_bytes: int
    size_bytes: int
    streams: int = 1

    @property
    def runtime(self) -> str:
        """As profiles call it; the target itself where it has none."""
        return RUNTIMES.get(self.target, self.target)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and constants read per hop."""
        return sum(work.bytes for work in self.work)

    @property
    def working_set(self) -> int:
        """Bytes that a hop touches: what must fit into a cache to come from it."""
        return self.weight_bytes + self.state_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all kinds."""
        return sum(work.macs for work in self.work)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StepCost:
        """The inverse of `to_dict`."""
        return cls(**{**values, "work": tuple(Work(**work) for work in values["work"])})


def cost_of(bundle: Bundle) -> StepCost:
    """The cost of a hop of a bundle."""
    return cost_from_manifest(bundle.manifest)


def cost_from_manifest(manifest: Manifest) -> StepCost:
    """The cost of a hop by what the manifest says of graph and stream."""
    spec, graph = manifest.spec, manifest.graph
    return StepCost(
        model=str(manifest.model["name"]),
        target=manifest.target,
        recipe=manifest.recipe,
        hop_us=spec.hop_budget * 1e6,
        work=tuple(_work(graph, spec)),
        operators=sum(count for op, count in graph["ops"].items() if op not in NO_WORK),
        state_bytes=FLOAT_BYTES * sum(math.prod(s.shape) + math.prod(s.update_shape) for s in spec.slots),
        size_bytes=sum(record.size for record in manifest.files.values()),
    )


@cache
def preset_costs() -> tuple[StepCost, ...]:
    """The presets as built for every target in float32, INT8 and INT4: for bundles that nobody has built here."""
    return tuple(StepCost.from_dict(values) for values in json.loads(PRESET_COSTS.read_text(encoding="utf-8")))


def _work(graph: Mapping[str, Any], spec: StreamSpec) -> Iterable[Work]:
    """Products by dtype and rows, then what has no layer: constants, transforms and attention, in float."""
    read: Counter[tuple[str, int]] = Counter()
    multiplied: Counter[tuple[str, int]] = Counter()
    for product in graph["products"]:
        if product["layer"] is None:
            continue
        kind = product["dtype"], _rows(product["layer"], spec)
        read[kind] += product["weight_bytes"]
        multiplied[kind] += _elements(product) * kind[1]
    for kind in sorted(read):
        yield Work(kind[0], read[kind], multiplied[kind])
    yield Work(FLOAT, graph["weight_bytes"] - read.total(), _transform_macs(graph, spec) + _attention_macs(spec))


def _rows(layer: str, spec: StreamSpec) -> int:
    """How many rows a layer of DDTasNet multiplies with: channels are apart, magnitude and phase are stacked."""
    block = layer.partition(".")[0]
    if block == "time_encoder":
        return spec.channels
    if block == "time_decoder":
        return spec.channels * len(spec.sources)
    return 2 if block.startswith("spectral_") else 1


def _elements(product: Mapping[str, Any]) -> int:
    """Weights of a product, where a graph may show [rows, blocks, bytes] with two of them in each byte."""
    elements: int = math.prod(product["shape"])
    # Four bits, and scales: a weight takes 0.5 bytes and a little, so at least 1.5 of them are in every byte.
    packed = product["dtype"] == "int4" and elements < 1.5 * product["weight_bytes"]
    return 2 * elements if packed else elements


def _transform_macs(graph: Mapping[str, Any], spec: StreamSpec) -> int:
    """Of the DFT there (channels) and back (sources x channels); models/dft.py: about 2 length (P + Q) each."""
    shapes = [product["shape"] for product in graph["products"] if product["layer"] is None]
    if not shapes:
        return 0
    p = int(min(shapes[0]))
    frames = spec.channels * (1 + len(spec.sources))
    return frames * 2 * spec.window_length * (p + spec.window_length // p)


def _attention_macs(spec: StreamSpec) -> int:
    """The new frame against the rows of keys and values, which are the rings."""
    return sum(math.prod(slot.shape) for slot in spec.slots if slot.ring)
