"""Recipes, calibration, and what is INT8 and what is not in every quantized graph."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ddtasnet_edge.bundle import MANIFEST, Bundle, record_files
from ddtasnet_edge.clips import AS_RECORDED, Clip, MusdbFormat, default_clip, hash_clips
from ddtasnet_edge.compiler import describe_calibration
from ddtasnet_edge.errors import AudioError, ConfigError
from ddtasnet_edge.export import exporter_for
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.metrics import snr
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.quantize import FLOAT32, INT8, QUANTIZERS, RECIPES, Recipe, quantizer_for, recipe_named
from ddtasnet_edge.quantize.calibration import REMIXES, SECONDS, SONGS, Feeds, calibration_clips
from ddtasnet_edge.quantize.recipe import DYNAMIC_INT8
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import run_clip
from ddtasnet_edge.runtimes.torch_session import TorchSession
from ddtasnet_edge.spec import FloatArray, slot_tensor_names
from tests import bundles
from tests.bundles import RATE, Workshop, write_wav
from tests.graphs import read_graph
from tests.small import noise, small_config

FLOAT_BLOCKS = ("time_cbam", "spectral_cbam")


class TestRecipes:
    @pytest.mark.parametrize("recipe", [INT8, DYNAMIC_INT8], ids=lambda recipe: recipe.name)
    @pytest.mark.parametrize(
        ("layer", "quantized"),
        [
            ("fusion.rnn.weight_hh_l0", True),
            ("time_encoder.basis_and_gate.weight", True),
            ("model.time_mask.weight", True),
            ("spectral_mask.weight", True),
            ("time_cbam.squeeze.weight", False),
            ("model.spectral_cbam.temporal.weight", False),
            (None, False),
        ],
    )
    def test_what_is_quantized(self, recipe: Recipe, layer: str | None, quantized: bool) -> None:
        assert recipe.quantizes(layer) is quantized
        assert not FLOAT32.quantizes(layer)

    def test_names_follow_the_grammar(self) -> None:
        for name, recipe in RECIPES.items():
            assert recipe.name == name
            if not recipe.is_float:
                activations = "afp32" if recipe.activation_bits is None else f"ai{recipe.activation_bits}"
                assert name == f"{recipe.method}_wi{recipe.weight_bits}_{activations}"
            assert recipe.needs_calibration == name.startswith("static")

    def test_an_unknown_recipe_suggests_the_nearest(self) -> None:
        assert recipe_named("static_wi8_ai8") is INT8
        with pytest.raises(ConfigError, match=r"unknown recipe 'static_w8_a8': .*did you mean 'static_wi8_ai8'\?"):
            recipe_named("static_w8_a8")

    def test_the_reference_has_no_quantized_form(self) -> None:
        with pytest.raises(ConfigError, match=r"target 'torch' has no quantized form; .*onnx, openvino, tflite"):
            quantizer_for("torch")


def music_clip(seconds: float, gain: float = 0.2, name: str = "noise") -> Clip:
    mix = gain * noise(2, round(seconds * RATE)).numpy()
    return Clip(name, mix, None, RATE, "noise")


class TestFeeds:
    model = create_model(small_config())
    spec = model.spec()

    def feeds(self, *clips: Clip) -> list[dict[str, FloatArray]]:
        return list(Feeds(self.model, clips))

    def test_each_hop_comes_with_the_state_of_the_hops_before(self) -> None:
        clip = music_clip(0.02)
        hops = np.split(clip.mix[:, : 27 * 32], 27, axis=1)
        found = self.feeds(clip)
        assert len(found) == len(Feeds(self.model, [clip])) == 27
        with TorchSession.from_model(self.model) as session:
            for hop, feed in zip(hops, found, strict=True):
                assert set(feed) == set(self.spec.input_shapes())
                np.testing.assert_array_equal(feed["mix"], hop[None])
                for slot, value in session.get_state().items():
                    np.testing.assert_array_equal(feed[slot_tensor_names(slot)[0]], value)
                session.step(np.ascontiguousarray(hop))

    def test_the_state_is_initial_at_the_start_of_a_clip_only(self) -> None:
        found = self.feeds(music_clip(0.02), music_clip(0.01))
        initial = {slot_tensor_names(slot)[0]: value for slot, value in self.spec.initial_state().items()}
        fresh = [all(np.array_equal(feed[name], value) for name, value in initial.items()) for feed in found]
        assert [index for index, is_fresh in enumerate(fresh) if is_fresh] == [0, 27]
        for feed in found[1:27]:
            assert all(feed[name].any() for name in initial), "a slot is zero after the first hop"

    def test_they_can_be_read_twice_and_kept(self) -> None:
        """Quantizers read them more than once, and may hold on to a hop while they take the next."""
        feeds = Feeds(self.model, [music_clip(0.02)])
        kept, again = list(feeds), [{name: value.copy() for name, value in feed.items()} for feed in feeds]
        for one, other in zip(kept, again, strict=True):
            for name, value in one.items():
                np.testing.assert_array_equal(value, other[name])


class TestCalibrationClips:
    def test_the_default_set_is_real_music_and_the_same_every_time(self) -> None:
        first, second = calibration_clips(AS_RECORDED), calibration_clips(AS_RECORDED)
        assert describe_calibration(first) == describe_calibration(second)
        song, *remixes = first
        np.testing.assert_array_equal(song.mix, default_clip().mix)
        assert len(remixes) == REMIXES
        for index, remix in enumerate(remixes):
            assert remix.mix.dtype == np.float32
            assert remix.mix.shape == song.mix.shape
            assert not any(np.allclose(remix.mix, other.mix, atol=0.01) for other in first[: index + 1])
        assert describe_calibration(first)["seconds"] > 6.0 * (1 + REMIXES)

    def test_it_fits_models_of_other_channels_and_sources(self) -> None:
        form = MusdbFormat(RATE, channels=1, sources=("voice", "rest"))
        assert {clip.mix.shape[0] for clip in calibration_clips(form)} == {1}

    def test_a_folder_gives_a_seeded_choice(self, tmp_path: Path) -> None:
        for index in range(SONGS + 3):
            write_wav(tmp_path / f"{index:02}.wav", music_clip(SECONDS + 0.5, 0.01 * (index + 1)).mix)
        first, second = calibration_clips(AS_RECORDED, tmp_path), calibration_clips(AS_RECORDED, tmp_path)
        assert hash_clips(first) == hash_clips(second)
        assert len({clip.name for clip in first}) == SONGS
        assert [clip.name for clip in first] != [f"{index:02}.wav" for index in range(SONGS)], "not the first ones"
        assert {clip.mix.shape[1] for clip in first} == {round(SECONDS * RATE)}

    def test_another_song_gives_another_hash(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", music_clip(1.5).mix)
        before = describe_calibration(calibration_clips(AS_RECORDED, tmp_path))
        write_wav(tmp_path / "a.wav", music_clip(1.5, 0.3).mix)
        after = describe_calibration(calibration_clips(AS_RECORDED, tmp_path))
        assert before["clips"] == after["clips"]
        assert before["sha256"] != after["sha256"]

    def test_too_little_music_is_refused(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", music_clip(0.5).mix)
        with pytest.raises(AudioError, match=r"calibration music lasts 0\.50 s, expected at least 1 s"):
            calibration_clips(AS_RECORDED, tmp_path)


class TestQuantizedGraphs:
    """Every target and INT8 recipe of the `tiny` preset, read with the format's own reader."""

    @pytest.fixture(params=bundles.INT8, ids="-".join)
    def bundle(self, request: pytest.FixtureRequest, tiny: Workshop) -> Bundle:
        return tiny.bundle(*request.param)

    def test_the_manifest_says_what_was_quantized(self, bundle: Bundle, tiny: Workshop) -> None:
        facts = bundle.manifest.quantization
        assert facts is not None
        layers = Layers(tiny.compiler.source.model).names
        kept = {layer for layer in layers if layer.startswith(FLOAT_BLOCKS)}
        assert set(facts["float_layers"]) == kept
        assert set(facts["quantized_layers"]) == layers - kept
        assert len(facts["quantized_layers"]) == 18
        assert facts["recipe"] == RECIPES[bundle.manifest.recipe].to_dict()

    def test_calibration_is_recorded_where_there_was_one(self, bundle: Bundle) -> None:
        facts = bundle.manifest.quantization
        assert facts is not None
        if RECIPES[bundle.manifest.recipe].needs_calibration:
            assert facts["calibration"]["clips"] == ["song.wav"]
            assert len(facts["calibration"]["sha256"]) == 64
        else:
            assert facts["calibration"] is None

    def test_exactly_the_chosen_layers_are_int8(self, bundle: Bundle, tiny: Workshop) -> None:
        """Each stored matrix is its layer up to rounding: no other layer, and none rounded twice."""
        assert bundle.manifest.quantization is not None
        weights = tiny.compiler.source.model.state_dict()
        missing = {layer: weights[layer].numpy() for layer in bundle.manifest.quantization["quantized_layers"]}
        for stored in read_graph(bundle).weights:
            # Half a step; NNCF may store 128 steps as 127, and has scales in float16, whose 11 bits add
            # 128 / 2**11 of a step, and in rows of a mask that hardly leave zero 128 halves of the smallest float16.
            # Its scales have the sign that gives the largest weight of a row to -128.
            openvino = bundle.manifest.target == "openvino"
            steps, least = (1.0 + 0.07, 128 * 2.0**-25) if openvino else (0.5 + 0.01, 0.0)
            limit = steps * np.abs(stored.scales)[:, None] + least
            found = [
                layer
                for layer, weight in missing.items()
                if weight.shape == stored.matrix.shape and (np.abs(weight - stored.matrix) <= limit).all()
            ]
            assert len(found) == 1
            del missing[found[0]]
        assert not missing

    def test_every_output_channel_has_its_own_scale(self, bundle: Bundle) -> None:
        for stored in read_graph(bundle).weights:
            assert stored.scales.shape == (stored.values.shape[0],)
            # A scale shared between channels would leave the range of the quieter ones unused.
            full = np.abs(stored.values.astype(int)).max(axis=1) >= 127
            # NNCF shares one with channels below a hundredth of the loudest: rows of a mask that hardly leave zero.
            quiet = np.isclose(np.abs(stored.scales), np.abs(stored.scales).max() / 100, rtol=0.02)
            assert (full | (quiet if bundle.manifest.target == "openvino" else False)).all()

    def test_float_layers_are_float(self, bundle: Bundle, tiny: Workshop) -> None:
        layers = Layers(tiny.compiler.source.model)
        facts = exporter_for(bundle.manifest.target).inspect_graph(bundle.path, layers)
        found = {product.layer for product in facts.products if product.layer and product.dtype == "float32"}
        assert found == {layer for layer in layers.names if layer.startswith(FLOAT_BLOCKS)}

    def test_the_dft_is_float(self, bundle: Bundle, tiny: Workshop) -> None:
        """Of its products, the two with a constant on the right: one in the transform, one in its inverse."""
        facts = exporter_for(bundle.manifest.target).inspect_graph(bundle.path, Layers(tiny.compiler.source.model))
        found = [product.shape for product in facts.products if not product.layer and product.dtype == "float32"]
        size = tiny.compiler.source.model.spectral_codec.dft.first.shape
        assert [sorted(shape) for shape in found] == [sorted(size)] * 2

    def test_state_goes_in_and_out_as_float(self, bundle: Bundle) -> None:
        tensors = {**bundle.manifest.graph["inputs"], **bundle.manifest.graph["outputs"]}
        assert {tensor["dtype"] for tensor in tensors.values()} == {"float32"}

    def test_what_is_rounded_is_read_by_matrix_products_only(self, bundle: Bundle) -> None:
        """A state slot is also read by the update of its cell, which must see it unrounded."""
        readers = read_graph(bundle).readers_of_rounded
        assert readers <= {"MatMul", "Gemm", "MatMulInteger", "FULLY_CONNECTED"}
        assert bool(readers) == (bundle.manifest.recipe == INT8.name or bundle.manifest.target == "onnx")

    def test_the_graph_is_smaller(self, bundle: Bundle, tiny: Workshop) -> None:
        full = tiny.bundle(bundle.manifest.target, "float32").manifest.graph["weight_bytes"]
        layers = tiny.compiler.source.model.state_dict()
        assert bundle.manifest.quantization is not None
        quantized = sum(layers[layer].numel() for layer in bundle.manifest.quantization["quantized_layers"])
        # Three of four bytes are gone; scales, zero points and ranges bring back under a tenth of that.
        assert bundle.manifest.graph["weight_bytes"] <= full - 0.9 * 3 * quantized


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_quiet_ending_does_not_narrow_the_ranges(name: str, tiny: Workshop, tmp_path: Path) -> None:
    """Quantizers that average ranges over time would clip the loud beginning that they have seen."""
    model, clip = tiny.compiler.source.model, default_clip(with_stems=False)
    loud = replace(clip, mix=clip.mix[:, RATE : RATE + 16 * 512])
    with_ending = replace(clip, mix=np.concatenate([loud.mix, np.tile(np.float32(1e-3) * loud.mix, 4)], axis=1))
    with TorchSession.from_model(model) as session:
        expected = run_clip(session, loud).stems
    found = {}
    for label, music in (("loud", loud), ("with ending", with_ending)):
        folder = tmp_path / label
        shutil.copytree(tiny.bundle(name, "float32").path, folder)
        quantize_again(folder, name, model, music)
        with open_session(folder) as session:
            found[label] = snr(expected, run_clip(session, loud).stems)
    # The ending widens ranges where quiet music moves an activation: 3.4 dB on LiteRT, which rounds the outputs of
    # products too. Averaging costs 20 dB here.
    assert found["with ending"] >= found["loud"] - 5.0, found


def quantize_again(folder: Path, target: str, model: DDTasNet, music: Clip) -> None:
    """Quantize the float bundle in `folder` with ranges from this music."""
    exporter = exporter_for(target)
    products = exporter.inspect_graph(folder, Layers(model)).products
    chosen = [product for product in products if INT8.quantizes(product.layer)]
    quantizer_for(target).quantize_graph(folder, INT8, chosen, Feeds(model, [music]))
    manifest = json.loads((folder / MANIFEST).read_text())
    records = record_files(folder, exporter.FILES)
    manifest["files"] = {file: vars(record) for file, record in records.items()}
    (folder / MANIFEST).write_text(json.dumps(manifest))
