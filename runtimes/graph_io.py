"""Helpers that the graph-based sessions share: names, preallocated arrays, and the check of a loaded graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.spec import FloatArray, StreamSpec, slot_tensor_names

Shapes = Mapping[str, tuple[int, ...]]


def check_tensors(bundle: Bundle, inputs: Shapes, outputs: Shapes) -> None:
    """Raise BundleError unless the loaded graph has exactly the tensors that the manifest's spec names."""
    spec = bundle.manifest.spec
    for kind, found, expected in (("input", inputs, spec.input_shapes()), ("output", outputs, spec.output_shapes())):
        for name in sorted(set(found) | set(expected)):
            if found.get(name) != expected.get(name):
                raise BundleError(
                    f"{bundle.graph_path}: graph {kind} '{name}' has shape {_shape(found.get(name))}, "
                    f"the manifest says {_shape(expected.get(name))}; export the bundle again"
                )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(list(shape))


class StateBuffers:
    """Two sets of preallocated state arrays: a step reads one and writes the other, then they change places.

    A runtime binds both directions once; no state is copied or allocated per hop.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._sets = (spec.initial_state(), spec.initial_state())
        self.current = 0

    def inputs(self, direction: int) -> dict[str, FloatArray]:
        """Graph inputs of direction 0 or 1, by tensor name."""
        return {slot_tensor_names(slot)[0]: array for slot, array in self._sets[direction].items()}

    def outputs(self, direction: int) -> dict[str, FloatArray]:
        """Graph outputs of direction 0 or 1, by tensor name."""
        return {slot_tensor_names(slot)[1]: array for slot, array in self._sets[1 - direction].items()}

    def swap(self) -> None:
        """After a step: what was written is now the state."""
        self.current = 1 - self.current

    def read(self) -> dict[str, FloatArray]:
        """The current state, slot name to the array itself."""
        return self._sets[self.current]

    def write(self, state: Mapping[str, FloatArray]) -> None:
        """Copy a state in."""
        for slot, array in self._sets[self.current].items():
            np.copyto(array, state[slot])
