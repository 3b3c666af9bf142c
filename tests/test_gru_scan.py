"""The GRU for training: values and gradients are those of the library and of the step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ddtasnet_edge.models.gru_scan import gru_scan
from ddtasnet_edge.models.memory import GRUMemory
from tests.small import noise

UNITS, INPUTS = 6, 5


def operands() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shapes = ((4, 2, 3 * UNITS), (2, UNITS), (3 * UNITS, UNITS), (3 * UNITS,))
    gates, hidden, weight, bias = (noise(*shape, dtype=torch.float64).requires_grad_() for shape in shapes)
    return gates, hidden, weight, bias


def test_gradients_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(gru_scan, operands())


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_training_scans_as_the_library_does(frames: int) -> None:
    torch.manual_seed(1)
    block = GRUMemory(INPUTS, UNITS).double()
    x = noise(3, frames, INPUTS, dtype=torch.float64).requires_grad_()
    hidden = noise(3, UNITS, dtype=torch.float64).requires_grad_()
    leaves = [x, hidden, *block.parameters()]
    weight = noise(3, frames, UNITS, dtype=torch.float64)

    def gradients(y: Tensor, last: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad((y * weight).sum() + last.square().sum(), leaves))

    ours, state = block.scan(x, {"hidden": hidden})
    library, last = block.rnn(x, hidden[None])
    assert torch.allclose(ours, library, atol=1e-12)
    assert torch.allclose(state["hidden"], last[0], atol=1e-12)
    for one, other in zip(gradients(ours, state["hidden"]), gradients(library, last[0]), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_without_gradients_the_scan_is_the_same() -> None:
    block = GRUMemory(INPUTS, UNITS)
    x, state = noise(2, 20, INPUTS), {"hidden": noise(2, UNITS)}
    trained, _ = block.scan(x, state)
    with torch.no_grad():
        used, _ = block.scan(x, state)
    assert torch.allclose(trained, used, atol=1e-6)


def test_bfloat16_stays_near_and_keeps_its_state_in_float32() -> None:
    block = GRUMemory(INPUTS, UNITS)
    x, state = noise(2, 20, INPUTS), {"hidden": torch.zeros(2, UNITS)}
    exact, _ = block.scan(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        near, after = block.scan(x, state)
    assert after["hidden"].dtype == torch.float32
    assert torch.allclose(near, exact, atol=0.05)
