"""Figures of listening: HAAQI as pyclarity has it, for both ears and every audiogram, and what is said without it."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest

from ddtasnet_edge import dependencies
from ddtasnet_edge.errors import ConfigError, MissingDependencyError
from ddtasnet_edge.evaluation.haaqi import AUDIOGRAMS, FREQUENCIES, PASSAGE, check_audiogram, haaqi, loudest_passage
from ddtasnet_edge.evaluation.listening import (
    listen,
    listen_to_stems,
    listening_caption,
    listening_table,
    summarize_listening,
)
from ddtasnet_edge.evaluation.scores import Listening, StemListening, TrackResult
from ddtasnet_edge.metrics import log_spectral_distance, si_sdr
from ddtasnet_edge.spec import FloatArray
from tests.evaluation import RATE, make_stems

needs_pyclarity = pytest.mark.skipif(
    importlib.util.find_spec("clarity") is None, reason="pyclarity is not installed: pip install --no-deps pyclarity"
)


def music(seconds: float = 0.6, seed: int = 0) -> FloatArray:
    """Noise that comes and goes, in two channels: a level that moves is what HAAQI follows."""
    sound = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE)))
    beats = 0.55 + 0.45 * np.sin(2 * np.pi * 3.0 * np.arange(sound.shape[1]) / RATE)
    return (0.1 * beats * sound).astype(np.float32)


def spoiled(sound: FloatArray, snr: float) -> FloatArray:
    error = music(sound.shape[1] / RATE, seed=9)[:, ::-1]
    ratio = np.sqrt(np.square(sound).sum() / np.square(error).sum()) * 10.0 ** (-snr / 20.0)
    return (sound + ratio * error).astype(np.float32)


class TestAudiograms:
    def test_they_are_the_standard_ones(self) -> None:
        # N2, N3 and N5 of Bisgaard et al. 2010, table 2, at the six frequencies of the index.
        assert FREQUENCIES == (250, 500, 1000, 2000, 4000, 6000)
        assert AUDIOGRAMS == {
            "none": (0, 0, 0, 0, 0, 0),
            "mild": (20, 20, 25, 35, 45, 50),
            "moderate": (35, 35, 40, 50, 60, 65),
            "severe": (65, 70, 75, 80, 80, 80),
        }

    def test_an_unknown_one(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown audiogram 'modrate': .*moderate"):
            check_audiogram("modrate")

    def test_without_pyclarity_both_commands_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dependencies, "find_spec", lambda name: None if name == "clarity" else name)
        with pytest.raises(MissingDependencyError) as caught:
            check_audiogram("none")
        assert str(caught.value) == (
            "--listening needs clarity, which is not installed; "
            "pip install 'ddtasnet-edge[listening]' and pip install --no-deps pyclarity"
        )


class TestPassage:
    def test_the_loudest_seconds(self) -> None:
        sound = np.full((2, 12 * RATE), 0.1, dtype=np.float32)
        sound[:, 5 * RATE : 9 * RATE] = 0.2
        assert loudest_passage(sound, RATE) == slice(5 * RATE, (5 + PASSAGE) * RATE)

    def test_less_music_than_that_is_taken_whole(self) -> None:
        assert music(2.5)[:, loudest_passage(music(2.5), RATE)].shape == (2, 2.5 * RATE)


@needs_pyclarity
class TestHaaqi:
    @pytest.mark.parametrize("audiogram", AUDIOGRAMS)
    def test_equal_signals_are_perfect_and_worse_ones_worse(self, audiogram: str) -> None:
        sound = music()
        best, good, bad = (
            haaqi(sound, each, RATE, audiogram) for each in (sound, spoiled(sound, 20), spoiled(sound, 0))
        )
        assert best > 0.99  # the noise at the threshold of hearing is not the same for the two
        assert best > good > bad > 0.0

    def test_it_is_what_the_package_says(self) -> None:
        from clarity.evaluator.haaqi import compute_haaqi
        from clarity.utils.audiogram import Audiogram

        sound, rate = music(3.0), 24000  # the rate of the model: nothing is resampled here or there
        estimate = spoiled(sound, 5.0)
        listener = Audiogram(levels=np.zeros(6), frequencies=np.array(FREQUENCIES))
        expected = []
        for true, found in zip(sound.astype(float), estimate.astype(float), strict=True):
            level = 65.0 - 20.0 * np.log10(np.sqrt(np.mean(true**2)))
            expected.append(compute_haaqi(found, true, rate, rate, listener, equalisation=2, level1=level))
        # The package's noise is another each time, and NAL-R delays and cuts even where it amplifies nothing.
        assert haaqi(sound, estimate, rate, "none") == pytest.approx(np.mean(expected), abs=0.01)

    def test_the_mean_over_ears_without_those_that_hear_nothing(self) -> None:
        sound = music()
        half = np.stack([sound[0], spoiled(sound, 0.0)[1]])
        left, right = (haaqi(sound[[ear]], half[[ear]], RATE, "none") for ear in (0, 1))
        assert left > right
        assert haaqi(sound, half, RATE, "none") == pytest.approx((left + right) / 2)
        one_sided = sound * np.array([[0.0], [1.0]], dtype=np.float32)
        assert haaqi(one_sided, half, RATE, "none") == pytest.approx(right)

    def test_it_does_not_depend_on_the_level_of_the_recording(self) -> None:
        sound, estimate = music()[:1], spoiled(music(), 10.0)[:1]
        quiet = haaqi(0.01 * sound, 0.01 * estimate, RATE, "none")
        assert quiet == pytest.approx(haaqi(sound, estimate, RATE, "none"), abs=1e-3)
        assert haaqi(sound, 0.3 * sound, RATE, "none") < haaqi(sound, sound, RATE, "none") - 0.01

    def test_it_is_repeatable_and_leaves_other_random_numbers_alone(self) -> None:
        np.random.seed(5)
        expected = np.random.standard_normal(3)
        np.random.seed(5)
        first = haaqi(music(), spoiled(music(), 5.0), RATE, "none")
        np.testing.assert_array_equal(np.random.standard_normal(3), expected)
        assert haaqi(music(), spoiled(music(), 5.0), RATE, "none") == first

    def test_only_the_loudest_passage_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ddtasnet_edge.evaluation.haaqi.PASSAGE", 1)
        quiet, loud = 0.1 * music(1.0, seed=2)[:1], music(1.0)[:1]
        sound = np.concatenate([quiet, loud], axis=1)
        estimate = np.concatenate([0 * quiet, loud], axis=1)
        assert haaqi(sound, estimate, RATE, "none") > 0.99

    @pytest.mark.parametrize("sound", [0 * music(), 1e-6 * music(), music(0.4)])
    def test_silence_and_less_than_half_a_second_have_no_figure(self, sound: FloatArray) -> None:
        assert math.isnan(haaqi(sound, music(sound.shape[1] / RATE), RATE, "none"))

    def test_a_silent_estimate_is_the_worst(self) -> None:
        assert 0.0 <= haaqi(music(), 0 * music(), RATE, "none") < 0.15

    def test_it_is_imported_late_and_brings_no_torch(self) -> None:
        code = """
