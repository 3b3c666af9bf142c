"""The answer: what runs in time on which board, and the pages that show it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge.benchmarks.estimate import page as page_module
from ddtasnet_edge.benchmarks.estimate import plot
from ddtasnet_edge.benchmarks.estimate.answer import (
    COLUMNS,
    ESTIMATED,
    MEASURED,
    NO,
    PERHAPS,
    YES,
    Answer,
    Goal,
    Verdict,
    answer,
    from_result,
    notes,
)
from ddtasnet_edge.benchmarks.estimate.cost import StepCost, Work
from ddtasnet_edge.benchmarks.estimate.page import main, make_page
from ddtasnet_edge.benchmarks.estimate.plot import plot_answer
from ddtasnet_edge.benchmarks.estimate.profile import load_profiles
from ddtasnet_edge.errors import ConfigError
from tests.test_bench_report import a_result, a_round
from tests.test_estimate import board, figure
from tests.test_estimate_host import probe, probes, report

ROOT = Path(__file__).parent.parent
# On the board of the tests, microseconds per hop beside a session of 5: 400, 900 and 3600.
COSTS = [
    StepCost("small", "tflite", "int8", 1000.0, (Work("int8", 0, 395_000),), 0, 0, 100),
    StepCost("large", "tflite", "int8", 1000.0, (Work("int8", 0, 895_000),), 0, 0, 100),
    StepCost("large", "tflite", "float32", 1000.0, (Work("float32", 4, 3_595_000),), 0, 0, 100),
]


def found(goal: Goal | None = None) -> Answer:
    return answer([board()], COSTS, goal=goal)


def test_a_row_has_what_a_user_asks_for() -> None:
    columns = dict(zip(COLUMNS, found().rows()[0], strict=True))
    assert (columns["board"], columns["model"], columns["how"]) == ("board", "small", ESTIMATED)
    assert (columns["ms"], columns["budget"], columns["RTF"]) == ("0.400", "1.000", "0.400")
    assert (columns["cores"], columns["late"], columns["MB"]) == ("1", NO, "56")


def test_headroom_decides_and_not_the_budget_alone() -> None:
    small, large, float32 = found().verdicts
    assert [verdict.has_headroom for verdict in (small, large, float32)] == [True, False, False]
    assert [verdict.late for verdict in (small, large, float32)] == [NO, NO, YES]
    assert [verdict.cores for verdict in (small, large, float32)] == [1, 2, None]
    assert found().largest("board") == small


def test_a_longer_budget_lets_a_larger_model_in() -> None:
    for goal in (Goal(budget_ms=2.0), Goal(sample_rate=48000, hop=96)):
        largest = found(goal).largest("board")
        assert largest is not None
        assert (largest.model, largest.recipe) == ("large", "int8")
    finest = found(Goal(budget_ms=10.0)).largest("board")
    assert finest is not None
    assert finest.recipe == "float32"


def test_the_sentence_names_the_largest_and_calls_it_estimated() -> None:
    (sentence,) = found().sentences()
    assert "small int8 (tflite), 0.400 ms of 1.000 ms, estimated (0.400 to 0.400)" in sentence


def test_a_board_that_nothing_suits_says_so() -> None:
    (sentence,) = found(Goal(budget_ms=0.01)).sentences()
    assert sentence == "Board: nothing here runs in real time on one core with 30% headroom"
    assert found(Goal(budget_ms=0.01)).to_dict()["boards"][0]["largest"] is None


def test_a_band_over_the_budget_is_neither_late_nor_in_time() -> None:
    unsure = board(macs__int8=figure(1.0, 0.4))
    assert [verdict.late for verdict in answer([unsure], COSTS[:2]).verdicts] == [NO, PERHAPS]


def test_what_was_measured_is_not_estimated() -> None:
    first = measured([300.0, 350.0, 2000.0])
    assert (first.how, first.us, first.low_us, first.late) == (MEASURED, 350.0, 300.0, YES)
    given = Answer({"board": "Board"}, (first, *found().verdicts[1:]))
    (sentence,) = given.sentences()
    assert sentence.endswith(
        "small int8 (tflite, small-tflite-float32.edge), 0.350 ms of 1.000 ms, measured, some hops late"
    )
    assert "estimated" not in sentence


def measured(times: list[float], threads: int = 1) -> Verdict:
    """The small bundle, of which 405 us are expected on one core and 204 us on two."""
    result = replace(a_result("tflite", times), model="small", recipe="int8")
    return from_result(board(), COSTS[0], result, 1000.0, threads)


def test_a_measurement_that_misses_headroom_never_says_one_core() -> None:
    assert [measured([us]).cores for us in (400.0, 699.0, 800.0, 1500.0, 4000.0)] == [1, 1, 2, 3, None]


def test_what_several_threads_took_is_scaled_to_fewer_and_named() -> None:
    fast, slow = measured([200.0], threads=2), measured([500.0], threads=2)
    assert [fast.cores, slow.cores] == [1, 2]
    assert dict(zip(COLUMNS, slow.row(), strict=True))["how"] == "measured, 2 threads"
    assert Answer({"board": "Board"}, (fast,)).largest("board") is None


def test_a_measurement_without_a_peak_takes_the_estimate() -> None:
    result = replace(a_result("tflite", [1.0]), rounds=(a_round([1.0], peak_rss_bytes=None),))
    assert from_result(board(), COSTS[0], result, 1000.0).peak_bytes == found().verdicts[0].peak_bytes


def test_what_does_not_fit_the_memory_is_not_the_largest() -> None:
    huge = replace(COSTS[0], model="huge", work=(Work("int8", 0, 400_000),), size_bytes=600 << 20)
    assert answer([board()], [*COSTS, huge]).largest("board") == found().verdicts[0]
    roomy = answer([replace(board(), memory_mb=4096)], [*COSTS, huge]).largest("board")
    assert roomy is not None
    assert roomy.model == "huge"


def test_headroom_that_only_the_middle_of_the_band_has_is_probable() -> None:
    sure, unsure = (answer([board(macs__int8=figure(1.0, spread))], COSTS[:1]).sentences()[0] for spread in (0.1, 0.5))
    assert "headroom is small int8" in sure
    assert "headroom is probably small int8" in unsure


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget_ms": 0.0}, "--budget-ms is 0.0"),
        ({"sample_rate": 0, "hop": 1}, "--sr is 0: expected a number above zero"),
        ({"hop": 512}, "give both"),
        ({"sample_rate": 48000}, "give both"),
        ({"budget_ms": 1.0, "sample_rate": 48000, "hop": 64}, "two budgets"),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Goal(**given)  # type: ignore[arg-type]


def test_an_answer_is_plain_json() -> None:
    values = json.loads(json.dumps(found().to_dict()))
    assert values["boards"][0]["largest"]["model"] == "small"
    assert values["boards"][0]["sentence"] == found().sentences()[0]
    assert [verdict["rtf"] for verdict in values["verdicts"]] == pytest.approx([0.4, 0.9, 3.6], abs=0.01)


def test_notes_name_the_boards_and_call_estimates_by_their_name() -> None:
    lines = notes([board()])
    assert lines[0].startswith("board: Board, Chip")
    assert lines[-1].startswith("estimated:")


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "devices.png"
    plot_answer(answer([board(), replace(board(), name="twin")], COSTS), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_bundles_of_the_run_are_seen_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come first, and some recipes take the very same time."""
    drawn: list[Any] = []
    monkeypatch.setattr(plot, "save_figure", lambda figure, _: drawn.append(figure))
    verdict = found().verdicts[0]
    own = [replace(verdict, model=model, bundle=f"{model}.edge") for model in ("small", "mine")]
    presets = [
        replace(verdict, model=model, target=target, recipe=recipe)
        for model in ("large", "tiny", "base", "small")
        for target in ("tflite", "onnx")
        for recipe in ("float32", "static", "dynamic")
    ]
    plot_answer(Answer({"board": "Board"}, (*own, *presets)), Path("answer.png"))
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["tiny", "small", "base", "large", "mine"]
    points = [container.lines[0] for container in axes.containers]
    places = [point.get_xdata()[0] for point in points]
    assert len({round(place, 3) for place in places}) == len(presets) + len(own)
    assert [round(place) for place in places[:2]] == [1, 4]
    heaviest_preset = max(points[2:], key=lambda point: (point.get_zorder(), point.get_markersize()))
    for point in points[:2]:
        assert point.get_zorder() > heaviest_preset.get_zorder()
        assert point.get_markersize() > heaviest_preset.get_markersize()


def test_the_page_is_what_its_files_make() -> None:
    values = json.loads((ROOT / "docs/performance/estimate.json").read_text())
    assert make_page(values) == (ROOT / "docs/DEVICES.md").read_text()


def test_the_page_shows_every_board_with_the_source_of_every_figure(tmp_path: Path) -> None:
    validation = tmp_path / "estimate.json"
    host = report([*probes(), probe("tiny", 500_000, "int8")])
    validation.write_text(json.dumps({"published": [], "host": host.to_dict()}))
    out = tmp_path / "DEVICES.md"
    assert main(["--validation", str(validation), "--out", str(out)]) == 0
    text = out.read_text()
    for profile in load_profiles():
        assert f"### `{profile.name}`: {profile.title}" in text
        assert all(f"| {name} | {each.value:g} |" in text for name, each in profile.figures.items())
        assert all(each.source in text for each in profile.figures.values())
    assert (tmp_path / page_module.PICTURE).exists()


def test_values_of_another_command_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}")
    assert main(["--validation", str(path), "--out", str(tmp_path / "DEVICES.md")]) == 2
    assert "give what the validation wrote" in capsys.readouterr().err
