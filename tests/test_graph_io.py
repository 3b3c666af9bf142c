"""State that graph sessions keep: what a step writes becomes the state, row by row in rings."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.runtimes.graph_io import Ring, StateBuffers
from ddtasnet_edge.spec import Slot, StreamSpec

SPEC = StreamSpec(1000, 1, ("all",), 4, 2, 2, (Slot("memory", (1, 3)), Slot("past", (1, 4, 2), ring=True)))


def step(buffers: StateBuffers, value: float) -> None:
    """What a runtime does: fill the outputs of the current direction."""
    outputs = buffers.outputs(buffers.current)
    outputs["memory_out"][:] = value
    outputs["past_out"][:] = value
    buffers.advance()


@given(st.integers(0, 13))
def test_a_ring_holds_the_newest_rows_and_reads_oldest_first(steps: int) -> None:
    buffers = StateBuffers(SPEC)
    for value in range(1, steps + 1):
        step(buffers, float(value))
    expected = ([0.0] * 4 + [float(value) for value in range(1, steps + 1)])[-4:]
    state = buffers.read()
    assert list(state) == ["memory", "past"]
    np.testing.assert_array_equal(state["past"][0, :, 1], expected)
    np.testing.assert_array_equal(state["memory"], np.full((1, 3), steps))


def test_a_step_reads_what_the_step_before_wrote_and_rings_stay_where_they_are() -> None:
    buffers = StateBuffers(SPEC)
    ring = buffers.inputs(0)["past_in"]
    step(buffers, 1.0)
    assert buffers.inputs(buffers.current)["past_in"] is ring
    np.testing.assert_array_equal(buffers.inputs(buffers.current)["memory_in"], np.ones((1, 3)))
    assert buffers.outputs(buffers.current)["past_out"].shape == (1, 1, 2)


def test_a_state_written_in_is_read_back_and_goes_on_from_its_oldest_row() -> None:
    buffers, other = StateBuffers(SPEC), StateBuffers(SPEC)
    for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        step(buffers, value)
    other.write({slot: array.copy() for slot, array in buffers.read().items()})
    for each in (buffers, other):
        step(each, 7.0)
        np.testing.assert_array_equal(each.read()["past"][0, :, 0], [4.0, 5.0, 6.0, 7.0])


def test_one_row_is_a_ring_too() -> None:
    ring, rows = Ring(), np.zeros((2, 1, 3), dtype=np.float32)
    for value in (1.0, 2.0):
        ring.push(rows, np.full((2, 1, 3), value, dtype=np.float32))
    np.testing.assert_array_equal(ring.in_order(rows), np.full((2, 1, 3), 2.0))
