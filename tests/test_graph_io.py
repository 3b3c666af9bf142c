"""State that graph sessions keep: what a step writes becomes the state, row by row in rings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.runtimes.graph_io import CopiedState, Ring, StateBuffers
from ddtasnet_edge.spec import FloatArray, Slot, StreamSpec

SPEC = StreamSpec(1000, 1, ("all",), 4, 2, 2, (Slot("memory", (1, 3)), Slot("past", (1, 4, 2), ring=True)))


class Bound:
    """A graph that reads and writes arrays of ours."""

    def __init__(self) -> None:
        self.state = StateBuffers(SPEC)

    def inputs(self) -> Mapping[str, FloatArray]:
        return self.state.inputs(self.state.current)

    def outputs(self) -> Mapping[str, FloatArray]:
        return self.state.outputs(self.state.current)


class Owning:
    """A graph with memory of its own."""

    def __init__(self) -> None:
        inputs = {name: np.full(shape, np.nan, dtype=np.float32) for name, shape in SPEC.input_shapes().items()}
        outputs = {name: np.full(shape, np.nan, dtype=np.float32) for name, shape in SPEC.output_shapes().items()}
        self.state = CopiedState(SPEC, inputs, outputs)
        self.inputs, self.outputs = lambda: inputs, lambda: outputs


Graph: TypeAlias = Bound | Owning
EVERY_GRAPH = pytest.mark.parametrize("graph_type", [Bound, Owning])


def step(graph: Graph, value: float) -> None:
    """What a runtime does: fill the outputs."""
    outputs = graph.outputs()
    outputs["memory_out"][:] = value
    outputs["past_out"][:] = value
    graph.state.advance()


@EVERY_GRAPH
@given(steps=st.integers(0, 13))
def test_a_ring_holds_the_newest_rows_and_reads_oldest_first(graph_type: type[Graph], steps: int) -> None:
    graph = graph_type()
    for value in range(1, steps + 1):
        step(graph, float(value))
    expected = ([0.0] * 4 + [float(value) for value in range(1, steps + 1)])[-4:]
    state = graph.state.read()
    assert list(state) == ["memory", "past"]
    np.testing.assert_array_equal(state["past"][0, :, 1], expected)
    np.testing.assert_array_equal(state["memory"], np.full((1, 3), steps))


@EVERY_GRAPH
def test_a_step_reads_what_the_step_before_wrote_and_rings_stay_where_they_are(graph_type: type[Graph]) -> None:
    graph = graph_type()
    ring = graph.inputs()["past_in"]
    step(graph, 1.0)
    assert graph.inputs()["past_in"] is ring
    np.testing.assert_array_equal(ring[0, :, 0], [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(graph.inputs()["memory_in"], np.ones((1, 3)))
    assert graph.outputs()["past_out"].shape == (1, 1, 2)


@EVERY_GRAPH
def test_a_state_written_in_is_read_back_and_goes_on_from_its_oldest_row(graph_type: type[Graph]) -> None:
    graph, other = graph_type(), graph_type()
    for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        step(graph, value)
    other.state.write({slot: array.copy() for slot, array in graph.state.read().items()})
    for each in (graph, other):
        step(each, 7.0)
        np.testing.assert_array_equal(each.state.read()["past"][0, :, 0], [4.0, 5.0, 6.0, 7.0])


def test_one_row_is_a_ring_too() -> None:
    row = np.zeros((2, 1, 3), dtype=np.float32)
    ring = Ring(np.zeros((2, 1, 3), dtype=np.float32), row)
    for value in (1.0, 2.0):
        row[:] = value
        ring.push()
    np.testing.assert_array_equal(ring.read(), np.full((2, 1, 3), 2.0))
