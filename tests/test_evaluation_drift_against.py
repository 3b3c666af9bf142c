"""Two separators in step for minutes: the gate on dSDR, the SNR of the state, and streams that differ in form."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.evaluation.drift import common_second, measure_drift
from ddtasnet_edge.evaluation.drift_against import paired_caption, paired_table
from ddtasnet_edge.evaluation.drift_report import MINUTE, DriftReport
from ddtasnet_edge.evaluation.separator import hops_per_second
from ddtasnet_edge.files import json_safe
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.runtimes.torch_session import ScanSession, TorchSession
from ddtasnet_edge.spec import FloatArray, StreamSpec
from ddtasnet_edge.stream import StreamRunner
from tests.evaluation import FakeSession, fake_separator, make_stems, quarters, spec
from tests.small import small_config
from tests.test_evaluation_drift import FORM, HOPS, LAST, Rule

LATE = LAST - MINUTE * HOPS  # first hop of the last minute


def pair(
    rule: Rule = quarters, other: Rule = quarters, form: StreamSpec = FORM, other_form: StreamSpec = FORM
) -> DriftReport:
    stems = make_stems(60.0, rate=form.sample_rate)
    runners = [fake_separator(rule, form).runner, fake_separator(other, other_form).runner]
    return measure_drift(runners[0], stems.sum(axis=0), stems, 3, quiet=True, against=runners[1])


def gain(early: float, late: float) -> Rule:
    """Quarters of the mix, of one loudness in the first minutes and of another in the last.

    A quarter is best for four stems of equal energy: at a gain g of it the error is (1 - g/4)^2 + 3 (g/4)^2 of the
    energy of a stem, so 0.7 and 1.3 cost 0.13 dB and 0.9 costs 0.01 dB.
    """
    return lambda mix, index, memory: quarters(mix, index, memory) * (late if index >= LATE else early)


def test_equal_separators_do_not_differ() -> None:
    report = pair()
    assert report.failures == ()
    assert report.against is not None
    assert len(report.against.minutes) == 3
    for minute in report.against.minutes:
        assert list(minute.dsdr.values()) == [0.0] * 4
        assert minute.state_snr == {"memory": math.inf}
    json.dumps(json_safe(report.to_dict()), allow_nan=False)


def test_without_another_separator_there_is_no_comparison() -> None:
    stems = make_stems(60.0, rate=FORM.sample_rate)
    report = measure_drift(fake_separator(form=FORM).runner, stems.sum(axis=0), stems, 3, quiet=True)
    assert report.against is None
    assert report.to_dict()["against"] is None


@pytest.mark.parametrize(
    ("early", "late", "failed"),
    [
        (1.0, 0.7, True),
        (1.0, 1.3, True),
        (1.0, 0.9, False),
        (0.7, 0.7, False),  # different, but not more so every minute
        (1.0, np.nan, True),
    ],
)
def test_a_difference_that_grows_fails(early: float, late: float, failed: bool) -> None:
    report = pair(gain(early, late))
    failures = [failure for failure in report.failures if failure.startswith("dSDR of")]
    assert len(failures) == (4 if failed else 0)
    assert report.against is not None
    if failed:
        assert "in minute 1 to" in failures[0]
        assert "allowed is a change of 0.05 dB" in failures[0]
        assert "dSDR changed too much: 4 stems" in paired_caption(report.against, "a", "b")
    else:
        assert "no dSDR changed by more than 0.05 dB" in paired_caption(report.against, "a", "b")
    if early != 1.0:
        assert all(value != 0.0 for value in report.against.minutes[0].dsdr.values())


def test_the_change_is_small_enough_to_pass_the_verdict_on_the_separator_alone() -> None:
    """What this gate finds is not found without the other separator."""
    report = pair(gain(1.0, 0.7))
    assert replace(report, against=None).failures == ()


def test_what_the_music_does_to_both_is_no_difference() -> None:
    assert pair(gain(1.0, 0.7), gain(1.0, 0.7)).failures == ()


def test_the_sign_is_after_less_before() -> None:
    report = pair(lambda mix, *_: np.stack([mix] * 4))
    assert report.against is not None
    assert all(value < -1.0 for value in report.against.minutes[0].dsdr.values())


def test_state_snr_is_known() -> None:
    def tenth_more(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        stems = quarters(mix, index, memory)
        memory[:] = [1.0, 3.0 if index < LATE else 0.0]
        return stems

    def reference(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        memory[:] = [1.1, 3.3 if index < LATE else 0.0]
        return quarters(mix, index, memory)

    report = pair(tenth_more, reference)
    assert report.against is not None
    for minute in report.against.minutes:
        assert minute.state_snr["memory"] == pytest.approx(20 * math.log10(11.0), abs=1e-4)
    columns, rows = paired_table(report.against)
    assert columns == ["minute", "1", "2", "3"]
    assert [row[0] for row in rows] == [f"dSDR {name}, dB" for name in FORM.sources] + ["SNR memory, dB"]
    assert rows[-1][1:] == ["20.8"] * 3


@pytest.mark.parametrize(
    ("hop", "latency", "other_hop", "other_latency"),
    [(20, 0, 200, 0), (200, 0, 20, 0), (20, 40, 40, 60), (25, 0, 10, 0), (10, 30, 300, 300)],
)
def test_states_are_compared_behind_the_same_samples(
    hop: int, latency: int, other_hop: int, other_latency: int
) -> None:
    forms = spec(200, hop, latency), spec(200, other_hop, other_latency)

    def count(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        memory[0] += mix.shape[1]
        return quarters(mix, index, memory)

    report = pair(count, count, *forms)
    assert report.against is not None
    assert [minute.state_snr["memory"] for minute in report.against.minutes] == [math.inf] * 3
    assert [list(minute.dsdr.values()) for minute in report.against.minutes] == [[0.0] * 4] * 3


def test_hops_that_hardly_ever_meet_are_refused() -> None:
    message = "hops that meet within 2 s, found hops of 20 and 199 samples; compare models of one hop length"
    with pytest.raises(ConfigError, match=message):
        pair(form=spec(200, 20), other_form=spec(200, 199))
    assert common_second([spec(200, 500)]) == 500  # alone, any hop will do


class OtherSlots(FakeSession):
    """A state that is not that of FORM."""

    state: dict[str, FloatArray]

    def _read_state(self) -> dict[str, FloatArray]:
        return self.state


@pytest.mark.parametrize(("name", "size"), [("other", 2), ("memory", 3)])
def test_states_with_other_slots_are_not_compared(name: str, size: int) -> None:
    session = OtherSlots(FORM, quarters)
    session.state = {name: np.zeros(size, dtype=np.float32)}
    stems = make_stems(60.0, rate=200)
    runner = fake_separator(form=FORM).runner
    report = measure_drift(runner, stems.sum(axis=0), stems, 3, quiet=True, against=StreamRunner(session))
    assert report.against is not None
    assert report.against.minutes[0].state_snr == {}
    assert "other slots and are not compared" in paired_caption(report.against, "a", "b")
    assert [row[0] for row in paired_table(report.against)[1]] == [f"dSDR {source}, dB" for source in FORM.sources]


def test_a_silent_stem_has_no_dsdr_and_is_not_judged() -> None:
    stems = make_stems(60.0, rate=200)
    stems[1] = 0.0
    runners = [fake_separator(rule, FORM).runner for rule in (gain(1.0, 0.7), quarters)]
    report = measure_drift(runners[0], stems.sum(axis=0), stems, 3, quiet=True, against=runners[1])
    assert report.against is not None
    assert list(report.against.minutes[0].dsdr) == ["drums", "other", "vocals"]
    assert len(report.against.failures) == 3


def test_memory_does_not_grow_with_the_minutes() -> None:
    def peak(minutes: int) -> int:
        stems = make_stems(60.0, rate=200)
        runners = [fake_separator(form=FORM).runner for _ in range(2)]
        tracemalloc.start()
        measure_drift(runners[0], stems.sum(axis=0), stems, minutes, quiet=True, against=runners[1])
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    minute_of_stems = 4 * 2 * 60 * 200 * 4  # bytes; four minutes more of them, twice, would be eight times that
    assert peak(7) - peak(3) < minute_of_stems // 2


def test_a_model_in_steps_and_in_scans_has_one_state() -> None:
    """As a bundle and its preset: hop by hop against a second at a time, with all slots compared."""
    model = create_model(small_config(sample_rate=320))  # ten hops a second
    form = model.spec()
    stems = make_stems(60.0, rate=320)
    steps = StreamRunner(TorchSession.from_model(model))
    scans = StreamRunner(ScanSession(model, hops_per_second(form)))
    assert scans.spec.hop_length == 10 * form.hop_length
    report = measure_drift(steps, stems.sum(axis=0), stems, 3, quiet=True, against=scans)
    assert report.against is not None
    for minute in report.against.minutes:
        assert set(minute.state_snr) == {slot.name for slot in form.slots}
        # A scan equals the steps to 1e-5 of the largest value, 100 dB, and small slots have less of it.
        assert min(minute.state_snr.values()) > 60.0
        assert max(abs(value) for value in minute.dsdr.values()) < 0.001
    assert report.against.failures == ()
