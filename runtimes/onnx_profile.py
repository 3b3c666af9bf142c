"""ONNX Runtime's profiler: a file with one event for every node of every hop."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes.onnx_session import OnnxSession
from ddtasnet_edge.runtimes.profile import Node, NodeTimes, ProfiledSession, products_of
from ddtasnet_edge.spec import FloatArray

PRODUCT_OPS = (
    "MatMul", "Gemm", "FusedGemm", "FusedMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits",
)  # fmt: skip
# What fusions make of the name of the node that they swallow: "fused node_linear", "node_linear/MatMulAddFusion/".
FUSED = re.compile(r"^(?:fused )?([^/ ]+)(?:/.*)?$")
EVENT_SUFFIX = "_kernel_time"


class ProfiledOnnxSession(OnnxSession, ProfiledSession):
    """The same session with profiling on.

    Writing an event takes microseconds, part of which count as the node's own, and leaves the caches cold. What the
    cheapest node takes, one of the many that only rename their input, is therefore taken off all of them; what it takes
    beyond that from nodes with more inputs and outputs stays.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._hops = self._skipped = 0
        self._products = frozenset(products_of(bundle))
        super().__init__(bundle)

    def _options(self, num_threads: int) -> ort.SessionOptions:
        options = super()._options(num_threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name, "profile"))
        return options

    def _run(self, hop: FloatArray) -> FloatArray:
        self._hops += 1
        return super()._run(hop)

    def start(self) -> None:
        """As `ProfiledSession.start`."""
        self._skipped = self._hops

    def node_times(self) -> NodeTimes:
        """As `ProfiledSession.node_times`."""
        events = list(_node_events(Path(self._session.end_profiling())))
        if not events or len(events) % self._hops:
            raise EdgeError(
                f"the profile of {self.runtime} has {len(events)} events for {self._hops} hops, expected equally many "
                "for each; profile fewer hops"
            )
        count = len(events) // self._hops
        times = np.array([elapsed for _, _, elapsed in events], dtype=np.float64).reshape(self._hops, count)
        times = times[self._skipped :]
        own = float(times.mean(axis=0).min())
        return NodeTimes(
            nodes=tuple(self._node(name, op) for name, op, _ in events[:count]),
            times_us=(times - own).clip(min=0.0),
            rounding_us=1.0,
            remark=f"the profiler takes at least {own:.1f} us per node, which is taken off: nodes may add up to more "
            "than the step, and small ones look larger than they are",
        )

    def _node(self, name: str, op: str) -> Node:
        match = FUSED.match(name) if op in PRODUCT_OPS else None
        return Node(name, op, match[1] if match and match[1] in self._products else None)

    def _close(self) -> None:
        super()._close()
        self._folder.cleanup()


def _node_events(path: Path) -> Iterator[tuple[str, str, int]]:
    """Name, operator and microseconds of every node that ran, in order. The file has one event per line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            text = line.strip().lstrip("[").rstrip(",]")
            if text:
                event = json.loads(text)
                if event["cat"] == "Node" and event["name"].endswith(EVENT_SUFFIX):
                    yield event["name"].removesuffix(EVENT_SUFFIX), event["args"]["op_name"], int(event["dur"])
