"""Helpers that the graph-based sessions share: names, preallocated arrays, and the check of a loaded graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.spec import FloatArray, StreamSpec, slot_tensor_names

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
#: Gives the memory of one tensor of a graph.
View: TypeAlias = Callable[[], FloatArray]


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


class Ring:
    """Where the oldest row of a slot lies; the next row takes its place. Rows are axis 1."""

    def __init__(self) -> None:
        self._oldest = 0

    def push(self, rows: FloatArray, row: FloatArray) -> None:
        """Write the row [batch, 1, ...] that a step made into the slot [batch, rows, ...]."""
        rows[:, self._oldest] = row[:, 0]
        self._oldest = (self._oldest + 1) % rows.shape[1]

    def in_order(self, rows: FloatArray) -> FloatArray:
        """A copy of the slot, oldest row first, as the model itself keeps it."""
        return np.roll(rows, -self._oldest, axis=1)

    def restart(self) -> None:
        """The slot was written anew, oldest row first."""
        self._oldest = 0


class StateBuffers:
    """Two sets of preallocated state arrays: a step reads one and writes the other, then they change places.

    Rings exist once, beside the row that a step makes. A runtime binds both directions once; nothing is allocated per
    hop, and of the state only the new rows of rings are copied.
    """

    def __init__(self, spec: StreamSpec) -> None:
        plain = [slot for slot in spec.slots if not slot.ring]
        rings = [slot for slot in spec.slots if slot.ring]
        self._sets = tuple({slot.name: slot.initial_value() for slot in plain} for _ in range(2))
        self._rings = {slot.name: slot.initial_value() for slot in rings}
        self._rows = {slot.name: np.zeros(slot.update_shape, dtype=np.float32) for slot in rings}
        self._places = {slot.name: Ring() for slot in rings}
        self._order = [slot.name for slot in spec.slots]
        self.current = 0

    def inputs(self, direction: int) -> dict[str, FloatArray]:
        """Graph inputs of direction 0 or 1, by tensor name."""
        arrays = self._sets[direction] | self._rings
        return {slot_tensor_names(slot)[0]: array for slot, array in arrays.items()}

    def outputs(self, direction: int) -> dict[str, FloatArray]:
        """Graph outputs of direction 0 or 1, by tensor name."""
        arrays = self._sets[1 - direction] | self._rows
        return {slot_tensor_names(slot)[1]: array for slot, array in arrays.items()}

    def advance(self) -> None:
        """After a step: what was written is now the state."""
        self.current = 1 - self.current
        for slot, place in self._places.items():
            place.push(self._rings[slot], self._rows[slot])

    def read(self) -> dict[str, FloatArray]:
        """The current state by slot, rings oldest row first; other slots are the arrays themselves."""
        ordered = {slot: place.in_order(self._rings[slot]) for slot, place in self._places.items()}
        state = self._sets[self.current] | ordered
        return {slot: state[slot] for slot in self._order}

    def write(self, state: Mapping[str, FloatArray]) -> None:
        """Copy a state in."""
        for slot, array in (self._sets[self.current] | self._rings).items():
            np.copyto(array, state[slot])
        for place in self._places.values():
            place.restart()


class CopiedState:
    """State in the inputs of a graph that has memory of its own: a step copies what it wrote there, of rings one row.

    inputs, outputs: views of the graph's tensors by name. Each is taken for one copy and let go, as the interpreter of
    TFLite does not run while anybody holds one.
    """

    def __init__(self, spec: StreamSpec, inputs: Mapping[str, View], outputs: Mapping[str, View]) -> None:
        names = {slot.name: slot_tensor_names(slot.name) for slot in spec.slots}
        self._inputs = {slot: inputs[name] for slot, (name, _) in names.items()}
        self._outputs = {slot: outputs[name] for slot, (_, name) in names.items()}
        self._rings = {slot.name: Ring() for slot in spec.slots if slot.ring}
        self.write(spec.initial_state())

    def advance(self) -> None:
        """After a step: what was written is now the state."""
        for slot, state in self._inputs.items():
            if slot in self._rings:
                self._rings[slot].push(state(), self._outputs[slot]())
            else:
                np.copyto(state(), self._outputs[slot]())

    def read(self) -> dict[str, FloatArray]:
        """A copy of the current state by slot, rings oldest row first."""
        return {
            slot: self._rings[slot].in_order(state()) if slot in self._rings else np.array(state())
            for slot, state in self._inputs.items()
        }

    def write(self, state: Mapping[str, FloatArray]) -> None:
        """Copy a state in."""
        for slot, array in self._inputs.items():
            np.copyto(array(), state[slot])
        for ring in self._rings.values():
            ring.restart()
