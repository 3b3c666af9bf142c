"""The shipped weights end with training for four bits: what they are stored with is what they are."""

from __future__ import annotations

import pytest
import torch

from ddtasnet_edge.models.source import find_model
from ddtasnet_edge.quantize import INT4
from ddtasnet_edge.quantize.plan import layers_of
from ddtasnet_edge.quantize.precision import DYNAMIC8
from ddtasnet_edge.quantize.recipe import is_kept_float
from ddtasnet_edge.quantize.rounding import round_with_feedback


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_four_and_eight_bits_hold_them(preset: str) -> None:
    source = find_model(preset)
    assert source.training["settings"]["qat"] == INT4.name
    for name, weight in layers_of(source.model).items():
        if is_kept_float(name):
            continue
        for precision in (INT4.precision_of(name), DYNAMIC8):
            alone = torch.eye(weight.shape[1], dtype=torch.float64)
            stored = torch.from_numpy(round_with_feedback(weight, precision.weight_bits, precision.block, alone).matrix)
            # 65 dB is little more than the float16 that they are shipped in; weights of other training have 20 and 40.
            assert (stored - weight).square().sum() < 10**-6.5 * weight.square().sum(), (name, precision.name)
