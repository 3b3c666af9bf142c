"""LiteRT's profiler: one event for every operator of every hop, those inside the XNNPACK delegate included."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import EdgeError, MissingDependencyError
from ddtasnet_edge.native import native_messages_hidden
from ddtasnet_edge.runtimes.graph_io import CopiedState, Shapes
from ddtasnet_edge.runtimes.litert_c import DELEGATED_OPERATORS, OPERATOR, CompiledModel
from ddtasnet_edge.runtimes.profile import Node, NodeTimes, ProfiledSession
from ddtasnet_edge.runtimes.tflite_session import RUNTIME
from ddtasnet_edge.spec import MIX, STEMS, FloatArray

PACKAGE, DISTRIBUTION = "ai_edge_litert", "ai-edge-litert"
PRODUCT, DELEGATED_PRODUCT, DELEGATE = "FULLY_CONNECTED", "Fully Connected", "DELEGATE"


class ProfiledTFLiteSession(ProfiledSession):
    """The same graph, delegate and kernels in a compiled model, which has a profiler; an interpreter has none."""

    runtime = RUNTIME

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest.spec)
        package = find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise MissingDependencyError(f"{RUNTIME} has no profiler; pip install {DISTRIBUTION}")
        with native_messages_hidden():
            version = metadata.version(DISTRIBUTION)
            self._model = CompiledModel(bundle.graph_path, Path(package.origin).parent, version)
            self._plan = _Plan.of(bundle)
        inputs = _views(self._model.inputs, self.spec.input_shapes())
        outputs = _views(self._model.outputs, self.spec.output_shapes())
        self._mix, self._stems = inputs[MIX][0], outputs[STEMS][0]
        self._state = CopiedState(self.spec, inputs, outputs)
        self._result = np.empty(self.spec.stems_shape[1:], dtype=np.float32)
        self._records: list[NDArray[np.void]] | None = None

    def start(self) -> None:
        """As `ProfiledSession.start`."""
        self._records = []

    def node_times(self) -> NodeTimes:
        """As `ProfiledSession.node_times`."""
        records = [events[np.isin(events["kind"], (OPERATOR, *DELEGATED_OPERATORS))] for events in self._records or ()]
        if not records or len({len(events) for events in records}) != 1:
            raise EdgeError(f"the profile of {RUNTIME} differs from hop to hop; try another version of {DISTRIBUTION}")
        return NodeTimes(
            nodes=self._plan.nodes(records[0]),
            times_us=np.stack([events["elapsed_us"] for events in records]).astype(np.float64),
            rounding_us=1.0,
            remark="run by a compiled model, as the interpreter has no profiler",
        )

    def _run(self, hop: FloatArray) -> FloatArray:
        np.copyto(self._mix, hop)
        if self._records is None:
            self._model.run()
        else:
            self._model.start()
            self._model.run()
            self._records.append(self._model.events())
        # Copied: the memory is the library's and gone when the session is closed.
        np.copyto(self._result, self._stems)
        self._state.advance()
        return self._result

    def _read_state(self) -> Mapping[str, FloatArray]:
        return self._state.read()

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._state.write(state)

    def _close(self) -> None:
        del self._mix, self._stems, self._state
        with native_messages_hidden():
            self._model.close()


def _views(flat: Mapping[str, FloatArray], shapes: Shapes) -> dict[str, FloatArray]:
    return {name: flat[name].reshape(shape) for name, shape in shapes.items()}


@dataclass(frozen=True)
class _Plan:
    """Which products the delegate computes, in the order in which it does, and which operators compute the others.

    Events inside the delegate have no other name than their kernel. A delegate takes over groups of operators, one
    after the other, and computes the products of a group in the order of the graph.
    """

    delegated: tuple[str, ...]
    direct: Mapping[int, str]

    @classmethod
    def of(cls, bundle: Bundle) -> _Plan:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(bundle.graph_path), num_threads=1)
        interpreter.allocate_tensors()
        names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        operators = interpreter._get_ops_details()
        products = {op["index"]: op for op in operators if op["op_name"] == PRODUCT}
        groups = [set(op["inputs"].tolist()) for op in operators if op["op_name"] == DELEGATE]
        delegated = [index for group in groups for index, op in products.items() if int(op["inputs"][1]) in group]
        written = {index: names[int(op["outputs"][0])] for index, op in products.items()}
        return cls(
            delegated=tuple(written[index] for index in delegated),
            direct={index: name for index, name in written.items() if index not in delegated},
        )

    def nodes(self, events: NDArray[np.void]) -> tuple[Node, ...]:
        """The nodes that these events of one hop are about. Raises EdgeError when they do not fit the plan."""
        tags = [ctypes.string_at(int(address)).decode() for address in events["tag"]]
        direct = events["kind"] == OPERATOR
        inside = [not outside and tag.startswith(DELEGATED_PRODUCT) for outside, tag in zip(direct, tags, strict=True)]
        if sum(inside) != len(self.delegated):
            raise EdgeError(
                f"the profile of {RUNTIME} has {sum(inside)} products in its delegate, the graph "
                f"{len(self.delegated)}; try another version of {DISTRIBUTION}"
            )
        products = iter(self.delegated)
        nodes = []
        for position, (event, tag) in enumerate(zip(events, tags, strict=True)):
            product = next(products) if inside[position] else None
            if direct[position]:
                product = self.direct.get(int(event["index"]))
            nodes.append(Node(f"node {position}", tag, product))
        return tuple(nodes)
