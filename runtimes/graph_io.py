"""Helpers that the graph-based sessions share: names, preallocated arrays, and the check of a loaded graph."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, StreamSpec, slot_tensor_names

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


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


class GraphSession(Session):
    """A session whose step is one run of a graph, with copies and checks around it."""

    @abstractmethod
    def execute(self) -> None:
        """Run the graph on what its inputs hold, and leave the state as it is: what a step takes without us."""


class Ring:
    """A slot of which a step makes one row: it takes the place of the oldest, and no other row is touched.

    rows [batch, rows, ...]: the slot; row [batch, 1, ...]: where a step writes. Views of both are made once.
    """

    def __init__(self, rows: FloatArray, row: FloatArray) -> None:
        self._rows, self._row = rows, row[:, 0]
        self._places = [rows[:, index] for index in range(rows.shape[1])]
        self._oldest = 0

    def push(self) -> None:
        """Take over the row of the step that was made."""
        np.copyto(self._places[self._oldest], self._row)
        self._oldest = (self._oldest + 1) % len(self._places)

    def read(self) -> FloatArray:
        """A copy of the slot, oldest row first, as the model itself keeps it."""
        return np.roll(self._rows, -self._oldest, axis=1)

    def write(self, rows: FloatArray) -> None:
        """Replace the slot, oldest row first."""
        np.copyto(self._rows, rows)
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
        self._rows = {slot.name: slot.initial_value() for slot in rings}
        self._row = {slot.name: np.zeros(slot.update_shape, dtype=np.float32) for slot in rings}
        self._rings = {name: Ring(self._rows[name], self._row[name]) for name in self._rows}
        self._order = [slot.name for slot in spec.slots]
        self.current = 0

    def inputs(self, direction: int) -> dict[str, FloatArray]:
        """Graph inputs of direction 0 or 1, by tensor name."""
        arrays = self._sets[direction] | self._rows
        return {slot_tensor_names(slot)[0]: array for slot, array in arrays.items()}

    def outputs(self, direction: int) -> dict[str, FloatArray]:
        """Graph outputs of direction 0 or 1, by tensor name."""
        arrays = self._sets[1 - direction] | self._row
        return {slot_tensor_names(slot)[1]: array for slot, array in arrays.items()}

    def advance(self) -> None:
        """After a step: what was written is now the state."""
        self.current = 1 - self.current
        for ring in self._rings.values():
            ring.push()

    def read(self) -> dict[str, FloatArray]:
        """The current state by slot, rings oldest row first; other slots are the arrays themselves."""
        state = self._sets[self.current] | {slot: ring.read() for slot, ring in self._rings.items()}
        return {slot: state[slot] for slot in self._order}

    def write(self, state: Mapping[str, FloatArray]) -> None:
        """Copy a state in."""
        for slot, array in self._sets[self.current].items():
            np.copyto(array, state[slot])
        for slot, ring in self._rings.items():
            ring.write(state[slot])


class CopiedState:
    """State in the inputs of a graph that has memory of its own: a step copies what it wrote there, of rings one row.

    inputs, outputs: the graph's tensors by name.
    """

    def __init__(self, spec: StreamSpec, inputs: Mapping[str, FloatArray], outputs: Mapping[str, FloatArray]) -> None:
        tensors = {}
        for slot in spec.slots:
            before, after = slot_tensor_names(slot.name)
            tensors[slot.name] = inputs[before], outputs[after]
        ring = {slot.name for slot in spec.slots if slot.ring}
        self._plain = {slot: pair for slot, pair in tensors.items() if slot not in ring}
        self._rings = {slot: Ring(*pair) for slot, pair in tensors.items() if slot in ring}
        self._order = list(tensors)
        self.write(spec.initial_state())

    def advance(self) -> None:
        """After a step: what was written is now the state."""
        for state, made in self._plain.values():
            np.copyto(state, made)
        for ring in self._rings.values():
            ring.push()

    def read(self) -> dict[str, FloatArray]:
        """The current state by slot, rings oldest row first; other slots are the arrays themselves."""
        state = {slot: array for slot, (array, _) in self._plain.items()}
        state |= {slot: ring.read() for slot, ring in self._rings.items()}
        return {slot: state[slot] for slot in self._order}

    def write(self, state: Mapping[str, FloatArray]) -> None:
        """Copy a state in."""
        for slot, (array, _) in self._plain.items():
            np.copyto(array, state[slot])
        for slot, ring in self._rings.items():
            ring.write(state[slot])
