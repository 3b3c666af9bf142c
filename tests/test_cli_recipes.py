"""The command `ddtasnet-recipes`, and the options of `ddtasnet-export` for precisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ddtasnet_edge.export import cli as export_cli
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.quantize import cli
from tests.test_compiler import write_config

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, music: MusicChoice, calibration: Path) -> Run:
    """The command on the smallest model and little music."""
    model = write_config(tmp_path)

    def call(*arguments: str) -> int:
        given = ["--model", model, "--musdb", music.musdb, "--calibration", calibration, "--out", tmp_path / "out"]
        return cli.main([*map(str, given), *arguments])

    return call


class TestRecipes:
    def test_a_table_a_plot_and_json(self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plot, report = tmp_path / "recipes.png", tmp_path / "recipes.json"
        recipes = ["static_wi8_ai8", "dynamic_wi4b64_wi8_afp32"]
        assert run("--target", "onnx", "--recipe", *recipes, "--plot", str(plot), "--json", str(report)) == 0
        results = json.loads(report.read_text())
        assert [result["recipe"] for result in results] == recipes
        for result in results:
            assert (tmp_path / "out" / f"few-onnx-{result['recipe']}.edge").is_dir()
            assert result["worst_dsdr"] >= max(abs(change) for change in result["mean_dsdr"].values()) - 1e-9
            assert 0.0 < result["share"] < 1.0
        assert results[1]["weight_bytes"] < results[0]["weight_bytes"]
        table = capsys.readouterr().out
        assert all(recipe in table for recipe in recipes)
        assert plot.read_bytes().startswith(b"\x89PNG")

    def test_a_missed_threshold_is_exit_code_1(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        from ddtasnet_edge import compiler
        from ddtasnet_edge.runtimes.thresholds import Thresholds

        monkeypatch.setattr(compiler, "thresholds_for", lambda *_: Thresholds(snr_db=1000.0))
        assert run("--target", "onnx", "--recipe", "dynamic_wi8_afp32", "--quiet") == 1

    def test_how_much_music_calibration_takes(
        self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = tmp_path / "study.json"
        assert (
            run("--calibration-study", "--target", "tflite", "--recipe", "static_wi8_ai8", "--json", str(report)) == 0
        )
        results = json.loads(report.read_text())
        assert [result["seconds"] for result in results][:2] == [1.0, 2.0]
        assert {result["recipe"] for result in results} == {"static_wi8_ai8"}
        assert all(10.0 < result["snr_db"] < 80.0 for result in results)
        assert "rms dSDR" in capsys.readouterr().out
        assert not (tmp_path / "out").exists()

    def test_a_study_judges_on_music_of_its_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = write_config(tmp_path)
        assert cli.main(["--calibration-study", "--model", str(model), "--target", "onnx"]) == 2
        assert "judges on other music than it calibrates on; give --songs or --musdb" in capsys.readouterr().err

    def test_a_study_needs_true_stems(self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = write_config(tmp_path, sources=("voice", "rest"))
        assert run("--calibration-study", "--target", "onnx", "--model", str(model)) == 2
        assert "the study needs true stems, and none are known of" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--recipe", "int8"], "unknown recipe 'int8'"),
            (["--plot", "a.txt"], "--plot is a.txt"),
            (["--layers"], "--layers looks at one model on one target"),
            (["--calibration-study"], "--calibration-study looks at one model on one target"),
            (["--calibration-study", "--plot", "a.png"], "--calibration-study takes fixed recipes and prints a table"),
            (["--calibration-study", "--recipe", "auto"], "--calibration-study takes fixed recipes and prints a table"),
            (["--max-sdr-drop", "0"], "--max-sdr-drop is 0 dB, expected more than 0"),
        ],
    )
    def test_odd_options_are_one_line(
        self, run: Run, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err


class TestExportOptions:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--recipe", "auto", "--max-sdr-drop", "0"], "--max-sdr-drop is 0 dB, expected more than 0"),
            (["--recipe", "auto", "--max-sdr-drop", "-1"], "--max-sdr-drop is -1 dB, expected more than 0"),
            (["--int8", "--max-sdr-drop", "0.1"], "--max-sdr-drop is the budget of a search; add --recipe auto"),
            (["--recipe", "no.json"], "cannot read recipe no.json"),
        ],
    )
    def test_odd_options_are_one_line(
        self, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = write_config(tmp_path)
        assert export_cli.main(["--target", "onnx", "--model", str(model), *arguments]) == 2
        assert message in capsys.readouterr().err

    def test_a_recipe_file_with_an_unknown_layer_is_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"precision": "float32", "layers": {"time_mask": "dynamic_wi8_afp32"}}))
        model = write_config(tmp_path)
        assert export_cli.main(["--target", "onnx", "--model", str(model), "--recipe", str(path)]) == 2
        assert "the model has none such; did you mean 'time_mask.weight'?" in capsys.readouterr().err
