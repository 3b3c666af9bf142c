"""Weights and activations to integers, and what is seen of the products of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.quantize.layer import LEVELS, Grid, QuantizedWeight, round_to
from ddtasnet_edge.quantize.observe import observe
from ddtasnet_edge.quantize.plan import layers_of
from ddtasnet_edge.quantize.products import stream_hops
from ddtasnet_edge.quantize.rounding import round_with_feedback, rounded
from tests.small import noise, small_config

ends = st.floats(-1e3, 1e3, width=32)


class TestGrids:
    @given(ends, ends)
    def test_zero_is_a_value_and_the_ends_are_within_a_step(self, one: float, other: float) -> None:
        low, high = min(one, other, 0.0), max(one, other, 0.0)
        assume(high - low > 1e-4)
        grid = Grid.over(low, high)
        assert 0 <= grid.zero_point < LEVELS
        assert float(round_to(grid, torch.zeros(1))) == 0.0
        assert grid.low == pytest.approx(low, abs=0.51 * grid.scale)
        assert grid.high == pytest.approx(high, abs=0.51 * grid.scale)

    def test_a_tensor_that_was_always_zero_has_a_grid(self) -> None:
        assert Grid.over(0.0, 0.0).scale > 0.0

    def test_values_are_rounded_to_the_nearest_and_clipped(self) -> None:
        grid = Grid.over(-1.0, 1.55)
        assert grid.scale == pytest.approx(0.01)
        found = round_to(grid, torch.tensor([0.014, 0.016, -5.0, 5.0]))
        np.testing.assert_allclose(found, [0.01, 0.02, -1.0, 1.55], atol=1e-6)


def weights(outputs: int = 24, inputs: int = 80) -> Tensor:
    return noise(outputs, inputs) * torch.linspace(0.1, 2.0, outputs)[:, None]


def correlated(inputs: int) -> Tensor:
    """The moment of inputs that move together."""
    x = noise(400, 8) @ noise(8, inputs) + 0.1 * noise(400, inputs)
    return (x.T @ x).double() / len(x)


def output_error(weight: Tensor, stored: Tensor, moment: Tensor) -> float:
    error = (weight - stored).double()
    return float(torch.einsum("oi,ij,oj->", error, moment, error))


def with_feedback(weight: Tensor, bits: int, block: int | None, moment: Tensor | None = None) -> QuantizedWeight:
    moment = torch.eye(weight.shape[1], dtype=torch.float64) if moment is None else moment
    return round_with_feedback(weight, bits, block, moment)


class TestRounding:
    @pytest.mark.parametrize("bits", [8, 4])
    @pytest.mark.parametrize("block", [None, 32])
    def test_the_nearest_is_within_half_a_step(self, bits: int, block: int | None) -> None:
        weight = weights()
        size = block or 80
        largest = torch.nn.functional.pad(weight, (0, -80 % size)).unflatten(1, (-1, size)).abs().amax(dim=2)
        # Of four bits, scales are multiples of a unit, and up to one of them wider than need be.
        coarsest = largest / 127 if bits == 8 else largest / 7 + largest.amax(dim=1, keepdim=True) / 105
        steps = coarsest.repeat_interleave(size, dim=1)[:, :80]
        # Scales of blocks are stored in float16: the largest weight may lie a thousandth outside.
        assert ((rounded(weight, bits, block) - weight).abs() <= 0.51 * steps).all()

    @pytest.mark.parametrize("block", [None, 32, 64])
    def test_what_is_rounded_stays_as_it_is(self, block: int | None) -> None:
        once = rounded(weights(), 4, block)
        torch.testing.assert_close(rounded(once, 4, block), once, rtol=0.0, atol=0.0)

    @pytest.mark.parametrize("block", [None, 32, 64])
    def test_blocks_cover_the_inputs(self, block: int | None) -> None:
        stored = with_feedback(weights(inputs=80), 4, block)
        assert stored.scales.shape == (24, {None: 1, 32: 3, 64: 2}[block])
        assert stored.missing == {None: 0, 32: 16, 64: 48}[block]
        assert stored.padded.shape[1] == 80 + stored.missing
        assert stored.per_output == (block is None)
        assert stored.matrix.shape == (24, 80)

    def test_scales_of_blocks_are_float16(self) -> None:
        scales = with_feedback(weights(), 4, 32).scales
        np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))

    @pytest.mark.parametrize(("bits", "block"), [(8, None), (4, None), (4, 32)])
    def test_feedback_makes_the_error_of_the_output_small(self, bits: int, block: int | None) -> None:
        weight, moment = weights(), correlated(80)
        fed_back = with_feedback(weight, bits, block, moment)
        nearest = output_error(weight, rounded(weight, bits, block), moment)
        assert output_error(weight, torch.from_numpy(fed_back.matrix), moment) < 0.5 * nearest
        limit = 2 ** (bits - 1)
        assert fed_back.values.min() >= -limit + (bits == 8)
        assert fed_back.values.max() <= limit - 1

    @pytest.mark.parametrize("block", [None, 32, 64])
    @pytest.mark.parametrize("stored_as", [torch.float32, torch.float16])
    def test_weights_trained_for_four_bits_lose_nothing_with_four_or_eight(
        self, block: int | None, stored_as: torch.dtype
    ) -> None:
        trained = rounded(weights(), 4, block).to(stored_as).float()
        for bits, blocks in ((4, block), (8, None)):
            stored = torch.from_numpy(with_feedback(trained, bits, blocks, correlated(80)).matrix)
            # 70 dB, what float16 leaves; the nearest of eight bits has 40 dB on other weights.
            assert (stored - trained).square().sum() < 1e-7 * trained.square().sum()

    def test_silent_inputs_and_rows_of_zeros_do_no_harm(self) -> None:
        weight, moment = weights(), correlated(80)
        weight[3] = 0.0
        moment[:, :10] = moment[:10] = 0.0
        stored = round_with_feedback(weight, 4, 32, moment)
        assert np.isfinite(stored.matrix).all()
        assert not stored.matrix[3].any()


MODEL = create_model(small_config()).eval()


def clip(samples: int, seed: float = 0.2) -> Clip:
    return Clip("noise", seed * noise(2, samples).numpy(), None, 44100, "noise")


class TestProducts:
    def test_hops_side_by_side_are_those_of_each_clip(self) -> None:
        one, other = (torch.from_numpy(clip(20 * 32, gain).mix) for gain in (0.2, 0.5))
        both = torch.cat([stems for stems, _ in stream_hops(MODEL, torch.stack([one, other]))], dim=-1)
        for mix, found in zip((one, other), both, strict=True):
            with torch.inference_mode():
                expected = MODEL(mix[None])[0]
            torch.testing.assert_close(found[..., 32:], expected[..., : 19 * 32], atol=1e-5, rtol=1e-4)

    def test_every_layer_is_seen_once_per_hop_and_may_be_replaced(self) -> None:
        seen: list[str] = []

        def product(layer: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            seen.append(layer)
            return (
                torch.zeros_like(F.linear(x, weight, bias))
                if layer.startswith(("time_mask", "spectral_mask"))
                else (F.linear(x, weight, bias))
            )

        mix = torch.from_numpy(clip(3 * 32).mix)[None]
        stems = torch.cat([hop for hop, _ in stream_hops(MODEL, mix, product)], dim=-1)
        assert sorted(seen) == sorted([*layers_of(MODEL)] * 3)
        # Masks that change nothing give every stem the same share of the mix.
        torch.testing.assert_close(stems[:, 0], stems[:, 1])

    def test_what_is_observed_is_what_went_in_and_out(self) -> None:
        name, weight = "fusion.rnn.weight_ih_l0", MODEL.fusion.rnn.weight_ih_l0
        inputs: list[Tensor] = []

        def look(layer: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            if layer == name:
                inputs.append(x)
            return F.linear(x, weight, bias)

        clips = [clip(30 * 32), replace(clip(20 * 32), name="shorter")]
        for each in clips:
            list(stream_hops(MODEL, torch.from_numpy(each.mix)[None], look))
        x = torch.cat(inputs)
        y = F.linear(x, weight, MODEL.fusion.rnn.bias_ih_l0).detach()
        seen = observe(MODEL, clips)[name]
        assert (seen.low, seen.high) == pytest.approx((min(float(x.min()), 0.0), max(float(x.max()), 0.0)), rel=1e-4)
        assert (seen.low_out, seen.high_out) == pytest.approx((float(y.min()), float(y.max())), rel=1e-4)
        torch.testing.assert_close(seen.moment, (x.T @ x).double() / len(x), rtol=1e-4, atol=1e-7)
