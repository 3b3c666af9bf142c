"""What changed between two separators: known changes, leakage on constructed stems, and the summary over tracks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ddtasnet_edge.evaluation.changes import (
    change_caption,
    change_table,
    compare_stems,
    measure_leakage,
    summarize_changes,
)
from ddtasnet_edge.evaluation.evaluate import evaluate_clip
from ddtasnet_edge.evaluation.scores import Leakage, StemChange, TrackResult
from ddtasnet_edge.spec import FloatArray
from tests.evaluation import RATE, fake_separator, make_stems, quarters
from tests.test_evaluation import make_clip

NONE = Leakage(0, 0.0, 0.0, 0.0)


def changed(usdr: float = 0.0, csdr: float = 0.0, snr: float = 30.0, leakage: Leakage = NONE) -> StemChange:
    return StemChange("vocals", 5.0, 5.0 + usdr, 6.0, 6.0 + csdr, snr, leakage)


def track(name: str, *changes: StemChange) -> TrackResult:
    return TrackResult(name, 1.0, "", (), changes)


def at(decibels: float) -> np.float32:
    """A gain."""
    return np.float32(10.0 ** (decibels / 20.0))


def noise(seconds: float = 1.0, seed: int = 0) -> FloatArray:
    return make_stems(seconds, seed)[0]


class TestCompareStems:
    def test_equal_estimates_change_nothing(self) -> None:
        stems = make_stems(2.0)
        for each in compare_stems("abcd", stems.sum(axis=0), stems, stems / 2, stems / 2, RATE):
            assert (each.usdr_change, each.csdr_change, each.dsdr, each.snr) == (0.0, 0.0, 0.0, math.inf)

    def test_perfect_estimates_change_nothing_either(self) -> None:
        stems = make_stems(1.0)
        first, *_ = compare_stems("abcd", stems.sum(axis=0), stems, stems, stems, RATE)
        assert (first.csdr_after, first.csdr_change) == (math.inf, 0.0)

    def test_known_changes(self) -> None:
        """Errors proportional to a stem, 10 dB below it before and 13 dB after; the second stem is left alone."""
        stems = make_stems(2.0)
        before, after = stems * (1 + at(-10.0)), stems * (1 + at(-10.0))
        after[0] = stems[0] * (1 + at(-13.0))
        first, second, *_ = compare_stems("abcd", stems.sum(axis=0), stems, before, after, RATE)
        assert first.source == "a"
        assert first.usdr_before == pytest.approx(10.0, abs=1e-3)  # float32, and the 1e-7 of uSDR
        assert first.usdr_change == pytest.approx(3.0, abs=1e-3)
        assert first.csdr_change == pytest.approx(3.0, abs=1e-3)
        difference = float(at(-10.0) - at(-13.0))
        assert first.snr == pytest.approx(20 * math.log10((1 + at(-10.0)) / difference), abs=1e-3)
        assert (second.usdr_change, second.snr) == (0.0, math.inf)

    def test_dsdr_is_the_change_further_from_zero(self) -> None:
        assert changed(0.1, -0.3).dsdr == pytest.approx(-0.3)
        assert changed(0.4, -0.3).dsdr == pytest.approx(0.4)
        assert changed(math.nan, -0.3).dsdr == pytest.approx(-0.3)

    def test_a_stem_that_is_silent_throughout_has_no_dsdr(self) -> None:
        stems = make_stems(1.0)
        stems[2] = 0.0
        changes = compare_stems("abcd", stems.sum(axis=0), stems, stems + 0.01, stems + 0.02, RATE)
        assert [math.isnan(each.dsdr) for each in changes] == [False, False, True, False]
        assert changes[2].leakage.seconds == 1


class TestLeakage:
    def test_only_where_the_stem_is_silent_and_the_mix_is_not(self) -> None:
        """Second 0: both sound; 1: the stem is silent; 2: both are; and half a second that does not count."""
        stem, other = noise(3.5), noise(3.5, seed=1)
        stem[:, RATE:] = 0.0
        other[:, 2 * RATE : 3 * RATE] = 0.0
        mix = stem + other
        before, after = at(-40.0) * mix, at(-20.0) * mix
        before[:, :RATE] = after[:, :RATE] = 1.0
        before[:, 2 * RATE :] = after[:, 2 * RATE :] = 1.0
        found = measure_leakage(mix, stem, before, after, RATE)
        assert found.seconds == 1
        assert found.before_db == pytest.approx(-40.0, abs=1e-4)
        assert found.after_db == pytest.approx(-20.0, abs=1e-4)

    def test_seconds_are_weighed_by_their_energy(self) -> None:
        mix = noise(2.0)
        mix[:, RATE:] = mix[:, :RATE] * at(-10.0)
        after = mix.copy()
        after[:, :RATE] = 0.0
        found = measure_leakage(mix, 0 * mix, mix, after, RATE)
        assert found.seconds == 2
        assert found.after_db == pytest.approx(10 * math.log10(0.1 / 1.1), abs=1e-4)

    @pytest.mark.parametrize(("level", "seconds"), [(-50.0, 0), (-70.0, 1), (-200.0, 1)])
    def test_the_noise_of_a_decoder_is_silence(self, level: float, seconds: int) -> None:
        mix = noise()
        assert measure_leakage(mix, at(level) * mix, mix, mix, RATE).seconds == seconds

    @pytest.mark.parametrize(("level", "seconds"), [(-80.0, 0), (-40.0, 1)])
    def test_a_mix_that_is_hardly_there_is_silence(self, level: float, seconds: int) -> None:
        mix = noise() / np.sqrt(np.mean(noise() ** 2)) * at(level)
        assert measure_leakage(mix, 0 * mix, mix, mix, RATE).seconds == seconds

    def test_no_such_second(self) -> None:
        found = measure_leakage(noise(), noise(), noise(), noise(), RATE)
        assert found == NONE
        assert math.isnan(found.before_db)
        assert math.isnan(found.after_db)

    def test_an_estimate_that_is_silent_too(self) -> None:
        found = measure_leakage(noise(), 0 * noise(), noise(), 0 * noise(), RATE)
        assert (found.before_db, found.after_db) == (0.0, -math.inf)

    def test_less_than_a_second_counts_when_it_is_all(self) -> None:
        assert measure_leakage(noise(0.5), 0 * noise(0.5), noise(0.5), noise(0.5), RATE).seconds == 1


class TestSummary:
    def test_means_range_and_the_track_that_changed_most(self) -> None:
        tracks = [
            track("one", changed(0.1, 0.0, snr=20.0)),
            track("two", changed(-0.4, 0.1, snr=math.inf)),
            track("three", changed(0.0, 0.2)),
        ]
        (row,) = summarize_changes(tracks)
        assert row.usdr_change == pytest.approx(-0.1)
        assert row.csdr_change == pytest.approx(0.1)
        assert (row.usdr_before, row.usdr_after) == (5.0, pytest.approx(4.9))
        assert (row.dsdr_lowest, row.dsdr_highest) == (pytest.approx(-0.4), pytest.approx(0.2))
        assert (row.track, row.snr) == ("two", 20.0)

    def test_tracks_in_which_the_stem_is_silent_are_left_out(self) -> None:
        (row,) = summarize_changes([track("one", changed(math.nan, math.nan)), track("two", changed(0.1, 0.0))])
        assert (row.track, row.usdr_change) == ("two", pytest.approx(0.1))
        (row,) = summarize_changes([track("one", changed(math.nan, math.nan))])
        assert row.track == "-"
        assert math.isnan(row.dsdr_lowest)

    def test_leakage_is_over_all_tracks_together(self) -> None:
        quiet, loud = Leakage(1, 1.0, 0.0, 0.0), Leakage(3, 9.0, 1.0, 0.1)
        (row,) = summarize_changes([track("a", changed(leakage=quiet)), track("b", changed(leakage=loud))])
        assert row.silent_seconds == 4
        assert (row.leakage_before, row.leakage_after) == (pytest.approx(-10.0), pytest.approx(-20.0))

    def test_a_dash_stands_for_what_does_not_exist(self) -> None:
        columns, ((*cells,),) = change_table(summarize_changes([track("a", changed(0.1, -0.2))]))
        assert len(columns) == len(cells)
        assert cells[:4] == ["vocals", "5.00", "5.10", "+0.100"]
        assert cells[-3:] == ["-", "-", "0"]

    def test_the_caption_names_both(self) -> None:
        assert "before: tiny; after: tiny-tflite" in change_caption("tiny", "tiny-tflite")

    def test_without_a_comparison_there_is_none(self) -> None:
        assert summarize_changes([track("a"), track("b")]) == ()


def test_both_separators_hear_the_same_clip() -> None:
    clip = make_clip()
    halved = fake_separator(lambda mix, index, memory: quarters(mix, index, memory) / 2)
    result, _ = evaluate_clip(fake_separator(), clip, museval=False, against=halved)
    for stem, each in zip(result.stems, result.changes, strict=True):
        assert each.source == stem.source
        assert each.usdr_after == stem.model.usdr
        assert each.csdr_after == stem.model.csdr
        assert each.snr == pytest.approx(0.0, abs=1e-4)  # twice as loud: the error is the signal
        assert each.to_dict()["dsdr"] == each.dsdr
