"""Passes over the step: each computes the same, from the same weights, in other operators."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddtasnet_edge.export.passes import PASSES, Pass, passes_of, with_passes
from ddtasnet_edge.export.polynomial_phase import PolynomialAngle, PolynomialSine
from ddtasnet_edge.export.registry import COMPILED_TARGETS
from ddtasnet_edge.export.trace import trace_step
from ddtasnet_edge.models.block import State
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.models.spectral import SpectralCodec
from tests.small import noise, small_config

# Of the largest value; float32 rounds at 6e-8.
TOLERANCE = 1e-6
HOP = small_config().hop_length
EACH_WHERE_IT_PAYS = [(each, target) for each in PASSES for target in each.targets]
NAMED = [f"{target}-{each.name}" for each, target in EACH_WHERE_IT_PAYS]


@pytest.fixture(scope="module")
def model() -> DDTasNet:
    torch.manual_seed(1)
    return create_model(small_config()).eval()


def stream(model: DDTasNet, mix: Tensor) -> tuple[Tensor, State]:
    state, stems = model.initial_state(mix), []
    with torch.no_grad():
        for hop in torch.split(mix, HOP, dim=-1):
            y, state = model.step(hop, state)
            stems.append(y)
    return torch.cat(stems, dim=-1), state


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def assert_states_equal(found: State, expected: State) -> None:
    assert list(found) == list(expected)
    for slot, value in expected.items():
        assert_equal(found[slot], value)


def operators(model: DDTasNet) -> list[str]:
    return [str(node.target) for node in trace_step(model).graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(("each", "target"), EACH_WHERE_IT_PAYS, ids=NAMED)
def test_a_pass_changes_operators_and_nothing_else(model: DDTasNet, each: Pass, target: str) -> None:
    with_it, without = with_passes(model, target), with_passes(model, target, without=each)
    assert operators(with_it) != operators(without)
    # More hops than the attention remembers, then silence.
    mix = torch.cat([0.1 * noise(1, 2, 9 * HOP), torch.zeros(1, 2, 3 * HOP)], dim=-1)
    (stems, state), (expected, expected_state) = stream(with_it, mix), stream(without, mix)
    assert_equal(stems, expected)
    assert_states_equal(state, expected_state)


@pytest.mark.parametrize("each", [each for each in PASSES if "onnx" in each.targets], ids=lambda each: each.name)
def test_passes_fit_a_network_of_lstms_too(each: Pass) -> None:
    test_a_pass_changes_operators_and_nothing_else(create_model(small_config(cell="lstm")).eval(), each, "onnx")


@pytest.mark.parametrize("target", COMPILED_TARGETS)
def test_all_passes_together_are_the_network(model: DDTasNet, target: str) -> None:
    mix = 0.1 * noise(1, 2, 12 * HOP)
    (stems, state), (expected, expected_state) = stream(with_passes(model, target), mix), stream(model, mix)
    assert_equal(stems, expected)
    assert_states_equal(state, expected_state)


def test_the_model_stays_what_it_was_and_shares_its_weights(model: DDTasNet) -> None:
    classes = [type(module) for module in model.modules()]
    passed = with_passes(model, "openvino")
    assert [type(module) for module in model.modules()] == classes
    assert [type(module) for module in passed.modules()] != classes
    weights = dict(model.named_parameters())
    assert {name: value.data_ptr() for name, value in passed.named_parameters()} == {
        name: value.data_ptr() for name, value in weights.items()
    }


def test_the_reference_goes_through_no_pass(model: DDTasNet) -> None:
    assert passes_of("torch") == ()
    assert [type(module) for module in with_passes(model, "torch").modules()] == [type(m) for m in model.modules()]


@pytest.mark.parametrize("target", COMPILED_TARGETS)
def test_rows_of_rings_may_lie_in_any_order(model: DDTasNet, target: str) -> None:
    passed = with_passes(model, target)
    rings = [slot.name for slot in passed.spec().slots if slot.ring]
    assert rings == [
        f"{branch}_attention_{slot}" for branch in ("time", "spectral") for slot in ("keys", "values", "valid")
    ]
    # Fewer hops than rows: some are empty, and they may lie anywhere too.
    _, state = stream(passed, noise(1, 2, 2 * HOP))
    turned = state | {name: torch.roll(state[name], 1, dims=1) for name in rings}
    hop = noise(1, 2, HOP)
    with torch.no_grad():
        (stems, made), (expected, new) = passed.update(hop, turned), passed.update(hop, state)
    torch.testing.assert_close(stems, expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(turned[rings[0]], state[rings[0]])
    for slot in new:
        torch.testing.assert_close(made[slot], new[slot], rtol=1e-4, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(st.floats(-3.1415926, 3.1415926), st.floats(-8.5, 5.0))
def test_the_polynomial_angle_is_that_of_the_bin(angle: float, level: float) -> None:
    codec, form = SpectralCodec(64, 32, 44100), PolynomialAngle(64, 32, 44100)
    radius = torch.tensor(10.0**level)
    real, imaginary = radius * math.cos(angle), radius * math.sin(angle)
    power = real * real + imaginary * imaginary
    found, expected = form.angle(real, imaginary, power), codec.angle(real, imaginary, power)
    # Around the cut the two may lie on either side.
    apart = (found - expected + math.pi) % (2.0 * math.pi) - math.pi
    assert abs(apart.item()) <= 6e-7


@pytest.mark.parametrize(
    ("real", "imaginary", "angle"),
    [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (-1.0, 0.0, math.pi), (-1.0, -0.0, math.pi), (0.0, 1.0, math.pi / 2)],
)
def test_the_polynomial_angle_where_atan2_is_special(real: float, imaginary: float, angle: float) -> None:
    form = PolynomialAngle(64, 32, 44100)
    x, y = torch.tensor(real), torch.tensor(imaginary)
    assert form.angle(x, y, x * x + y * y).item() == pytest.approx(angle, abs=3e-7)


def test_polynomial_cosines_and_sines() -> None:
    form = PolynomialSine(64, 32, 44100)
    phase = torch.linspace(-20.0, 20.0, 400_001)
    for found, expected in zip(form.cosine_and_sine(phase), (np.cos, np.sin), strict=True):
        error = np.abs(found.numpy() - expected(phase.double().numpy()))
        # To a rounding error of the angle itself, 20 * 6e-8, beyond the first turn.
        assert error.max() <= 2.5e-6
        assert error[np.abs(phase.numpy()) < math.pi].max() <= 8e-7
