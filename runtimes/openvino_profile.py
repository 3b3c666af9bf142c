"""OpenVINO's profiler: the average time of every node over all hops so far."""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.runtimes.openvino_session import OpenVINOSession
from ddtasnet_edge.runtimes.profile import Node, NodeTimes, ProfiledSession, products_of
from ddtasnet_edge.spec import FloatArray

PRODUCT_OPS = ("FullyConnected", "MatMul", "Gemm")
NO_KERNEL = ("undef", "unknown")


class ProfiledOpenVINOSession(OpenVINOSession, ProfiledSession):
    """The same session with PERF_COUNT.

    The averages cover the first hop too, which compiles kernels and takes a hundred times as long: the sums at `start`
    are taken off those at the end.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._hops = self._skipped = 0
        # The plugin appends to the names of products, as the converter did.
        self._products = {name.partition("/")[0]: name for name in products_of(bundle)}
        self._before: NDArray[np.float64] = np.zeros(0)
        super().__init__(bundle)

    def _options(self, num_threads: int) -> dict[str, str]:
        return super()._options(num_threads) | {"PERF_COUNT": "YES"}

    def _run(self, hop: FloatArray) -> FloatArray:
        self._hops += 1
        return super()._run(hop)

    def start(self) -> None:
        """As `ProfiledSession.start`."""
        self._skipped, self._before = self._hops, self._sums()

    def node_times(self) -> NodeTimes:
        """As `ProfiledSession.node_times`."""
        means = (self._sums() - self._before) / (self._hops - self._skipped)
        return NodeTimes(
            nodes=tuple(self._node(entry) for entry in self._executed()),
            times_us=means.clip(min=0.0)[None],
            # Cut to whole microseconds on every hop, and the average once more.
            rounding_us=2.0,
            remark="the profiler keeps averages in whole microseconds",
        )

    def _sums(self) -> NDArray[np.float64]:
        """Microseconds of each node over all hops. Both requests count into the same averages."""
        return np.array([entry.real_time.total_seconds() for entry in self._executed()]) * 1e6 * self._hops

    def _executed(self) -> list[ov.ProfilingInfo]:
        """Nodes that run. Those fused into another or done in place have no kernel.

        Not their status: it says of a node that takes less than a microsecond that it was not run.
        """
        entries = self._requests[0].get_profiling_info()
        return [entry for entry in entries if not entry.exec_type.startswith(NO_KERNEL)]

    def _node(self, entry: ov.ProfilingInfo) -> Node:
        is_product = entry.node_type.startswith(PRODUCT_OPS)
        product = self._products.get(entry.node_name.partition("/")[0]) if is_product else None
        return Node(entry.node_name, f"{entry.node_type} ({entry.exec_type})", product)
