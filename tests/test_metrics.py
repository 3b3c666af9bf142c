"""The metrics are the field's: checked against museval, against closed forms, and in the corners of silence."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.clips import MusdbFormat, default_clip
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.metrics import (
    LSD_WINDOWS,
    chunk_sdr,
    csdr,
    furthest,
    log_spectral_distance,
    max_abs_error,
    si_sdr,
    snr,
    usdr,
)

RATE = 4000
# museval adds up three errors in which its filters cancel; float64 leaves about 1e-16 of the energy of the stem behind,
# which moves the SDR of an estimate at 60 dB by less than 1e-9 dB.
MUSEVAL_DB = 1e-9
# Length of those filters for synthetic stems; its default of 512 takes seconds, and real music is checked with that.
SHORT = 16


def stems(length: int, seed: int = 0, sources: int = 3) -> np.ndarray:
    """Seeded stereo noise, float32 [sources, 2, length]."""
    return np.random.default_rng(seed).standard_normal((sources, 2, length)).astype(np.float32)


def _museval_metrics() -> ModuleType:
    """museval's own metrics file; importing the package would need an ffmpeg program on the path."""
    folder = importlib.util.find_spec("museval").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("museval_metrics", Path(folder, "metrics.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MUSEVAL = _museval_metrics()


def museval_sdr(references: np.ndarray, estimates: np.ndarray, rate: int = RATE, taps: int = SHORT) -> np.ndarray:
    """SDR as `museval.evaluate(..., win=rate, hop=rate, mode="v4")` returns it with 512 taps, [sources, chunks]."""
    swapped = (array.transpose(0, 2, 1).astype(np.float64) for array in (references, estimates))
    return MUSEVAL.bss_eval(*swapped, window=rate, hop=rate, filters_len=taps)[0]


class TestAgainstMuseval:
    @pytest.mark.parametrize("length", [2 * RATE, 3 * RATE + 1234, RATE, RATE // 2, RATE + 1])
    @pytest.mark.parametrize("noise_level", [0.001, 0.5, 10.0])
    def test_chunks_of_synthetic_stems(self, length, noise_level):
        references = stems(length)
        estimates = references + noise_level * stems(length, seed=1)
        ours = chunk_sdr(references, estimates, RATE)
        np.testing.assert_allclose(ours, museval_sdr(references, estimates), rtol=0.0, atol=MUSEVAL_DB)

    def test_real_music(self):
        clip = default_clip(MusdbFormat(sources=("bass", "vocals")))  # all four take museval ten seconds
        # An estimate with every kind of error: leakage from the mix, a filter, noise.
        leaky = 0.8 * clip.stems + 0.1 * clip.mix
        leaky[..., 1:] += 0.2 * clip.stems[..., :-1]
        estimates = (leaky + 0.001 * np.random.default_rng(0).standard_normal(leaky.shape)).astype(np.float32)
        expected = museval_sdr(clip.stems, estimates, clip.sample_rate, taps=512)
        ours = chunk_sdr(clip.stems, estimates, clip.sample_rate)
        np.testing.assert_allclose(ours, expected, rtol=0.0, atol=MUSEVAL_DB)
        medians = np.nanmedian(expected, axis=1)
        np.testing.assert_allclose(csdr(clip.stems, estimates, clip.sample_rate), medians, rtol=0.0, atol=MUSEVAL_DB)

    @pytest.mark.parametrize("which", ["reference", "estimate"])
    @pytest.mark.parametrize("antiphase", [False, True])
    def test_silent_chunks(self, which, antiphase):
        references, estimates = stems(3 * RATE), stems(3 * RATE, seed=1)
        silenced = (references if which == "reference" else estimates)[1, :, RATE : 2 * RATE]
        silenced[:] = [silenced[0], -silenced[0]] if antiphase else 0.0
        ours, theirs = chunk_sdr(references, estimates, RATE), museval_sdr(references, estimates)
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        assert np.isnan(ours[:, 1]).all()
        np.testing.assert_allclose(
            csdr(references, estimates, RATE), np.nanmedian(theirs, axis=1), rtol=0.0, atol=MUSEVAL_DB
        )


class TestChunkSdr:
    def test_a_single_stem_is_not_taken_for_mono_stems(self):
        with pytest.raises(AudioError, match=r"shape \[2, 8000\], expected \[sources, channels, samples\]"):
            csdr(stems(2 * RATE)[0], stems(2 * RATE)[0], RATE)

    def test_perfect_stems_are_infinite_and_museval_agrees_up_to_rounding(self):
        references = stems(2 * RATE)
        assert np.isposinf(csdr(references, references, RATE)).all()
        assert museval_sdr(references, references).min() > 150.0

    def test_no_chunk_counts(self):
        references = stems(2 * RATE)
        references[2] = 0.0
        assert np.isnan(csdr(references, stems(2 * RATE, seed=1), RATE)).all()
        assert np.isnan(csdr(references[..., :0], references[..., :0], RATE)).all()


def noisy(signal: np.ndarray, decibels: float) -> np.ndarray:
    """The signal with an error proportional to it, so its ratio is exact: `decibels` dB."""
    return signal * (1.0 + 10.0 ** (-decibels / 20.0))


class TestWholeClip:
    @given(decibels=st.floats(-20.0, 80.0), gain=st.floats(0.05, 20.0))
    def test_known_ratio(self, decibels, gain):
        reference = gain * stems(500)[0].astype(np.float64)
        # Beside the rounding of float64, d = 1e-7 moves uSDR: at 80 dB the error energy is 1000 * 0.05^2 * 1e-8.
        assert snr(reference, noisy(reference, decibels)) == pytest.approx(decibels, abs=1e-6)
        error = np.square(reference).sum() * 10 ** (-decibels / 10)
        pulled = 10 * math.log10(1 + 1e-7 / error)
        assert usdr(reference, noisy(reference, decibels)) == pytest.approx(decibels, abs=1e-6 + pulled)

    def test_usdr_is_one_ratio_over_all_channels_and_samples(self):
        reference, estimate = stems(1000)[0], stems(1000, seed=1)[0]
        signal = sum(float(s) ** 2 for s in reference.ravel())
        error = sum((float(s) - float(e)) ** 2 for s, e in zip(reference.ravel(), estimate.ravel(), strict=True))
        expected = 10 * math.log10((signal + 1e-7) / (error + 1e-7))
        assert usdr(reference, estimate) == pytest.approx(expected, abs=1e-9)  # float64 sums in another order

    def test_sums_are_float64(self):
        # In float32 a sum of 2^25 equal squares stops growing at 2^24.
        reference = np.ones((1, 2**25), dtype=np.float32)
        assert snr(reference, 0.5 * reference) == pytest.approx(20 * math.log10(2.0), abs=1e-9)

    def test_silence(self):
        silent, sound = np.zeros((2, 100), dtype=np.float32), np.ones((2, 100), dtype=np.float32)
        assert usdr(silent, silent) == 0.0
        assert usdr(sound, sound) == pytest.approx(10 * math.log10(200.0 / 1e-7), abs=1e-6)
        assert usdr(silent, sound) == pytest.approx(-10 * math.log10(200.0 / 1e-7), abs=1e-6)
        assert snr(silent, silent) == snr(sound, sound) == math.inf
        assert snr(silent, sound) == -math.inf
        assert snr(sound, silent) == 0.0

    def test_max_abs_error(self):
        reference = np.zeros((2, 3), dtype=np.float32)
        estimate = np.array([[0.0, 0.25, 0.0], [0.0, 0.0, -0.5]], dtype=np.float32)
        assert max_abs_error(reference, estimate) == 0.5
        assert max_abs_error(reference[:, :0], estimate[:, :0]) == 0.0

    @pytest.mark.parametrize(
        "metric", [snr, usdr, si_sdr, log_spectral_distance, max_abs_error, lambda a, b: csdr(a, b, RATE)]
    )
    def test_shapes_that_differ_are_refused(self, metric):
        with pytest.raises(AudioError, match=r"shape \[1, 2, 100\], estimate \[1, 2, 1\]"):
            metric(stems(100, sources=1), stems(1, sources=1))


def at_right_angles(signal: np.ndarray, seed: int = 1) -> np.ndarray:
    """Noise of the energy of a signal that has nothing of it."""
    other = stems(signal.shape[-1], seed)[0].astype(np.float64)
    other -= (other * signal).sum() / np.square(signal).sum() * signal
    return other * np.sqrt(np.square(signal).sum() / np.square(other).sum())


class TestScaleInvariantSdr:
    @given(decibels=st.floats(-20.0, 80.0), gain=st.floats(0.01, 100.0))
    def test_known_ratio_at_any_loudness(self, decibels, gain):
        reference = stems(500)[0].astype(np.float64)
        estimate = gain * (reference + 10.0 ** (-decibels / 20.0) * at_right_angles(reference))
        # float64: 1e-16 of the energy is left of the projection, which moves 80 dB by less than 1e-6 dB.
        assert si_sdr(reference, estimate) == pytest.approx(decibels, abs=1e-6)
        assert si_sdr(reference, -estimate) == pytest.approx(decibels, abs=1e-6)

    def test_it_is_no_scale_per_channel(self):
        reference = stems(500)[0]
        uneven = reference * np.array([[1.0], [0.0]], dtype=np.float32)
        left, right = (float(np.square(channel).sum()) for channel in reference.astype(np.float64))
        # The factor is left / (left + right): what stays of the target against what is wrong in both channels.
        assert si_sdr(reference, uneven) == pytest.approx(10 * math.log10(left / right), abs=1e-6)

    def test_corners(self):
        sound, silent = stems(100)[0], np.zeros((2, 100), dtype=np.float32)
        assert si_sdr(sound, sound) == math.inf
        assert si_sdr(sound, 0.5 * sound) == math.inf
        assert math.isnan(si_sdr(silent, sound))
        assert math.isnan(si_sdr(silent, silent))
        assert si_sdr(sound, silent) == -math.inf
        assert math.isnan(si_sdr(sound, np.nan * sound))


class TestLogSpectralDistance:
    @pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
    def test_a_gain_is_its_own_distance(self, gain):
        loud = stems(3 * max(LSD_WINDOWS) + 123)[0]  # about every bin far above the floor
        distance = abs(20 * math.log10(gain))
        assert log_spectral_distance(loud, gain * loud) == pytest.approx(distance, abs=1e-3)
        assert log_spectral_distance(loud, loud) == 0.0

    def test_a_sinusoid_has_the_level_of_its_amplitude(self):
        """Against silence, at the floor of -90.3 dB, a sinusoid that sits on bins differs in three of them."""
        window, count = LSD_WINDOWS[0], 8 * max(LSD_WINDOWS)
        wave = np.sin(2 * np.pi * np.arange(count) * 32 / window)[None]
        found = log_spectral_distance(0.1 * wave, 0.0 * wave)
        floor = 10 * math.log10(2.0**-30)
        peak, side = -20.0 - floor, -20.0 + 20 * math.log10(0.5) - floor  # Hann: half the amplitude beside the bin
        distances = [math.sqrt((peak**2 + 2 * side**2) / (size // 2 + 1)) for size in LSD_WINDOWS]
        assert found == pytest.approx(np.mean(distances), abs=1e-6)  # rounding of float64, far below the floor

    def test_what_is_inaudible_does_not_count(self):
        quiet = 1e-6 * stems(20_000)[0]  # -120 dBFS
        assert log_spectral_distance(quiet, np.zeros_like(quiet)) == 0.0

    def test_silence_is_finite_and_the_louder_the_worse(self):
        sound = stems(20_000)[0]
        silent = np.zeros_like(sound)
        assert log_spectral_distance(silent, silent) == 0.0
        near, far = (log_spectral_distance(silent, gain * sound) for gain in (0.001, 0.1))
        assert 0.0 < near < far < 120.0
        assert log_spectral_distance(sound, silent) == log_spectral_distance(silent, sound)

    def test_channels_count_alike(self):
        sound = stems(20_000)[0]
        half = sound * np.array([[0.5], [1.0]], dtype=np.float32)
        assert log_spectral_distance(sound, half) == pytest.approx(10 * math.log10(2.0), abs=1e-4)

    @pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 8192 + 2049])
    def test_any_length(self, length):
        sound = stems(length)[0]
        distance = log_spectral_distance(sound, 0.5 * sound)
        assert 0.0 <= distance <= 20 * math.log10(2.0) + 1e-4  # less where a frame is mostly zeros

    def test_blocks_make_no_difference(self, monkeypatch):
        sound, other = stems(30_000)[0], stems(30_000, seed=1)[0]
        expected = log_spectral_distance(sound, other)
        monkeypatch.setattr("ddtasnet_edge.metrics._LSD_BLOCK", 20_000)
        assert log_spectral_distance(sound, other) == pytest.approx(expected, abs=1e-9)


def test_furthest_from_zero() -> None:
    assert furthest([0.1, -0.3, math.nan, 0.2]) == -0.3
    assert math.isnan(furthest([math.nan]))
