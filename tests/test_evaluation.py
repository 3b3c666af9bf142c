"""Figures of the evaluation: what they mean, against museval, and on music that is silent, short or broken."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import scipy.signal
import torch

from ddtasnet_edge.clips import Clip, MusdbFormat
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError, EdgeError, StreamError
from ddtasnet_edge.evaluation import museval_v4
from ddtasnet_edge.evaluation.evaluate import evaluate, evaluate_clip, first_minute
from ddtasnet_edge.evaluation.museval_v4 import METRICS, bss_eval, median_over_frames, write_track
from ddtasnet_edge.evaluation.oracle import ideal_ratio_mask
from ddtasnet_edge.evaluation.report import EvalReport
from ddtasnet_edge.evaluation.scores import Scores, StemResult, TrackResult, mean_usdr, over_stems, over_tracks
from ddtasnet_edge.evaluation.separator import Separator, open_separator
from ddtasnet_edge.metrics import chunk_sdr, energy, error_energy, snr, usdr
from ddtasnet_edge.models.source import find_model
from ddtasnet_edge.music import Music, MusicChoice, find_music
from ddtasnet_edge.spec import FloatArray
from tests.bundles import Workshop
from tests.evaluation import (
    RATE,
    damage,
    fake_separator,
    make_stems,
    quarters,
    spec,
    write_config,
    write_songs,
)

LITTLE = MusdbFormat(sample_rate=RATE)


def make_clip(seconds: float = 2.0, name: str = "song", seed: int = 0) -> Clip:
    stems = make_stems(seconds, seed)
    return Clip(name, stems.sum(axis=0), stems, RATE, "noise")


@dataclass(frozen=True, eq=False)
class Oracle(Separator):
    """Returns what it was told, whatever it hears."""

    answer: FloatArray | None = None

    def separate(self, mix: FloatArray) -> FloatArray:  # noqa: ARG002
        assert self.answer is not None
        return self.answer


def oracle(answer: FloatArray) -> Oracle:
    return Oracle("oracle", "trained", "knows all", fake_separator().runner, answer)


def figures(track: TrackResult, estimate: str, metric: str) -> list[float]:
    return [getattr(getattr(stem, estimate), metric) for stem in track.stems]


@pytest.fixture
def short_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of the usual length take museval ten seconds for four stems."""
    monkeypatch.setattr(museval_v4, "TAPS", 16)