import sys
import numpy as np
from ddtasnet_edge.evaluation.haaqi import haaqi
assert "clarity" not in sys.modules and "numba" not in sys.modules
sound = np.random.default_rng(0).standard_normal((1, 12000)).astype(np.float32)
assert haaqi(sound, sound, 24000, "mild") > 0.9
assert "clarity" in sys.modules and not {"torch", "torchaudio"} & set(sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


@needs_pyclarity
def test_listening_is_each_figure_of_each_stem() -> None:
    stems = make_stems(0.6)[:2]
    stems[1] = 0.0
    before, after = stems + np.float32(0.01), stems + np.float32(0.02)
    rows = listen_to_stems("ab", stems, before, after, RATE, "none")
    assert [row.source for row in rows] == ["a", "b"]
    assert rows[0].after == listen(stems[0], after[0], RATE, "none")
    assert rows[0].after.si_sdr == si_sdr(stems[0], after[0])
    assert rows[0].before is not None
    assert rows[0].before.lsd == log_spectral_distance(stems[0], before[0])
    assert math.isnan(rows[1].after.si_sdr)
    assert math.isnan(rows[1].after.haaqi)
    assert math.isfinite(rows[1].after.lsd)
    (alone,) = listen_to_stems("b", stems[1:], None, after[1:], RATE, "none")
    assert alone.before is None


def heard(value: float, before: float | None = None) -> StemListening:
    figures = [None if each is None else Listening(each, each + 1.0, each / 10.0) for each in (before, value)]
    assert figures[1] is not None
    return StemListening("vocals", figures[0], figures[1])


def track(*rows: StemListening) -> TrackResult:
    return TrackResult("a", 1.0, "", (), (), rows)


class TestSummary:
    def test_means_over_tracks_then_stems(self) -> None:
        rows = summarize_listening([track(heard(1.0), heard(2.0)), track(heard(math.nan), heard(4.0))])
        assert [row.source for row in rows] == ["vocals", "vocals", "mean"]
        assert [row.after.si_sdr for row in rows] == [1.0, 3.0, 2.0]
        assert rows[-1].after.haaqi == pytest.approx(0.2)
        assert rows[-1].before is None

    def test_the_table_has_changes_only_with_another_separator(self) -> None:
        columns, rows = listening_table(summarize_listening([track(heard(1.0))]))
        assert columns == ["stem", "SI-SDR", "LSD", "HAAQI"]
        assert rows[0] == ["vocals", "1.00", "2.00", "0.100"]
        columns, rows = listening_table(summarize_listening([track(heard(1.0, before=3.0))]))
        assert columns[1:4] == ["SI-SDR before", "after", "change"]
        assert rows[0] == ["vocals", "3.00", "1.00", "-2.000", "4.00", "2.00", "-2.000", "0.300", "0.100", "-0.200"]

    def test_not_asked_for(self) -> None:
        assert summarize_listening([track(), track()]) == ()

    def test_the_caption_says_who_listens(self) -> None:
        caption = listening_caption("mild")
        assert "20, 20, 25, 35, 45, 50 dB HL at 250, 500, 1000, 2000, 4000, 6000 Hz" in caption
        assert "mean of two ears" in caption
        assert "loudest 4 s" in caption
