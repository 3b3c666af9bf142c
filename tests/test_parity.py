"""The parity gate: what passes, what must not, and what the report says about it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.runtimes.parity import ClipParity, ParityReport, StemParity, Trace, compare, run_clip
from ddtasnet_edge.runtimes.thresholds import Thresholds, read_thresholds, thresholds_for
from ddtasnet_edge.runtimes.torch_session import TorchSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray
from tests.bundles import EVERY, QUANTIZED, RATE, Workshop
from tests.small import noise, small_config

MODEL = create_model(small_config())
FLOAT = thresholds_for("onnx", "float32", "random", "onnxruntime 1")
STRICT = Thresholds(snr_db=60.0, dsdr_db=0.01)
INT8_RANDOM = Thresholds(snr_db=15.0)
INT8_TRAINED = Thresholds(dsdr_db=0.1)


class Faulty(Session):
    """The reference with a fault of one kind."""

    runtime = "faulty 1.0"

    def __init__(self, fault: str) -> None:
        super().__init__(MODEL.spec())
        self._inner = TorchSession.from_model(MODEL)
        self._fault = fault
        self._last = np.zeros((4, 2, 1), np.float32)
        self._hops = 0

    def _run(self, hop: FloatArray) -> FloatArray:
        if self._fault == "state not fed back":
            self._inner.reset()
        if self._fault == "one slot not fed back":
            start = self.spec.initial_state()["fusion_hidden"]
            self._inner.set_state({**self._inner.get_state(), "fusion_hidden": start})
        stems = self._inner.step(hop).copy()
        self._hops += 1
        if self._fault == "gain":
            return np.float32(0.9) * stems
        if self._fault == "one sample late":
            stems, self._last = np.concatenate([self._last, stems[..., :-1]], axis=-1), stems[..., -1:]
        if self._fault == "stems exchanged":
            return stems[::-1]
        if self._fault == "channels exchanged":
            return stems[:, ::-1]
        if self._fault == "NaN once" and self._hops == 100:
            stems[2, 1, 7] = np.nan
        return stems

    def _read_state(self) -> Mapping[str, FloatArray]:
        state = self._inner.get_state()
        if self._fault == "NaN in the state":
            state["time_cbam_mean"][0, 3] = np.nan
        return state

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._inner.set_state(state)

    def _close(self) -> None:
        self._inner.close()


FAULTS = ("state not fed back", "one sample late", "stems exchanged", "channels exchanged")


@pytest.fixture(scope="module")
def clip() -> Clip:
    """0.2 s of noise whose true stems lie near what the model makes of it, so that their SDR means something."""
    mix = 0.2 * noise(2, RATE // 5).numpy()
    with TorchSession.from_model(MODEL) as session:
        made = run_clip(session, Clip("noise", mix, None, RATE, "noise")).stems
    spread = 0.5 * np.float32(made.std()) * noise(*made.shape).numpy()
    return Clip("noise", mix, made + spread, RATE, "noise")


@pytest.fixture(scope="module")
def reference(clip: Clip) -> Trace:
    with TorchSession.from_model(MODEL) as session:
        return run_clip(session, clip)


def judge(session: Session, clip: Clip, reference: Trace, thresholds: Thresholds) -> ParityReport:
    with session:
        return compare(session, [clip], [reference], thresholds, "torch")


def test_the_reference_passes_its_own_gate(clip: Clip, reference: Trace) -> None:
    report = judge(Faulty("none"), clip, reference, STRICT)
    assert report.passed
    assert report.failures == ()
    assert report.runtime == "faulty 1.0"
    (result,) = report.clips
    assert result.snr_db == math.inf
    assert result.max_abs_error == result.worst_dsdr == 0.0
    assert set(result.state_max_abs_error) == {slot.name for slot in MODEL.spec().slots}
    assert result.seconds == pytest.approx(0.2)
    assert all(stem.usdr > 3.0 for stem in result.stems), "the true stems are near"


@pytest.mark.parametrize("fault", ["gain", "one slot not fed back", *FAULTS])
def test_a_broken_session_is_caught_at_float_thresholds(fault: str, clip: Clip, reference: Trace) -> None:
    assert not judge(Faulty(fault), clip, reference, FLOAT).passed


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_session_is_caught_at_int8_thresholds(fault: str, clip: Clip, reference: Trace) -> None:
    """15 dB let one forgotten slot pass; test_runtimes.py looks at each slot of each bundle."""
    assert not judge(Faulty(fault), clip, reference, INT8_RANDOM).passed


@pytest.mark.parametrize("fault", ["gain", "one sample late", "stems exchanged"])
def test_a_broken_session_is_caught_by_sdr_alone(fault: str, clip: Clip, reference: Trace) -> None:
    assert not judge(Faulty(fault), clip, reference, INT8_TRAINED).passed


@pytest.mark.parametrize("thresholds", [STRICT, INT8_RANDOM, INT8_TRAINED], ids=str)
def test_nan_fails_whatever_is_demanded(thresholds: Thresholds, clip: Clip, reference: Trace) -> None:
    report = judge(Faulty("NaN once"), clip, reference, thresholds)
    assert "noise: the stems hold NaN or infinity" in report.failures


def test_nan_in_the_state_fails(clip: Clip, reference: Trace) -> None:
    """The stems are still fine, the rest of the song would not be."""
    report = judge(Faulty("NaN in the state"), clip, reference, STRICT)
    assert report.failures == ("noise: the state slot 'time_cbam_mean' holds NaN or infinity",)


def test_every_failure_is_listed(clip: Clip, reference: Trace) -> None:
    with Faulty("gain") as session:
        second = replace(clip, name="second")
        report = compare(session, [clip, second], [reference, reference], STRICT, "torch")
    assert len(report.failures) == 2 * (1 + 4)
    assert report.failures[0] == "noise: SNR 20.0 dB, expected at least 60 dB"
    for source in MODEL.config.sources:
        assert sum(f": {source} changed by " in failure for failure in report.failures) == 2
    assert report.failures[-1].startswith("second: vocals changed by ")
    assert report.failures[-1].endswith(" dB SDR, allowed 0.01 dB")


def test_a_clip_without_stems_is_judged_by_snr(clip: Clip, reference: Trace) -> None:
    bare = replace(clip, stems=None)
    assert judge(Faulty("none"), bare, reference, STRICT).passed
    report = judge(Faulty("gain"), bare, reference, STRICT)
    assert report.failures == ("noise: SNR 20.0 dB, expected at least 60 dB",)
    assert math.isnan(report.clips[0].worst_dsdr)


@pytest.mark.parametrize("thresholds", [INT8_TRAINED, Thresholds()], ids=str)
def test_a_gate_with_nothing_to_judge_by_fails(thresholds: Thresholds, clip: Clip, reference: Trace) -> None:
    report = judge(Faulty("none"), replace(clip, stems=None), reference, thresholds)
    assert report.failures == ("noise: nothing to judge by, neither true stems nor a threshold for SNR",)


def test_a_gate_without_clips_fails() -> None:
    assert ParityReport("r", "torch", STRICT, ()).failures == ("no clip was compared",)


def test_a_trace_survives_the_disk(reference: Trace, tmp_path: Path) -> None:
    reference.save(tmp_path / "trace.npz")
    loaded = Trace.load(tmp_path / "trace.npz")
    np.testing.assert_array_equal(loaded.stems, reference.stems)
    assert list(loaded.state) == list(reference.state)
    for slot, value in reference.state.items():
        np.testing.assert_array_equal(loaded.state[slot], value)


def test_references_and_clips_must_pair(clip: Clip, reference: Trace) -> None:
    with Faulty("none") as session, pytest.raises(ValueError, match="zip"):
        compare(session, [clip], [reference, reference], STRICT, "torch")


def result(**changes: Any) -> ClipParity:
    stem = StemParity("drums", 5.0, 5.0, 6.0, 6.0)
    values = {"clip": "c", "seconds": 1.0, "snr_db": 80.0, "max_abs_error": 0.0, "state_max_abs_error": {}}
    return ClipParity(**{**values, "stems": (stem,), **changes})


@pytest.mark.parametrize(
    ("snr_db", "passed"), [(60.0, True), (59.999, False), (math.inf, True), (-math.inf, False), (math.nan, False)]
)
def test_the_snr_threshold_is_inclusive_and_nan_fails(snr_db: float, passed: bool) -> None:
    assert ParityReport("r", "torch", STRICT, (result(snr_db=snr_db),)).passed is passed


@pytest.mark.parametrize(
    ("usdr", "csdr", "dsdr", "passed"),
    [
        (5.25, 6.0, 0.25, False),
        (5.0, 5.5, -0.5, False),
        (5.25, 5.5, -0.5, False),
        (5.0, math.nan, 0.0, True),
        (4.0, math.nan, -1.0, False),
        (math.nan, 6.125, 0.125, False),
        (5.0, 6.0078125, 0.0078125, True),
    ],
)
def test_dsdr_is_the_larger_change_of_usdr_and_csdr(usdr: float, csdr: float, dsdr: float, passed: bool) -> None:
    """A better SDR is a change too: the bundle is not the model any more."""
    stem = StemParity("drums", 5.0, usdr, 6.0, csdr)
    assert stem.dsdr == dsdr
    report = ParityReport("r", "torch", STRICT, (result(stems=(stem,)),))
    assert report.passed is passed
    assert report.clips[0].worst_dsdr == dsdr


def test_the_report_is_json(clip: Clip, reference: Trace) -> None:
    values = judge(Faulty("NaN once"), clip, reference, STRICT).to_dict()
    again = json.loads(json.dumps(values, allow_nan=False))
    assert again == values
    assert values["passed"] is False
    assert values["clips"][0]["snr_db"] is None
    assert values["clips"][0]["stems"][0]["source"] == "drums"
    assert values["thresholds"] == {"snr_db": 60.0, "dsdr_db": 0.01}
    assert len(values["failures"]) > 1


class TestThresholds:
    def test_the_issue_fixes_them(self) -> None:
        for target in ("onnx", "openvino", "tflite"):
            for weights in ("random", "trained"):
                assert thresholds_for(target, "float32", weights, "any") == Thresholds(60.0, 0.01)
            for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32"):
                assert thresholds_for(target, recipe, "random", "any") == Thresholds(snr_db=15.0)
                assert thresholds_for(target, recipe, "trained", "any") == Thresholds(15.0, 0.1)
            assert thresholds_for(target, "dynamic_wi4b64_wi8_afp32", "trained", "any") == Thresholds(10.0, 0.15)

    @pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
    def test_a_recipe_of_ones_own_has_those_of_mixed(self, target: str) -> None:
        assert thresholds_for(target, "auto", "trained", "any") == Thresholds(10.0, 0.1)
        assert thresholds_for(target, "mine", "random", "any") == Thresholds(snr_db=10.0)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("coreml", "float32", "random"), "target 'coreml', recipe 'float32', random weights"),
            (("torch", "static_wi8_ai8", "random"), "recipe 'static_wi8_ai8'"),
            (("onnx", "float32", "borrowed"), "borrowed weights; add it to thresholds.json"),
        ],
    )
    def test_a_missing_one_is_one_line(self, arguments: tuple[str, str, str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            thresholds_for(*arguments, runtime="any")

    @pytest.mark.parametrize(
        ("runtime", "key"), [("tflite-runtime 2.14.0", "tflite on tflite-runtime"), ("ai-edge-litert 2.3.0", "tflite")]
    )
    def test_the_older_interpreter_has_its_own(self, runtime: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        table = read_thresholds()
        table["tflite on tflite-runtime"]["float32"]["random"] = Thresholds(snr_db=1.0)
        monkeypatch.setattr("ddtasnet_edge.runtimes.thresholds.read_thresholds", lambda: table)
        assert thresholds_for("tflite", "float32", "random", runtime) == table[key]["float32"]["random"]


class TestRealBundles:
    """The gate as the compiler ran it on the `tiny` preset."""

    @pytest.mark.parametrize("each", EVERY, ids="-".join)
    def test_they_pass(self, each: tuple[str, str], tiny: Workshop) -> None:
        report, manifest = tiny.report(*each), tiny.bundle(*each).manifest
        assert report.failures == ()
        assert manifest.status == "verified"
        assert manifest.evidence["parity"] == report.to_dict()
        assert report.runtime.split()[0] in ("torch", "onnxruntime", "openvino", "ai-edge-litert")
        assert [len(clip.stems) for clip in report.clips] == [4]

    @pytest.mark.parametrize("each", QUANTIZED, ids="-".join)
    def test_quantized_is_really_quantized(self, each: tuple[str, str], tiny: Workshop) -> None:
        """A graph that stayed float would pass any gate."""
        (clip,) = tiny.report(*each).clips
        assert clip.snr_db < 60.0