class TestMuseval:
    def test_figures_are_those_of_the_package(self) -> None:
        # White: empty bands would make museval's equations singular, and all but SDR rounding errors.
        references, errors = np.random.default_rng(0).standard_normal((2, 2, 2, 2 * RATE + 1234)).astype(np.float32)
        estimates = references + 0.1 * references[::-1] + 0.01 * errors
        found = bss_eval(references, estimates, RATE)
        swapped = [stems.transpose(0, 2, 1).astype(np.float64) for stems in (references, estimates)]
        expected = museval_v4._metrics().bss_eval(*swapped, window=RATE, hop=RATE)
        assert set(found) == set(METRICS)
        for name, values in zip(("SDR", "ISR", "SIR", "SAR"), expected, strict=False):
            np.testing.assert_array_equal(found[name], values)
        # The one figure that this package computes itself; rounding as in test_metrics.
        np.testing.assert_allclose(found["SDR"], chunk_sdr(references, estimates, RATE), rtol=0.0, atol=1e-9)
        assert found["SIR"].min() > 10.0

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_stem_that_is_silent_throughout_has_no_figures(self, which: int) -> None:
        pair = [make_stems(3.5), make_stems(3.5, seed=1)]
        pair[which][2] = 0.0
        assert all(np.isnan(bss_eval(*pair, RATE)[name]).all() for name in METRICS)
        assert bss_eval(*pair, RATE)["SDR"].shape == (4, 3)

    def test_equal_channels_count_once(self) -> None:
        mono = make_stems(1.5, channels=1)[:2]
        estimates = mono + 0.1 * mono[::-1]
        twice = [np.repeat(stems, 2, axis=1) for stems in (mono, estimates)]
        for name, values in bss_eval(mono, estimates, RATE).items():
            np.testing.assert_array_equal(bss_eval(*twice, RATE)[name], values)

    def test_singular_equations_are_solved_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise np.linalg.LinAlgError

        stems = make_stems(1.0, channels=1)[:1]
        expected = bss_eval(stems, 0.5 * stems, RATE)
        monkeypatch.setattr(np.linalg, "solve", refuse)
        assert bss_eval(stems, 0.5 * stems, RATE)["SDR"] == pytest.approx(expected["SDR"], abs=1e-6)

    def test_median_is_over_finite_frames(self) -> None:
        frames = np.array([[1.0, 5.0, 2.0, np.inf, np.nan], [np.nan] * 5])
        assert median_over_frames(frames) == [2.0, pytest.approx(math.nan, nan_ok=True)]

    def test_the_file_fits_the_published_schema(self, tmp_path: Path) -> None:
        frames = {name: np.array([[1.0, np.nan], [2.123456789, np.inf]]) + index for index, name in enumerate(METRICS)}
        path = write_track(tmp_path / "scores" / "test", "a song", ("drums", "bass"), frames)
        assert path == tmp_path / "scores" / "test" / "a song.json"
        assert [entry.name for entry in path.parent.iterdir()] == ["a song.json"]
        package = importlib.util.find_spec("museval")
        schema = json.loads(Path(package.submodule_search_locations[0], "musdb.schema.json").read_text())
        values = json.loads(path.read_text())
        jsonschema.validate(values, schema)
        assert values["museval_version"]
        assert [target["name"] for target in values["targets"]] == ["drums", "bass"]
        first, second = values["targets"][1]["frames"]
        assert first == {
            "time": 0.0,
            "duration": 1.0,
            "metrics": {"SDR": 2.12346, "ISR": 3.12346, "SIR": 4.12346, "SAR": 5.12346},
        }
        assert second["time"] == 1.0
        assert math.isnan(second["metrics"]["SDR"])  # museval turns infinity into NaN

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(EdgeError, match=r"cannot make folder .*file/test"):
            write_track(tmp_path / "file" / "test", "a", (), {"SDR": np.zeros((0, 1))})


class TestIdealRatioMask:
    def test_it_beats_the_mixture_by_far(self) -> None:
        clip = make_clip()
        for stem, estimate in zip(clip.stems, ideal_ratio_mask(clip.mix, clip.stems), strict=True):
            assert usdr(stem, estimate) > usdr(stem, clip.mix) + 15.0

    @pytest.mark.parametrize("length", [1, 1000, 4096, 70_000])
    def test_the_masks_add_up_to_one(self, length: int) -> None:
        stems = make_stems(10.0)[..., :length]
        mix = stems.sum(axis=0)
        assert snr(mix, ideal_ratio_mask(mix, stems).sum(axis=0)) > 100.0  # float32 results

    def test_it_is_the_mask_of_the_campaign(self) -> None:
        """Against the transform of scipy, which sigsep-mus-oracle uses; it frames the ends otherwise."""
        clip = make_clip(10.0)  # more frames than one block holds
        transform = {"nperseg": 4096, "noverlap": 3072}
        mix = scipy.signal.stft(clip.mix.astype(np.float64), **transform)[-1]
        magnitudes = np.abs(scipy.signal.stft(clip.stems.astype(np.float64), **transform)[-1])
        masked = magnitudes / magnitudes.sum(axis=0) * mix
        expected = scipy.signal.istft(masked, **transform)[1][..., : clip.mix.shape[1]]
        inner = slice(4096, -4096)
        assert snr(expected[..., inner], ideal_ratio_mask(clip.mix, clip.stems)[..., inner]) > 100.0

    def test_what_the_model_does_not_know_is_left_out(self) -> None:
        clip = make_clip()
        found = ideal_ratio_mask(clip.mix, clip.stems[:1], clip.stems[1:].sum(axis=0))
        assert usdr(clip.stems[0], found[0]) > 10.0
        assert usdr(clip.stems[0], ideal_ratio_mask(clip.mix, clip.stems[:1])[0]) < 0.0


