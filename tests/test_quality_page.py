"""The quality page: figures of the files beside the commands that made them."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge import console
from ddtasnet_edge.clips import DEFAULT_NOTE
from ddtasnet_edge.evaluation.drift_against import PairedDrift, PairedMinute
from ddtasnet_edge.evaluation.drift_report import DriftReport, Minute
from ddtasnet_edge.evaluation.quality_page import main
from ddtasnet_edge.evaluation.quality_sections import SECTIONS
from ddtasnet_edge.evaluation.report import EvalReport
from ddtasnet_edge.evaluation.scores import Leakage, Scores, StemChange, StemResult, TrackResult
from ddtasnet_edge.quantize.compare import RecipeResult
from ddtasnet_edge.song_folder import SONG_NOTE

SOURCES = ("drums", "bass")
Cells = list[list[str]]


def track(name: str, usdr: float) -> TrackResult:
    """A floor of -4 dB, `usdr` for drums and a decibel less for bass, a ceiling of 9 dB."""
    stems = tuple(
        StemResult(source, Scores(-4.0, -4.0), Scores(usdr - index, usdr - index), Scores(9.0, 9.0))
        for index, source in enumerate(SOURCES)
    )
    return TrackResult(name, 16.0, "0" * 64, stems)


def report(name: str, *usdrs: float, music: str = SONG_NOTE) -> EvalReport:
    tracks = tuple(track(f"song-{index}", usdr) for index, usdr in enumerate(usdrs))
    return EvalReport(name, "trained", f"preset {name}", music, "test", False, "the mask", tracks, ())


def drift(*usdrs: float, against: PairedDrift | None = None) -> DriftReport:
    minutes = tuple(Minute(usdr, {"memory": 0.5 + index / 10}) for index, usdr in enumerate(usdrs))
    return DriftReport(44032, minutes, (-20.0, -math.inf), (1.5, 2.0), (1.25, 2.0), against)


def paired(*dsdrs: float, snr: float = 40.0) -> PairedDrift:
    return PairedDrift(tuple(PairedMinute({"drums": d, "bass": -d}, {"memory": snr, "age": math.inf}) for d in dsdrs))


def bundle_report() -> EvalReport:
    """Drums lose 0.02 dB in the first song and 0.04 in the second; bass is silent in both."""
    changes = [
        (
            StemChange("drums", 5.0, 5.0 - loss, 5.0, 5.0, 30.0, Leakage(0, 0.0, 0.0, 0.0)),
            StemChange("bass", math.nan, math.nan, math.nan, math.nan, 20.0, Leakage(3, 100.0, 1.0, 10.0)),
        )
        for loss in (0.02, 0.04)
    ]
    base = report("tiny-tflite-static_wi8_ai8", 5.0, 5.0)
    tracks = tuple(replace(one, changes=each) for one, each in zip(base.tracks, changes, strict=True))
    return replace(base, tracks=tracks, against="tiny")


def recipe(target: str, worst: float, passed: bool = True) -> RecipeResult:
    return RecipeResult(
        "tiny", "static_wi8_ai8", target, 650_000, 0.303, 31.0, {"drums": 0.01, "bass": -0.02}, worst, "bass", passed
    )


FILES: dict[str, list[Any]] = {
    "separation": [
        report("small", 5.0, 7.0).to_dict(),
        report("small", 3.0, music=DEFAULT_NOTE).to_dict(),
        report("tiny", 4.0, 5.0).to_dict(),
        report("tiny", 2.0, music=DEFAULT_NOTE).to_dict(),
    ],
    "streams": [replace(report("tiny", 5.0), drift=drift(3.0, 3.25, 3.5)).to_dict()],
    "recipes": [[asdict(recipe("onnx", 0.049))], [asdict(recipe("tflite", 0.2, passed=False))]],
    "drift": [
        replace(
            report("tiny-onnx-static_wi8_ai8", 5.0, music=DEFAULT_NOTE),
            drift=drift(3.0, 3.0, 3.0, against=paired(0.001, 0.5, 0.002, snr=21.5)),
            against="tiny",
        ).to_dict()
    ],
    "changes": [bundle_report().to_dict()],
}


def page(folder: Path, *names: str) -> str:
    options: list[str] = []
    for name in names:
        paths = [folder / f"{name}-{index}.json" for index in range(len(FILES[name]))]
        for path, values in zip(paths, FILES[name], strict=True):
            console.write_json(str(path), values)
        options += [f"--{name}", *map(str, paths)]
    assert main([*options, "--out", str(folder / "PAGE.md")]) == 0
    return (folder / "PAGE.md").read_text()


def tables(text: str) -> list[Cells]:
    """The cells of every table, headers first, rules left out."""
    found: list[Cells] = []
    before = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        before = line
    return [[table[0], *table[2:]] for table in found]


def test_models_stand_between_floor_and_ceiling_of_the_same_music(tmp_path: Path) -> None:
    text = page(tmp_path, "separation")
    (table,) = tables(text)
    assert table == [
        ["music", "what", "drums", "bass", "mean"],
        ["2 test tracks", "floor", "-4.00", "-4.00", "-4.00"],
        ["", "`small`", "6.00", "5.00", "5.50"],
        ["", "`tiny`", "4.50", "3.50", "4.00"],
        ["", "ceiling", "9.00", "9.00", "9.00"],
        ["song-0", "floor", "-4.00", "-4.00", "-4.00"],
        ["", "`small`", "3.00", "2.00", "2.50"],
        ["", "`tiny`", "2.00", "1.00", "1.50"],
        ["", "ceiling", "9.00", "9.00", "9.00"],
    ]
    assert "ddtasnet-eval small --songs songs --json FILE\nddtasnet-eval small --json FILE\n" in text


def test_other_music_is_another_block_and_its_split_is_in_the_command(tmp_path: Path) -> None:
    other = replace(report("small", 1.0, 1.0), split="validation")
    other = replace(other, tracks=tuple(replace(track, sha256="1" * 64) for track in other.tracks))
    for name, values in (("tests", report("tiny", 4.0, 5.0)), ("others", other)):
        console.write_json(str(tmp_path / f"{name}.json"), values.to_dict())
    files = [str(tmp_path / "tests.json"), str(tmp_path / "others.json")]
    assert main(["--separation", *files, "--out", str(tmp_path / "PAGE.md")]) == 0
    text = (tmp_path / "PAGE.md").read_text()
    (table,) = tables(text)
    assert [row[:3] for row in table[1:]] == [
        ["2 test tracks", "floor", "-4.00"],
        ["", "`tiny`", "4.50"],
        ["", "ceiling", "9.00"],
        ["2 validation tracks", "floor", "-4.00"],
        ["", "`small`", "1.00"],
        ["", "ceiling", "9.00"],
    ]
    assert "ddtasnet-eval small --songs songs --split validation --json FILE" in text


def test_streams_show_every_minute_and_what_follows_silence(tmp_path: Path) -> None:
    text = page(tmp_path, "streams")
    minutes, silence, state = tables(text)
    assert minutes == [["model", "1", "2", "3"], ["tiny", "3.00", "3.25", "3.50"]]
    assert silence[1][:4] == ["tiny", "1.25", "1.50", "0"]
    assert "grew from 0.6 in minute 2 to 0.7 in minute 3" in silence[1][4]
    assert "mean uSDR went from 3.00 dB" in silence[1][4]
    assert state == [["slot", "`tiny` 1", "`tiny` 2", "`tiny` 3"], ["`memory`", "0.5", "0.6", "0.7"]]
    assert "ddtasnet-eval tiny --songs songs --drift 3 --json FILE" in text


def test_recipes_of_several_files_are_one_table_and_a_failure_is_shown(tmp_path: Path) -> None:
    text = page(tmp_path, "recipes")
    ((_, onnx, tflite),) = tables(text)
    assert (onnx[2], onnx[7], onnx[-1]) == ("onnx", "0.049", "ok")
    assert (tflite[2], tflite[7], tflite[-1]) == ("tflite", "0.200", "FAILED")
    assert "ddtasnet-recipes --model tiny --songs songs --recipe static_wi8_ai8 --json FILE" in text
    assert (tmp_path / "quality-recipes.png").stat().st_size > 1000


def test_drift_shows_the_first_and_the_last_minute_and_the_worst_slot(tmp_path: Path) -> None:
    text = page(tmp_path, "drift")
    ((columns, cells),) = tables(text)
    assert columns == ["bundle", "drums 1", "drums 3", "bass 1", "bass 3", "lowest SNR"]
    assert cells == ["`tiny-onnx-static_wi8_ai8`", "+0.001", "+0.002", "-0.001", "-0.002", "21.5"]
    assert "ddtasnet-eval build/BUNDLE.edge --against tiny --drift 3 --json FILE" in text


def test_changes_show_the_range_over_songs_and_leakage(tmp_path: Path) -> None:
    text = page(tmp_path, "changes")
    ((columns, drums, bass),) = tables(text)
    cells = dict(zip(columns, drums, strict=True))
    assert (cells["change"], cells["dSDR from"], cells["to"]) == ("-0.030", "-0.040", "-0.020")
    assert columns[-3:] == ["leakage before", "after", "silent s"]
    assert bass[-3:] == ["-20.00", "-10.00", "6"]
    assert bass[1] == "-"
    assert "ddtasnet-eval build/BUNDLE.edge --against tiny --songs songs --json FILE" in text


def test_all_sections_in_their_order(tmp_path: Path) -> None:
    text = page(tmp_path, *SECTIONS)
    assert text.count("\n## ") == len(SECTIONS) == len(FILES)
    assert str(tmp_path) not in text


def test_a_report_without_the_drift_that_a_section_shows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.write_json(str(tmp_path / "plain.json"), report("tiny", 5.0).to_dict())
    for name in ("streams", "drift", "changes"):
        assert main([f"--{name}", str(tmp_path / "plain.json"), "--out", str(tmp_path / "PAGE.md")]) == 2
        assert f"give what {SECTIONS[name].origin} --json wrote" in capsys.readouterr().err


def test_the_page_in_the_docs_is_what_its_files_make(tmp_path: Path) -> None:
    docs = Path(__file__).parents[1] / "docs"
    text = (docs / "QUALITY.md").read_text()
    command = shlex.split(text.split("```sh\n")[1].split("```")[0].replace("\\\n", ""))
    options = [str(docs / "quality" / word) if word.endswith(".json") else word for word in command[3:-1]]
    assert main([*options, str(tmp_path / "QUALITY.md")]) == 0
    assert (tmp_path / "QUALITY.md").read_text() == text
    assert {path.name for path in (docs / "quality").iterdir()} <= {Path(word).name for word in options}
