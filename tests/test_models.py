"""The whole network: alignment with the stream, presets, silence, loudness, gradients, causality, references."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.models.attention import SkipAttention
from ddtasnet_edge.models.block import State, pushed
from ddtasnet_edge.models.cbam import CBAM
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.step import StepGraph
from tests.contract import TOLERANCE, assert_close
from tests.small import default_dtype, noise, small_config

FLOAT32_ROUNDING = torch.finfo(torch.float32).eps


def stream(model: DDTasNet, mix: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Stems [batch, sources, channels, hops * hop] of the steps over a mix of whole hops."""
    state = model.initial_state(mix) if state is None else state
    stems = []
    with torch.no_grad():
        for hop in mix.split(model.config.hop_length, dim=-1):
            y, state = model.step(hop, state)
            stems.append(y)
    return torch.cat(stems, dim=-1), state


def pad_to_hops(model: DDTasNet, mix: Tensor) -> Tensor:
    hops = model.spec().hops_for(mix.shape[-1])
    return F.pad(mix, (0, hops * model.config.hop_length - mix.shape[-1]))


HOP = small_config().hop_length
FOUR_SECONDS = 4 * 44100


@pytest.mark.parametrize(("cell", "phase"), [("gru", "rotate"), ("lstm", "rotate"), ("gru", "scale")])
@pytest.mark.parametrize("hop", [128, 256, 512, 1024])
def test_forward_equals_steps_shifted_by_the_latency(hop: int, cell: str, phase: str) -> None:
    model = create_model(small_config(window_length=1024, hop_length=hop, cell=cell, phase=phase))
    latency = model.spec().algorithmic_latency
    assert latency == 1024 - hop
    for length in (1, hop - 1, hop, hop + 1, 5 * hop + 3):
        mix = noise(2, 2, length)
        stems, _ = stream(model, pad_to_hops(model, mix))
        with torch.no_grad():
            assert_close(model(mix), stems[..., latency : latency + length], f"length {length}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_equals_steps_over_seconds(dtype: torch.dtype) -> None:
    with default_dtype(dtype):
        model = create_model(replace(PRESETS["tiny"], units=16, bases=16))
    mix = 0.1 * noise(1, 2, FOUR_SECONDS, dtype=dtype)
    latency = model.spec().algorithmic_latency
    stems, _ = stream(model, pad_to_hops(model, mix))
    with torch.no_grad():
        assert_close(model(mix), stems[..., latency : latency + FOUR_SECONDS], "4 s")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sources", [("vocals",), ("a", "b", "c", "d", "e")])
def test_any_number_of_channels_and_sources(channels: int, sources: tuple[str, ...]) -> None:
    model = create_model(small_config(channels=channels, sources=sources))
    mix = noise(2, channels, 3 * HOP + 5)
    stems, _ = stream(model, pad_to_hops(model, mix))
    latency = model.spec().algorithmic_latency
    with torch.no_grad():
        offline = model(mix)
    assert offline.shape == (2, len(sources), channels, mix.shape[-1])
    assert_close(offline, stems[..., latency : latency + mix.shape[-1]], f"{channels} channels, {len(sources)} sources")


def test_an_empty_clip_gives_empty_stems() -> None:
    model = create_model(small_config())
    assert model(torch.zeros(3, 2, 0)).shape == (3, 4, 2, 0)


def test_spec_lists_the_state_of_the_model() -> None:
    model = create_model(small_config(cell="lstm"))
    spec, state = model.spec(), model.initial_state(torch.zeros(1))
    assert {slot.name: slot.shape for slot in spec.slots} == {name: tuple(value.shape) for name, value in state.items()}
    for slot in spec.slots:
        assert torch.equal(torch.from_numpy(slot.initial_value()), state[slot.name])


def test_step_graph_is_the_step_with_names() -> None:
    model = create_model(small_config())
    spec = model.spec()
    _, state = stream(model, noise(1, 2, 6 * HOP))
    hop = noise(*spec.mix_shape)
    with torch.no_grad():
        stems, after = model.step(hop, state)
        outputs = StepGraph(model)(mix=hop, **{f"{slot}_in": value for slot, value in state.items()})
    assert {name: tuple(value.shape) for name, value in outputs.items()} == spec.output_shapes()
    assert torch.equal(outputs["stems"], stems)
    made = pushed(state, {slot: outputs[f"{slot}_out"] for slot in after})
    assert all(torch.equal(made[slot], value) for slot, value in after.items())


@pytest.mark.parametrize(
    ("preset", "fewest", "most"),
    [("tiny", 0.4e6, 0.6e6), ("small", 3e6, 5e6), ("base", 20e6, 40e6), ("large", 80e6, 150e6)],
)
def test_presets_have_the_announced_size(preset: str, fewest: float, most: float) -> None:
    with torch.device("meta"):
        model = DDTasNet(PRESETS[preset])
    assert fewest <= sum(weight.numel() for weight in model.parameters()) <= most


def test_published_sizes() -> None:
    assert (PRESETS["base"].units, PRESETS["base"].bases) == (500, 200)
    assert (PRESETS["large"].units, PRESETS["large"].bases) == (1000, 1000)


def test_a_seed_fixes_the_weights_and_leaves_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (create_model(small_config(), seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_silence_gives_exact_silence(cell: str) -> None:
    model = create_model(small_config(cell=cell))
    stems, _ = stream(model, torch.zeros(1, 2, 40 * HOP))
    assert torch.equal(stems, torch.zeros_like(stems))


def test_music_then_silence_then_music() -> None:
    model = create_model(small_config())
    music, silence = noise(1, 2, 20 * HOP), torch.zeros(1, 2, 400 * HOP)
    mix = torch.cat([music, silence, music], dim=-1)
    stems, state = stream(model, mix)
    assert stems.isfinite().all()
    assert all(value.isfinite().all() for value in state.values())
    latency, end = model.spec().algorithmic_latency, (20 + 400) * HOP
    # The last frame with music in it starts up to window - hop before the silence and fades out over as much again.
    quiet = stems[..., 20 * HOP + 2 * latency : end]
    assert torch.equal(quiet, torch.zeros_like(quiet))
    assert stems[..., end + latency :].abs().max() > 0


@pytest.mark.parametrize("level", [1e-40, 1e-20, 1e-6, 32768.0, 2.0**31], ids="{:.0e}".format)
def test_any_level_gives_finite_stems_and_state(level: float) -> None:
    """From denormal numbers to integer samples that nobody scaled."""
    model = create_model(small_config())
    stems, state = stream(model, level * noise(1, 2, 20 * HOP))
    assert stems.isfinite().all()
    assert all(value.isfinite().all() for value in state.values())
    calm, _ = stream(model, noise(1, 2, HOP), state)
    assert calm.isfinite().all()


@pytest.mark.parametrize("content", ["silence", "music between silence", "one impulse"])
def test_gradients_are_finite(content: str) -> None:
    model = create_model(small_config()).train()
    mix = torch.zeros(1, 2, 12 * HOP)
    if content == "music between silence":
        mix[..., 4 * HOP : 8 * HOP] = noise(1, 2, 4 * HOP)
    if content == "one impulse":
        mix[..., 5 * HOP + 3] = 1.0
    mix.requires_grad_()
    (model(mix) - noise(1, 4, 2, 12 * HOP)).square().sum().backward()
    assert mix.grad is not None
    assert mix.grad.isfinite().all()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("hop", [16, 32, 64])
def test_the_future_changes_nothing_beyond_the_declared_latency(hop: int) -> None:
    """Aligned output sample n may look ahead to the end of the hop that holds sample n + latency, and does."""
    model = create_model(small_config(hop_length=hop))
    latency = model.spec().algorithmic_latency
    changed_from = 10 * hop
    mix = noise(1, 2, 20 * hop)
    other = mix.clone()
    other[..., changed_from:] = 3.0 * mix.flip(-1)[..., changed_from:]
    with torch.no_grad():
        difference = (model(mix) - model(other)).abs().amax(dim=(0, 1, 2))
    first = changed_from - latency
    # The two runs have the same shapes, so what is equal is equal to rounding; what differs differs visibly.
    assert difference[:first].max() <= FLOAT32_ROUNDING
    assert difference[first : first + hop].max() > 1e-3


@pytest.mark.parametrize(("phase", "mask"), [("scale", 0.0), ("rotate", 0.0), ("rotate", 2.0 * math.pi)])
@pytest.mark.parametrize("hop", [16, 32, 64])
def test_the_declared_latency_is_exact(hop: int, phase: str, mask: float) -> None:
    """With constant spectral masks and no time branch, every stem is a share of the mix, later by the latency.

    The network gives the difference to an equal share of the magnitudes and to the phase of the mix.
    """
    model = create_model(small_config(hop_length=hop, phase=phase))
    with torch.no_grad():
        for weight in (model.spectral_mask.weight, model.time_decoder.basis.weight):
            weight.zero_()
        model.spectral_mask.bias.fill_(mask)
    mix = noise(1, 2, 20 * hop)
    latency = model.spec().algorithmic_latency
    stems, _ = stream(model, mix)
    delayed = F.pad(mix, (latency, 0))[..., : mix.shape[-1]]
    share = mask + 1.0 / len(model.config.sources)
    for stem in stems.unbind(1):
        assert_close(stem, share * delayed, "stem of constant masks")


def test_empty_attention_slots_are_masked() -> None:
    """Against attention that is only shown the frames there are. A zero score would outweigh scores of -40."""
    torch.manual_seed(1)
    block, x = SkipAttention(4, 5), noise(2, 9, 4)
    with torch.no_grad():
        block.query_key_value.bias[:4] = 9.0
        block.query_key_value.bias[4:8] = -9.0
        query, key, value = block.query_key_value(x).chunk(3, dim=-1)
        scores = query @ key.transpose(1, 2) / math.sqrt(4)
        assert scores.max() < -40
        y = block(x)
        for t in range(x.shape[1]):
            seen = slice(max(0, t - 4), t + 1)
            expected = F.scaled_dot_product_attention(query[:, t : t + 1], key[:, seen], value[:, seen])
            assert_close(y[:, t], x[:, t] + expected[:, 0], f"frame {t}")


def test_cbam_pools_the_mean_of_all_frames_and_then_forgets() -> None:
    rate, frames = 0.2, 20
    torch.manual_seed(1)
    block, x = CBAM(4, 2, 3, rate), noise(1, frames, 4)
    state = block.initial_state(x)
    for t in range(frames):
        before = state["mean"]
        _, state = block.step(x[:, t], state)
        exact = x[:, : t + 1].mean(dim=1) if t < 5 else before + rate * (x[:, t] - before)
        assert_close(state["mean"].detach(), exact, f"mean after frame {t}")


def test_cbam_gates_channels_by_the_mean_and_frames_by_the_recent_past() -> None:
    torch.manual_seed(1)
    block, x = CBAM(4, 2, 3, 0.2), noise(1, 6, 4)
    with torch.no_grad():
        gated = torch.stack(
            [x[:, t] * torch.sigmoid(block.excite(F.relu(block.squeeze(x[:, : t + 1].mean(dim=1))))) for t in range(5)],
            dim=1,
        )
        recent = F.pad(gated.mean(dim=-1), (2, 0))
        gate = torch.sigmoid(F.conv1d(recent[:, None], block.temporal.weight[None], block.temporal.bias))
        assert_close(block(x)[:, :5], gated * gate[0, 0, :, None], "convolutional block attention")


def test_the_age_in_cbam_stops_where_it_no_longer_matters() -> None:
    block, x = CBAM(4, 2, 3, 0.25), noise(1, 1000, 4)
    _, state = block.scan(x, block.initial_state(x))
    assert state["age"].item() == 4.0


def test_gru_state_stays_bounded_over_a_long_loud_stream() -> None:
    """DESIGN 3.2: why the GRU is the default cell."""
    model = create_model(small_config())
    _, state = stream(model, 100.0 * noise(1, 2, 2000 * HOP))
    for slot in ("time_memory1_hidden", "spectral_memory1_hidden", "fusion_hidden", "time_memory2_hidden"):
        assert state[slot].abs().max() <= 1.0 + TOLERANCE[torch.float32], slot