def energies(references: FloatArray, estimates: FloatArray) -> tuple[list[float], list[float]]:
    """Of the stems and of the errors of their estimates."""
    pairs = list(zip(references, estimates, strict=True))
    return [energy(true) for true, _ in pairs], [error_energy(*pair) for pair in pairs]


class TestScores:
    def test_silent_stems_have_no_usdr_and_do_not_count(self) -> None:
        stems = make_stems(1.0)
        stems[1] = 0.0
        expected = np.mean([usdr(stem, stem / 2) for stem in stems[[0, 2, 3]]])
        assert mean_usdr(*energies(stems, stems / 2)) == pytest.approx(expected)
        assert math.isnan(mean_usdr(*energies(0 * stems, stems)))

    def test_nan_in_an_estimate_is_not_taken_for_silence(self) -> None:
        stems = make_stems(1.0)
        broken = stems.copy()
        broken[0, 0, 0] = np.nan
        assert math.isnan(mean_usdr(*energies(stems, broken)))

    def test_over_tracks_usdr_is_averaged_and_the_rest_is_a_median(self) -> None:
        found = over_tracks([Scores(1.0, 1.0, 1.0), Scores(2.0, 2.0, 2.0), Scores(9.0, 9.0, math.nan)])
        assert (found.usdr, found.csdr, found.sdr) == (4.0, 2.0, 1.5)
        assert math.isnan(found.sir)

    def test_over_stems_everything_is_averaged(self) -> None:
        found = over_stems([Scores(1.0, 3.0), Scores(2.0, 5.0), Scores(math.nan, math.nan)])
        assert (found.usdr, found.csdr) == (1.5, 4.0)


class TestSeparator:
    def test_a_model_gives_its_forward(self, tmp_path: Path) -> None:
        path = write_config(tmp_path)
        mix = make_clip(1.3).mix
        with torch.no_grad():
            expected = find_model(path).model(torch.from_numpy(mix)[None])[0].numpy()
        separator = open_separator(path)
        assert separator.weights == "random"
        for _ in range(2):  # the second starts afresh
            found = separator.separate(mix)
            assert found.shape == (4, *mix.shape)
            assert snr(expected, found) > 90.0  # 1e-5 relative is the contract of a scan, and that is 100 dB per sample

    def test_a_bundle_gives_what_its_model_gives(self, tiny: Workshop, song: FloatArray) -> None:
        separator = open_separator(tiny.bundle("torch", "float32").path)
        assert separator.name == "tiny-torch-float32"
        assert snr(open_separator("tiny").separate(song), separator.separate(song)) > 80.0

    def test_a_folder_that_is_no_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(EdgeError, match=r"has no manifest\.json"):
            open_separator(tmp_path)

    def test_stems_with_nan_are_an_error(self) -> None:
        separator = fake_separator(lambda mix, index, memory: quarters(mix, index, memory) * np.nan)
        with pytest.raises(StreamError, match="hold NaN or infinity"):
            separator.separate(make_clip(0.5).mix)


