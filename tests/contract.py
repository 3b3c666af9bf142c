"""The contract of a streaming block (ddtasnet_edge/models/block.py) as one function that checks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddtasnet_edge.models.block import State, StreamBlock

Face = Callable[[Tensor, State], tuple[Tensor, State]]

# Largest allowed error, relative to the largest expected value. A library kernel over a sequence and single steps
# add up in another order; each sum of n terms then differs by up to about n rounding errors (float32 6e-8,
# float64 1e-16), and the memories here carry that over a few hundred frames. DESIGN 3.1 fixes the float32 value.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
# A state may differ this many times more: the network's phase feature falls to zero over the last 0.1 radians before
# the cut (PHASE_FADE in spectral.py), and that slope, pi / 0.1, enlarges rounding errors on their way to the memories.
STATE_MARGIN = 31


@torch.no_grad()
def verify_contract(block: StreamBlock, sequence: Tensor, cuts: Sequence[int] = ()) -> None:
    """Assert the whole streaming contract of `block` on `sequence` [batch, time, ...], time >= 1.

    forward == steps == scan over the segments between `cuts` (ascending, from 1 to time - 1), in outputs and in
    final state; both faces pure; state laid out like the initial state; batch elements independent of each other.
    """
    weights = {name: value.clone() for name, value in _weights(block).items()}
    initial = block.initial_state(sequence)

    expected, expected_end = _advance(block.scan, [sequence], initial)
    whole = expected[0]
    assert_close(StreamBlock.forward(block, sequence), whole, "forward")

    stepped, end = _advance(block.step, sequence.unbind(1), initial)
    assert_close(torch.stack(stepped, dim=1), whole, "steps")
    assert_states_close(end, expected_end, "steps")

    split, end = _advance(block.scan, sequence.tensor_split(list(cuts), dim=1), initial)
    assert_close(torch.cat(split, dim=1), whole, f"scan cut at {list(cuts)}")
    assert_states_close(end, expected_end, f"scan cut at {list(cuts)}")

    for index in range(sequence.shape[0]):
        alone = sequence[index : index + 1]
        assert_close(block.scan(alone, block.initial_state(alone))[0][0], whole[index], f"batch element {index} alone")

    assert all(torch.equal(value, weights[name]) for name, value in _weights(block).items()), "a weight has changed"


def assert_close(actual: Tensor, expected: Tensor, what: str, margin: float = 1.0) -> None:
    """Same shape and dtype, and equal within `margin` * TOLERANCE of the largest expected value."""
    assert actual.shape == expected.shape, f"{what}: shape {list(actual.shape)}, expected {list(expected.shape)}"
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype}, expected {expected.dtype}"
    if expected.numel():
        error, largest = (actual - expected).abs().max(), expected.abs().max()
        limit = margin * TOLERANCE[expected.dtype] * largest
        assert error <= limit, f"{what}: error {error:.3g}, limit {limit:.3g}"


def assert_states_close(actual: State, expected: State, what: str) -> None:
    """Same slots, each close within STATE_MARGIN."""
    assert list(actual) == list(expected), f"{what}: slots {list(actual)}, expected {list(expected)}"
    for slot, value in expected.items():
        assert_close(actual[slot], value, f"{what}, slot {slot}", STATE_MARGIN)


def _advance(face: Face, inputs: Sequence[Tensor], state: State) -> tuple[list[Tensor], State]:
    """All outputs, and the state carried through them; every call is made twice to see that it is pure."""
    outputs = []
    for x in inputs:
        x_before, before = x.clone(), {slot: value.clone() for slot, value in state.items()}
        y, after = face(x, state)
        again, after_again = face(x, state)
        assert torch.equal(x, x_before), "the input was modified in place"
        assert _identical(state, before), "the state was modified in place"
        assert torch.equal(y, again), "the same call gave another output"
        assert _identical(after, after_again), "the same call gave another state"
        assert _layout(after) == _layout(state), f"state became {_layout(after)}, was {_layout(state)}"
        outputs.append(y)
        state = after
    return outputs, state


def _identical(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[slot]) for slot, value in one.items())


def _layout(state: State) -> list[tuple[str, torch.Size, torch.dtype]]:
    return [(slot, value.shape, value.dtype) for slot, value in state.items()]


def _weights(block: StreamBlock) -> dict[str, Tensor]:
    return dict(block.named_parameters()) | dict(block.named_buffers())
