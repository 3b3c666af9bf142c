"""The verdicts on long streams: each fails for the separator that breaks it, and for no other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.evaluation.drift import measure_drift
from ddtasnet_edge.evaluation.drift_report import AFTER, MINUTE, SILENCE, DriftReport, drift_caption, drift_table
from ddtasnet_edge.evaluation.evaluate import first_minute
from ddtasnet_edge.evaluation.separator import open_separator
from ddtasnet_edge.files import json_safe
from ddtasnet_edge.music import MusicChoice, find_music
from ddtasnet_edge.spec import FloatArray, StreamSpec
from tests.evaluation import RATE, fake_separator, make_stems, quarters, spec, write_config, write_songs

# Ten hops a second keep ten-minute streams short; the second is then exact.
FORM = spec(sample_rate=200, hop=20)
HOPS = 10
LAST = 3 * MINUTE * HOPS  # first hop of silence

Rule = Callable[[FloatArray, int, FloatArray], FloatArray]


def drift(rule: Rule = quarters, form: StreamSpec = FORM, seconds: float = 60.0, minutes: int = 3) -> DriftReport:
    stems = make_stems(seconds, rate=form.sample_rate)
    return measure_drift(fake_separator(rule, form).runner, stems.sum(axis=0), stems, minutes, quiet=True)


def test_a_stable_separator_passes() -> None:
    report = drift()
    assert report.failures == ()
    assert len(report.minutes) == 3
    assert report.usdr_change == 0.0
    assert report.recovery == 0
    assert report.silence == (-math.inf,) * SILENCE
    assert report.after == report.undisturbed
    assert len(report.after) == AFTER
    assert report.second == 200
    assert "stable" in drift_caption(report)
    json.dumps(json_safe(report.to_dict()), allow_nan=False)


@pytest.mark.parametrize(("hop", "latency"), [(20, 40), (20, 60), (64, 64), (500, 500)])
def test_stems_are_compared_with_the_music_they_belong_to(hop: int, latency: int) -> None:
    """The delayed stream is aligned, in hops that do not divide a second, and longer than one."""
    report = drift(form=spec(200, hop, latency))
    # The same mix as estimate, in one piece and not aligned to anything.
    assert report.minutes[0].usdr == pytest.approx(drift().minutes[0].usdr, abs=0.2)
    assert report.failures == ()


def test_short_music_is_looped() -> None:
    short = drift(seconds=7.3)
    assert short.minutes[0].usdr == pytest.approx(short.minutes[2].usdr)
    assert short.failures == ()


def grow(per_hop: float) -> Rule:
    def rule(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        memory[1] = -(1.0 + per_hop * index)
        return quarters(mix, index, memory)

    return rule


def test_a_state_that_grows_fails() -> None:
    (failure,) = drift(grow(0.001)).failures
    assert failure.startswith("state slot 'memory' grew from 2.")
    assert "in minute 2 to 2." in failure
    assert drift(grow(0.00001)).failures == ()


def test_a_state_that_becomes_nan_fails() -> None:
    def rule(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        memory[0] = np.nan if index == LAST - 500 else memory[0]
        return quarters(mix, index, memory)

    (failure,) = drift(rule).failures
    assert "state slot 'memory' grew from 0 in minute 2 to nan" in failure


@pytest.mark.parametrize(("gain", "failed"), [(0.5, True), (0.98, False), (np.nan, True)])
def test_sound_that_changes_from_the_first_minute_to_the_last(gain: float, failed: bool) -> None:
    late = LAST - MINUTE * HOPS
    failures = drift(
        lambda mix, index, memory: quarters(mix, index, memory) * (gain if index >= late else 1.0)
    ).failures
    assert any("mean uSDR went from" in failure for failure in failures) == failed


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (lambda _: 0.01, "the output during silence does not fall: -40.0 dBFS in its first second, -40.0 dBFS"),
        (lambda age: 0.001 * 1.01**age, "does not fall"),
        (lambda age: 0.5 * 0.9**age, None),
        (lambda _: 1e-5, None),  # below the last bit of 16-bit audio
        (lambda _: np.inf, "holds NaN or infinity"),
        (lambda _: np.nan, "holds NaN or infinity"),
    ],
)
def test_what_sounds_in_silence(level: Callable[[int], float], message: str | None) -> None:
    def rule(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        hum = 0.0 if mix.any() or index < LAST else level(index - LAST)
        return quarters(mix, index, memory) + np.float32(hum)

    failures = drift(rule).failures
    assert (len(failures) == 1 and message in failures[0]) if message else failures == ()


@pytest.mark.parametrize(("late", "recovery"), [(0, 0), (3, 1), (10, 1), (11, 2), (45, 5), (1000, AFTER)])
def test_recovery_from_silence(late: int, recovery: int) -> None:
    """Off for `late` hops behind the silence; a second in which it comes back counts as not recovered."""
    back = LAST + SILENCE * HOPS

    def rule(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        return quarters(mix, index, memory) * (-4.0 if back <= index < back + late else 1.0)

    report = drift(rule)
    assert report.recovery == recovery
    assert any("recovery from silence took" in failure for failure in report.failures) == (recovery > 1)


def test_a_better_start_behind_the_silence_is_no_failure() -> None:
    assert drift(lambda mix, index, memory: quarters(mix, index, memory) * (-1.0 if index < 30 else 1.0)).recovery == 0


def test_too_few_minutes() -> None:
    with pytest.raises(ConfigError, match="--drift is 2 minutes, expected at least 3"):
        drift(minutes=2)


def test_the_table_has_a_row_per_slot_and_a_column_per_minute() -> None:
    columns, rows = drift_table(drift(grow(0.001), minutes=4))
    assert columns == ["max |state|", "1", "2", "3", "4"]
    assert [row[0] for row in rows] == ["mean uSDR, dB", "memory"]
    assert rows[1][1:] == ["1.599", "2.199", "2.799", "3.399"]


def test_a_real_model_is_stable(tmp_path) -> None:
    separator = open_separator(write_config(tmp_path))
    music = find_music(separator.spec, MusicChoice(songs=write_songs(tmp_path)))
    mix, stems = first_minute(separator, music)
    assert mix.shape == (2, 4 * RATE)  # both songs, as there is no minute of music
    report = measure_drift(separator.runner, mix, stems, 3, quiet=True)
    assert report.failures == ()
    assert report.minutes[2].state["time_attention_valid"] == 1.0
    assert report.minutes[2].state["time_cbam_age"] == 4.0  # it stops at 1 / pooling_rate