class TestEvaluate:
    def test_every_figure_of_one_clip(self) -> None:
        clip = make_clip()
        result, _ = evaluate_clip(fake_separator(), clip, museval=False)
        assert [stem.source for stem in result.stems] == list(MUSDB_SOURCES)
        assert figures(result, "model", "usdr") == [usdr(stem, clip.mix / 4) for stem in clip.stems]
        assert figures(result, "floor", "usdr") == [usdr(stem, clip.mix) for stem in clip.stems]
        assert min(figures(result, "ceiling", "csdr")) > 10.0
        assert all(math.isnan(value) for value in figures(result, "model", "sir"))
        assert result.seconds == 2.0

    @pytest.mark.usefixtures("short_filters")
    def test_museval_figures_are_medians_of_the_frames(self) -> None:
        clip = make_clip()
        result, frames = evaluate_clip(fake_separator(), clip, museval=True)
        assert figures(result, "model", "sdr") == pytest.approx(figures(result, "model", "csdr"), abs=1e-9)
        assert figures(result, "model", "sir") == median_over_frames(frames["SIR"])
        assert min(figures(result, "ceiling", "sir")) > max(figures(result, "floor", "sir"))

    def test_a_perfect_separator(self) -> None:
        clip = make_clip()
        result, _ = evaluate_clip(oracle(clip.stems), clip, museval=False)
        assert figures(result, "model", "csdr") == [math.inf] * 4
        assert min(figures(result, "model", "usdr")) > 80.0

    @pytest.mark.usefixtures("short_filters")
    @pytest.mark.parametrize("seconds", [0.3, 0.001])
    def test_less_than_a_second(self, seconds: float) -> None:
        result, frames = evaluate_clip(fake_separator(), make_clip(seconds), museval=True)
        assert np.isfinite(figures(result, "model", "csdr")).all()
        assert frames["SIR"].shape == (4, 1)

    def test_a_stem_that_is_silent(self) -> None:
        clip = make_clip()
        clip.stems[3] = 0.0
        result, _ = evaluate_clip(fake_separator(), clip, museval=True)
        assert np.isnan(figures(result, "model", "usdr")).tolist() == [False, False, False, True]
        values = make_report(result).to_dict()
        assert values["tracks"][0]["stems"][3]["model"]["usdr"] is None
        assert values["summary"][-1]["model"]["usdr"] == pytest.approx(np.mean(figures(result, "model", "usdr")[:3]))
        json.dumps(values, allow_nan=False)
        assert "no SDR: 1" in make_report(result).caption()

    def test_a_model_of_some_sources_is_held_against_a_mask_that_knows_the_others(self) -> None:
        clip = make_clip()
        form = replace(spec(), sources=("vocals",))
        separator = fake_separator(lambda mix, *_: mix[None] / 4, form)
        result, _ = evaluate_clip(separator, replace(clip, stems=clip.stems[3:]), museval=False)
        assert figures(result, "ceiling", "usdr")[0] > 10.0

    def test_a_corrupt_track_is_named_and_the_rest_evaluated(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        music = find_music(LITTLE, MusicChoice(songs=write_songs(tmp_path, 3, 0.5)))
        damage(tmp_path / "test" / "song-1")
        report = evaluate(fake_separator(), music, quiet=True)
        assert [track.track for track in report.tracks] == ["song-0", "song-2"]
        (skipped,) = report.skipped
        assert skipped.startswith("'song-1': ")
        assert f"skipped {skipped}\n" in capsys.readouterr().err
        assert "cannot be read: 1" in report.caption()
        # The drift check goes on from the tracks that can be read.
        mix, stems = first_minute(fake_separator(), music)
        assert mix.shape == (2, RATE)
        assert stems.shape == (4, 2, RATE)

    def test_all_tracks_corrupt(self, tmp_path: Path) -> None:
        music = find_music(LITTLE, MusicChoice(songs=write_songs(tmp_path, 2, 0.5)))
        for song in (tmp_path / "test").iterdir():
            damage(song)
        with pytest.raises(AudioError, match="none of 2 tracks could be read; the first: 'song-0'"):
            evaluate(fake_separator(), music, quiet=True)

    def test_hashes_tell_clips_apart(self) -> None:
        music = Music("noise", "test", {str(seed): lambda seed=seed: make_clip(0.5, seed=seed) for seed in (1, 2)})
        first, second = evaluate(fake_separator(), music, quiet=True).tracks
        assert first.sha256 != second.sha256


def make_report(*tracks: TrackResult) -> EvalReport:
    return EvalReport("fake", "random", "a rule", "noise", "test", False, "a mask", tracks, ())


def test_the_summary_has_a_row_per_stem_and_the_mean() -> None:
    tracks = [
        TrackResult(str(value), 1.0, "", tuple(StemResult(source, *[Scores(value, value)] * 3) for source in "ab"))
        for value in (1.0, 2.0, 6.0)
    ]
    rows = make_report(*tracks).summary()
    assert [row.source for row in rows] == ["a", "b", "mean"]
    assert [(row.model.usdr, row.model.csdr) for row in rows] == [(3.0, 2.0)] * 3
