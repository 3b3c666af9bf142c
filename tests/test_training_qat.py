"""Training for rounded weights: what the forward pass sees, where gradients go, and that it helps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.models.checkpoint import load_checkpoint, read_training
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.quantize import quantizer_for, recipe_named
from ddtasnet_edge.quantize.observe import observe
from ddtasnet_edge.quantize.plan import layers_of, quantize_layers
from ddtasnet_edge.quantize.recipe import is_kept_float
from ddtasnet_edge.quantize.rounding import rounded as nearest
from ddtasnet_edge.training.material import gather, song_tracks
from ddtasnet_edge.training.qat import RoundedWeights
from ddtasnet_edge.training.trainer import BEST, Music, Trainer
from tests.small import noise, small_config
from tests.songbook import write_songs
from tests.test_training import CONFIG, CPU, SETTINGS, unwatched

INT4 = "dynamic_wi4b64_wi8_afp32"
STORED = dict.fromkeys(("time_memory1.rnn.weight_ih_l0", "spectral_memory2.rnn.weight_ih_l0"), (8, None))


class TestRoundedWeights:
    model = create_model(small_config())

    def test_a_copy_has_the_rounded_weights_of_the_recipe_and_no_others(self) -> None:
        rounded = RoundedWeights(self.model, INT4).copy(self.model)
        for name, weight in layers_of(self.model).items():
            expected = weight if is_kept_float(name) else nearest(weight, *STORED.get(name, (4, 64)))
            torch.testing.assert_close(layers_of(rounded)[name], expected, rtol=1e-6, atol=1e-7)

    def test_the_scan_is_that_of_the_copy_and_every_weight_gets_a_gradient(self) -> None:
        hops = noise(2, 6, 2, 32)
        rounding = RoundedWeights(self.model, INT4)
        stems, state = rounding.scan(self.model, hops, self.model.initial_state(hops))
        with torch.no_grad():
            copied = rounding.copy(self.model)
            expected, after = copied.scan(hops, copied.initial_state(hops))
        torch.testing.assert_close(stems.detach(), expected, rtol=1e-4, atol=1e-5)
        assert state.keys() == after.keys()
        self.model.zero_grad()
        stems.square().sum().backward()
        missing = [name for name, weight in self.model.named_parameters() if weight.grad is None]
        assert not missing
        assert all(weight.grad.any() for weight in (self.model.fusion.rnn.weight_hh_l0, self.model.time_skip.weight))
        self.model.zero_grad()

    @pytest.mark.parametrize(
        ("recipe", "message"),
        [("float32", "--qat is float32, which rounds no weight"), ("int4", "unknown recipe 'int4'")],
    )
    def test_a_recipe_that_rounds_nothing_is_refused(self, recipe: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            RoundedWeights(self.model, recipe)


def test_a_run_judges_what_it_trains_and_says_so(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "songs")
    train, validation = (
        gather(song_tracks(songs, split, CONFIG), tmp_path / "kept", CONFIG, True) for split in ("train", "validation")
    )
    music = Music(train, validation, "made for a test")
    scores = {}
    for recipe in (None, INT4):
        folder = tmp_path / str(recipe)
        folder.mkdir()
        settings = dataclasses.replace(SETTINGS, steps=2, qat=recipe, learning_rate=1e-6)
        rows = Trainer(create_model(CONFIG, 1), settings, music, folder, CPU).run(unwatched)
        scores[recipe] = rows[-1].mean
        kept = load_checkpoint(folder / BEST)
        on_grid = all(
            torch.equal(weight, rounded)
            for weight, rounded in zip(
                kept.parameters(), RoundedWeights(kept, INT4).copy(kept).parameters(), strict=True
            )
        )
        assert on_grid == (recipe is not None)
        assert read_training(folder / BEST)["settings"]["qat"] == recipe
    # At a rate of nothing both runs have the same weights; only one of them is heard rounded.
    assert scores[None] != scores[INT4]


def test_a_bundle_stores_weights_that_are_on_the_grid_unchanged() -> None:
    model = create_model(small_config())
    rounded = RoundedWeights(model, INT4).copy(model).eval()
    seen = observe(rounded, [Clip("noise", 0.2 * noise(2, 3200).numpy(), None, 44100, "noise")])
    layers = quantize_layers(rounded, recipe_named(INT4), quantizer_for("onnx").ARITHMETIC, seen)
    for name, layer in layers.items():
        torch.testing.assert_close(
            torch.from_numpy(layer.weight.matrix), layers_of(rounded)[name], rtol=1e-5, atol=1e-6
        )
