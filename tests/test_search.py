"""What quantization does to stems, which layer bears it, and the choice that follows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.auto_recipe import check_budget
from ddtasnet_edge.clips import AS_RECORDED, Clip, default_clip
from ddtasnet_edge.errors import AudioError, ConfigError
from ddtasnet_edge.metrics import snr, usdr
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.quantize.calibration import calibration_clips, search_clips
from ddtasnet_edge.quantize.layer import QuantizedLayer
from ddtasnet_edge.quantize.listen import Effect, Listener, dsdr_of, together, worst
from ddtasnet_edge.quantize.observe import observe
from ddtasnet_edge.quantize.plan import layers_of, quantize_layer
from ddtasnet_edge.quantize.precision import DYNAMIC4, DYNAMIC8, FLOAT, STATIC8
from ddtasnet_edge.quantize.recipe import is_kept_float
from ddtasnet_edge.quantize.search import Costs, Search
from ddtasnet_edge.quantize.sensitivity import TRIED, EffectCache, Sensitivity, measure_sensitivity
from ddtasnet_edge.quantize.simulate import Arithmetic
from tests.small import noise, small_config

RATE = 1000
MODEL = create_model(small_config(sample_rate=RATE)).eval()
ARITHMETIC = Arithmetic(static_output=True, dynamic8="tensor", dynamic4="row")


def clip(gain: float, silent: int | None = None, seconds: float = 1.5) -> Clip:
    stems = gain * noise(4, 2, round(seconds * RATE)).numpy()
    if silent is not None:
        stems[silent] = 0.0
    return Clip(f"noise {gain}", stems.sum(axis=0), stems, RATE, "noise")


CLIPS = [clip(0.2), clip(0.05, silent=2, seconds=1.7)]
SEEN = observe(MODEL, CLIPS)


def quantized(layer: str, precision: object) -> dict[str, QuantizedLayer]:
    return {layer: quantize_layer(layer, layers_of(MODEL)[layer], precision, ARITHMETIC, SEEN[layer])}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener(MODEL, CLIPS)


class TestListener:
    def test_nothing_quantized_is_no_change(self, listener: Listener) -> None:
        (effect,) = listener.hear([{}], ARITHMETIC)
        assert effect.snr_db == math.inf
        assert np.nanmax(np.abs(effect.growth)) == 0.0
        assert effect.worst_dsdr == 0.0

    def test_variants_side_by_side_do_not_hear_each_other(self, listener: Listener) -> None:
        """Ranges measured on a hop are those of one clip of one variant."""
        names = ("spectral_memory1.rnn.weight_ih_l0", "fusion.rnn.weight_hh_l0", "spectral_mask.weight")
        variants = [quantized(name, precision) for name in names for precision in (DYNAMIC8, STATIC8, DYNAMIC4)]
        both = listener.hear(variants, ARITHMETIC)
        for variant, effect in zip(variants, both, strict=True):
            (alone,) = listener.hear([variant], ARITHMETIC)
            assert effect.snr_db == pytest.approx(alone.snr_db, abs=0.5)
            np.testing.assert_allclose(effect.noise, alone.noise, rtol=0.1)

    def test_a_change_is_the_change_of_usdr(self, listener: Listener) -> None:
        variant = quantized("time_mask.weight", DYNAMIC4) | quantized("spectral_mask.weight", DYNAMIC4)
        (effect,) = listener.hear([variant], ARITHMETIC)
        played, plain = (one(listener, variant), one(listener, {}))
        for index, each in enumerate(CLIPS):
            assert each.stems is not None
            for source in range(4):
                true = each.stems[source, :, : plain.shape[-1]]
                if not true.any():
                    assert np.isnan(effect.dsdr[index, source])
                    continue
                expected = usdr(true, played[index, source]) - usdr(true, plain[index, source])
                assert effect.dsdr[index, source] == pytest.approx(expected, abs=1e-3)
        assert effect.snr_db == pytest.approx(snr(plain, played), abs=1e-6)

    def test_music_shorter_than_a_second_is_refused(self) -> None:
        with pytest.raises(AudioError, match=r"a clip lasts 0\.50 s, expected at least 1 s each"):
            Listener(MODEL, [clip(0.2), clip(0.2, seconds=0.5)])


def one(listener: Listener, layers: Mapping[str, QuantizedLayer]) -> np.ndarray:
    """What the listener plays, from its own machinery."""
    from ddtasnet_edge.quantize.simulate import simulated

    return listener._play(simulated(layers, ARITHMETIC, clips=len(CLIPS)))


def effect(noise_share: float, chance: float = 0.0) -> Effect:
    return Effect(20.0, np.full((1, 2), noise_share), np.full((1, 2), noise_share + chance))


class TestPrediction:
    @given(st.lists(st.tuples(st.floats(0.0, 0.1), st.floats(-0.1, 0.1)), min_size=1, max_size=6))
    def test_more_changes_are_never_predicted_to_do_less(self, parts: list[tuple[float, float]]) -> None:
        effects = [effect(*part) for part in parts]
        assert (together(effects) >= together(effects[:-1] or [effect(0.0)]) - 1e-12).all()
        assert (together(effects) >= max(part.growth.max() for part in effects) - 1e-12).all()

    def test_the_worst_is_the_one_furthest_from_zero(self) -> None:
        growth = np.array([[0.01, np.nan], [-0.05, 0.02]])
        assert worst(growth) == pytest.approx(float(dsdr_of(np.array([-0.05]))[0]))
        assert worst(growth) > 0.0
        assert math.isnan(worst(np.full((1, 1), np.nan)))


def make_sensitivity() -> Sensitivity:
    """A large layer that bears four bits, and a small one that hardly bears eight."""
    return Sensitivity(
        {
            "large": {"dynamic_wi8_afp32": effect(1e-4), "dynamic_wi4_afp32": effect(0.005)},
            "small": {"dynamic_wi8_afp32": effect(0.01), "dynamic_wi4_afp32": effect(0.5)},
        },
        {"large": 900, "small": 100},
    )


COSTS = Costs(1000.0, {"dynamic_wi8_afp32": 400.0, "dynamic_wi4_afp32": 200.0})


class TestSearch:
    search = Search(make_sensitivity(), COSTS)

    @pytest.mark.parametrize(
        ("budget", "large", "small"),
        [
            (10.0, "dynamic_wi4_afp32", "dynamic_wi4_afp32"),
            (0.1, "dynamic_wi4_afp32", "dynamic_wi8_afp32"),
            (0.03, "dynamic_wi4_afp32", "float32"),
            (0.001, "dynamic_wi8_afp32", "float32"),
            (1e-6, "float32", "float32"),
        ],
    )
    def test_the_fastest_within_the_budget(self, budget: float, large: str, small: str) -> None:
        choice = self.search.choose(budget)
        assert choice == {"large": large, "small": small}
        assert self.search.predict(choice) <= budget

    def test_time_is_shared_out_by_weights(self) -> None:
        assert self.search.predict_us({"large": "dynamic_wi4_afp32", "small": "float32"}) == pytest.approx(1000 - 720)
        assert self.search.predict_us({"large": "dynamic_wi8_afp32", "small": "dynamic_wi8_afp32"}) == pytest.approx(
            400
        )

    def test_what_is_slower_than_float_is_not_chosen(self) -> None:
        slow = Costs(1000.0, {"dynamic_wi8_afp32": 1100.0, "dynamic_wi4_afp32": 900.0})
        assert Search(make_sensitivity(), slow).choose(0.1) == {"large": "dynamic_wi4_afp32", "small": "float32"}

    @pytest.mark.parametrize("budget", [0.0, -0.1, math.nan, math.inf])
    def test_a_budget_is_more_than_nothing(self, budget: float) -> None:
        with pytest.raises(ConfigError, match=r"--max-sdr-drop is .* dB, expected more than 0"):
            check_budget(budget)


class TestSensitivity:
    def measure(self, listener: Listener, folder: Path) -> tuple[Sensitivity, list[str]]:
        heard: list[str] = []
        cache = EffectCache(folder, MODEL, CLIPS, CLIPS)
        return measure_sensitivity(MODEL, listener, ARITHMETIC, SEEN, cache, heard.append), heard

    def test_every_layer_in_every_precision(self, listener: Listener, tmp_path: Path) -> None:
        found, heard = self.measure(listener, tmp_path)
        layers = [layer for layer in layers_of(MODEL) if not is_kept_float(layer)]
        assert list(found.effects) == list(found.weights) == layers
        assert heard == [f"layer {number} of 18, {layer}" for number, layer in enumerate(layers, 1)]
        for layer in layers:
            effects = found.effects[layer]
            assert list(effects) == [precision.name for precision in TRIED]
            assert effects[DYNAMIC8.name].snr_db > effects[DYNAMIC4.name].snr_db
        json.dumps(found.to_dict())

    def test_what_is_known_is_not_heard_again(self, listener: Listener, tmp_path: Path) -> None:
        first, _ = self.measure(listener, tmp_path)

        class Deaf:
            def hear(self, *_: object) -> None:
                raise AssertionError("heard again")

        cache = EffectCache(tmp_path, MODEL, CLIPS, CLIPS)
        again = measure_sensitivity(MODEL, Deaf(), ARITHMETIC, SEEN, cache, lambda _: None)  # type: ignore[arg-type]
        assert again.to_dict() == first.to_dict()

    def test_other_music_and_damaged_files_are_measured_anew(self, listener: Listener, tmp_path: Path) -> None:
        self.measure(listener, tmp_path)
        (path,) = tmp_path.iterdir()
        EffectCache(tmp_path, MODEL, CLIPS[:1], CLIPS).get("key", lambda: {"a": effect(0.1)})
        assert len(list(tmp_path.iterdir())) == 2
        for damaged in (path.read_text()[:100], "[1]", '{"key": 1}'):
            path.write_text(damaged)
            EffectCache(tmp_path, MODEL, CLIPS, CLIPS).get("key", lambda: {"a": effect(0.1)})
            assert set(json.loads(path.read_text())) == {"key"}

    def test_another_model_of_the_same_weights_is_heard_anew(self, tmp_path: Path) -> None:
        other = create_model(small_config(sample_rate=RATE, pooling_rate=0.5))
        other.load_state_dict(MODEL.state_dict())
        for model in (MODEL, other):
            EffectCache(tmp_path, model, CLIPS, CLIPS).get("key", lambda: {"a": effect(0.1)})
        assert len(list(tmp_path.iterdir())) == 2


class TestSearchMusic:
    def test_it_is_neither_what_is_verified_on_nor_what_is_calibrated_on(self) -> None:
        heard = search_clips(AS_RECORDED, MusicChoice())
        others = [default_clip(), *calibration_clips(AS_RECORDED)]
        for each in heard:
            assert each.stems is not None
            np.testing.assert_allclose(each.stems.sum(axis=0), each.mix, atol=1e-6)
            assert not any(np.allclose(each.mix, other.mix, atol=0.01) for other in others)

    @pytest.mark.parametrize(("option", "split"), [("songs", "validation"), ("musdb", "train")])
    def test_what_is_searched_on_is_not_verified_on(self, option: str, split: str, tmp_path: Path) -> None:
        choice = MusicChoice(**{option: tmp_path}, split=split)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"the search listens to the split '{split}', so verify on another"):
            search_clips(AS_RECORDED, choice)

    def test_missing_songs_name_the_split(self, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match="the search listens to the split 'validation' of the music: "):
            search_clips(AS_RECORDED, MusicChoice(songs=tmp_path))

    def test_the_choice_for_all_float(self) -> None:
        assert FLOAT.name not in {precision.name for precision in TRIED}
