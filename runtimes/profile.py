"""What a runtime's own profiler tells about a step: how long every node of its execution plan takes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.dependencies import import_backend
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.session import Session

#: target -> the session whose runtime keeps a profile
PROFILERS: dict[str, str] = {
    "onnx": "ddtasnet_edge.runtimes.onnx_profile:ProfiledOnnxSession",
    "openvino": "ddtasnet_edge.runtimes.openvino_profile:ProfiledOpenVINOSession",
    "tflite": "ddtasnet_edge.runtimes.tflite_profile:ProfiledTFLiteSession",
}


@dataclass(frozen=True)
class Node:
    """One node that a step runs: the runtime's name and operator for it, and which product of the graph it computes.

    product: as `manifest.graph["products"]` names it, None for everything that is no product.
    """

    name: str
    op: str
    product: str | None = None


@dataclass(frozen=True, eq=False)
class NodeTimes:
    """Times of the nodes in microseconds, [records, nodes].

    A record is a hop; where the runtime keeps averages only there is a single record, of all hops. rounding_us: by how
    much the time of a node may be too short. remark: what else to know about these times.
    """

    nodes: tuple[Node, ...]
    times_us: NDArray[np.float64]
    rounding_us: float
    remark: str


class ProfiledSession(Session):
    """A session that runs slower, because its runtime writes down what it does."""

    @abstractmethod
    def start(self) -> None:
        """Hops count from the next one on."""

    @abstractmethod
    def node_times(self) -> NodeTimes:
        """Of every hop since `start`; no hop may follow. Raises EdgeError when the profile is incomplete."""


def check_profiler(target: str) -> None:
    """Raise ConfigError unless bundles of this target can be profiled."""
    if target not in PROFILERS:
        raise ConfigError(f"target '{target}' has no profiler; profile bundles for {', '.join(PROFILERS)}")


def products_of(bundle: Bundle) -> tuple[str, ...]:
    """Names of the matrix products of a bundle's graph, in its order; none where the manifest is from before they were
    recorded."""
    return tuple(product["node"] for product in bundle.manifest.graph.get("products", ()))


def open_profiled(bundle: Bundle) -> ProfiledSession:
    """A bundle that its runtime opens (`open_session` says so) with its profiler on, on one thread.

    Raises ConfigError for a target and MissingDependencyError for a version of its runtime that has no profiler.
    """
    check_profiler(bundle.manifest.target)
    module, _, name = PROFILERS[bundle.manifest.target].partition(":")
    return cast(ProfiledSession, getattr(import_backend(module), name)(bundle))
