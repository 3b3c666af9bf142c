"""StreamSpec: names, shapes, latency arithmetic and the JSON round trip."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.spec import Slot, StreamSpec, slot_tensor_names

SPEC = StreamSpec(
    sample_rate=44100,
    channels=2,
    sources=("voice", "rest", "noise"),
    window_length=1024,
    hop_length=256,
    algorithmic_latency=768,
    slots=(Slot("hidden", (1, 5)), Slot("scale", (1, 2, 3), initial=1.5)),
)


def test_shapes_and_names_of_the_graph() -> None:
    assert slot_tensor_names("hidden") == ("hidden_in", "hidden_out")
    assert list(SPEC.input_shapes().items()) == [
        ("mix", (1, 2, 256)),
        ("hidden_in", (1, 5)),
        ("scale_in", (1, 2, 3)),
    ]
    assert list(SPEC.output_shapes().items()) == [
        ("stems", (1, 3, 2, 256)),
        ("hidden_out", (1, 5)),
        ("scale_out", (1, 2, 3)),
    ]


def test_initial_state_is_fresh_float32_and_filled() -> None:
    state = SPEC.initial_state()
    assert {name: (value.shape, value.dtype) for name, value in state.items()} == {
        "hidden": ((1, 5), np.float32),
        "scale": ((1, 2, 3), np.float32),
    }
    assert np.all(state["hidden"] == 0.0)
    assert np.all(state["scale"] == 1.5)
    state["scale"][:] = 7.0
    assert np.all(SPEC.initial_state()["scale"] == 1.5)


def test_hop_budget_is_the_duration_of_a_hop() -> None:
    assert SPEC.hop_budget == pytest.approx(256 / 44100)


@given(samples=st.integers(0, 10_000), hop=st.sampled_from([1, 128, 256, 512, 1024]))
def test_hops_for_is_the_fewest_that_return_everything(samples: int, hop: int) -> None:
    spec = replace(SPEC, hop_length=hop, algorithmic_latency=1024 - hop)
    hops = spec.hops_for(samples)
    returned = max(0, hops * hop - spec.algorithmic_latency)
    assert returned >= samples
    assert hops == 0 or returned - hop < samples
    assert hops == (math.ceil((samples + 1024 - hop) / hop) if samples else 0)


def test_json_round_trip() -> None:
    assert StreamSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


def test_slot_names_are_unique() -> None:
    with pytest.raises(ValueError, match="unique"):
        replace(SPEC, slots=(Slot("hidden", (1,)), Slot("hidden", (2,))))


@pytest.mark.parametrize("shape", [(), (2,), (1, 0, 3)])
def test_a_ring_has_rows(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"is a ring of shape .*, expected \[batch, rows, ...\]"):
        Slot("past", shape, ring=True)
