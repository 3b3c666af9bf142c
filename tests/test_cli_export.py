"""`ddtasnet-export`: what it leaves, prints and returns, and one line for everything that can be wrong."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ddtasnet_edge import cli as run_cli
from ddtasnet_edge import compiler
from ddtasnet_edge.bundle import MANIFEST, read_bundle
from ddtasnet_edge.config import DDTasNetConfig
from ddtasnet_edge.export import torch_exporter
from ddtasnet_edge.export.cli import main
from ddtasnet_edge.models.checkpoint import save_checkpoint
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.runtimes.thresholds import Thresholds
from tests.bundles import RATE, write_wav
from tests.evaluation import write_songs

CONFIG = DDTasNetConfig(units=16, bases=16)
COMMAND = Path(sys.executable).with_name("ddtasnet-export")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A configuration file of a model that compiles fast."""
    path = tmp_path / "few.json"
    path.write_text(json.dumps(CONFIG.to_dict()))
    return path


@pytest.fixture
def export(
    few: Path, music: MusicChoice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Export that model for target torch on short music; other arguments come last and so win."""

    def run(*arguments: object) -> tuple[int, str, str]:
        given = ["--target", "torch", "--model", few, "--out", tmp_path / "out", "--musdb", music.musdb, *arguments]
        code = main([str(argument) for argument in given])
        return code, *capsys.readouterr()

    return run


Export = Callable[..., tuple[int, str, str]]


class TestSuccess:
    def test_all_targets_as_a_command(self, music: MusicChoice, tmp_path: Path) -> None:
        assert music.musdb is not None
        done = subprocess.run(
            [COMMAND, "--target", "all", "--model", "tiny", "--musdb", music.musdb, "--out", "out"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "300"},
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        paths = [str(Path("out", f"tiny-{target}-float32.edge")) for target in ("onnx", "openvino", "tflite")]
        assert lines[-3:] == paths
        assert "Parity with PyTorch" in lines[0]
        assert all(Path(path).stem in done.stdout and " ok " in done.stdout for path in paths)
        assert "Traceback" not in done.stderr
        for path in paths:
            assert read_bundle(tmp_path / path).manifest.status == "verified"
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(Path(path).name for path in paths)

    def test_int8_means_the_calibrated_recipe(self, export: Export, calibration: Path, tmp_path: Path) -> None:
        code, out, _ = export("--target", "onnx", "--int8", "--calibration", calibration)
        assert code == 0
        bundle = read_bundle(tmp_path / "out" / "few-onnx-static_wi8_ai8.edge")
        assert out.splitlines()[-1] == str(bundle.path)
        assert bundle.manifest.quantization is not None
        assert bundle.manifest.quantization["calibration"]["clips"] == ["song.wav"]

    def test_quiet_prints_the_path_only(self, export: Export, tmp_path: Path) -> None:
        assert export("--quiet") == (0, f"{tmp_path / 'out' / 'few-torch-float32.edge'}\n", "")

    def test_it_says_what_it_compiles(self, export: Export) -> None:
        _, out, err = export()
        assert err.startswith("configuration few.json, random weights of seed 0: 0.")
        for shown in ("few-torch-float32", "drums", "vocals", "cSDR", "dSDR: change"):
            assert shown in out

    def test_json(self, export: Export, tmp_path: Path) -> None:
        code, out, _ = export("--json", tmp_path / "report.json")
        assert code == 0
        place = str(tmp_path / "out" / "few-torch-float32.edge")
        assert out.splitlines()[-1] == place
        written = json.loads((tmp_path / "report.json").read_text())
        assert written[place]["passed"] is True
        code, out, _ = export("--json", "-", "--force")
        assert code == 0
        assert json.loads(out) == written

    def test_tracks_and_excerpt(self, export: Export, tmp_path: Path) -> None:
        code, _, _ = export("--tracks", "The Easton Ellises - Falcon 69", "--excerpt", "0.5")
        assert code == 0
        evidence = read_bundle(tmp_path / "out" / "few-torch-float32.edge").manifest.evidence
        assert [clip["seconds"] for clip in evidence["parity"]["clips"]] == [0.5]

    def test_tracks_excerpt_and_subset_of_songs(self, few: Path, tmp_path: Path) -> None:
        write_songs(tmp_path / "songs")
        (tmp_path / "songs" / "test").rename(tmp_path / "songs" / "mine")
        options = ["--songs", tmp_path / "songs", "--subset", "mine", "--tracks", "song-1", "--excerpt", 0.5, "--quiet"]
        given = ["--target", "torch", "--model", few, "--out", tmp_path / "out", *options]
        assert main([str(argument) for argument in given]) == 0
        evidence = read_bundle(tmp_path / "out" / "few-torch-float32.edge").manifest.evidence
        assert [(clip["clip"], clip["seconds"]) for clip in evidence["parity"]["clips"]] == [("song-1", 0.5)]

    def test_help_has_examples(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as done:
            main(["--help"])
        assert done.value.code == 0
        assert "ddtasnet-export --target tflite --int8" in capsys.readouterr().out


class TestGate:
    @pytest.fixture(autouse=True)
    def impossible(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not even the reference changes by less than nothing."""
        monkeypatch.setattr(compiler, "thresholds_for", lambda *_: Thresholds(dsdr_db=-1.0))

    def test_a_missed_threshold_is_exit_1_and_the_bundle_stays(self, export: Export, tmp_path: Path) -> None:
        code, out, err = export()
        place = tmp_path / "out" / "few-torch-float32.edge"
        assert code == 1
        assert out.splitlines()[-1] == str(place)
        assert "FAILED" in out
        failures = [line for line in err.splitlines() if line.startswith("parity failed: few-torch-float32.edge: ")]
        assert len(failures) == 4, "one for each stem"
        assert read_bundle(place).manifest.status == "failed"

    def test_running_it_warns(self, export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        export()
        write_wav(tmp_path / "a.wav", np.zeros((2, RATE // 10), np.float32))
        place = tmp_path / "out" / "few-torch-float32.edge"
        assert run_cli.main([str(place), str(tmp_path / "a.wav"), "--out", str(tmp_path / "stems")]) == 0
        assert capsys.readouterr().err.startswith(f"warning: {place} failed its parity check")

    def test_quiet_still_tells(self, export: Export) -> None:
        code, _, err = export("--quiet")
        assert code == 1
        assert len(err.splitlines()) == 4


class Exploit:
    """Pickled code: it would make a folder when loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


class TestBadInput:
    def refused(self, export: Export, *arguments: object) -> str:
        """One line on stderr, nothing on stdout, exit code 2."""
        code, out, err = export("--quiet", *arguments)
        assert code == 2
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("error: ")
        return err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--model", "smal"], "unknown preset 'smal': expected one of tiny, small, base, large; did you mean 'sm"),
            (["--recipe", "static_wi8"], "unknown recipe 'static_wi8' and no .json file: "),
            (["--int8"], "target 'torch' has no quantized form; targets with one: onnx, openvino, tflite"),
            (["--model", "gone.safetensors"], "no checkpoint file at gone.safetensors"),
            (["--model", "song.mp3"], "song.mp3 is no model: expected a preset"),
            (["--musdb", "gone"], "no folder gone"),
            (["--subset", "tests"], "unknown subset 'tests': expected one of train, test; did you mean 'test'?"),
            (["--tracks", "Falcon"], "did you mean 'The Easton Ellises - Falcon 69'?"),
            (["--songs", "gone"], "both --musdb and --songs are given, expected one of them; leave one out"),
            (["--excerpt", "0"], "excerpt is 0.0 s"),
            (["--excerpt", "-1"], "excerpt is -1.0 s"),
            (["--excerpt", "nan"], "excerpt is nan s"),
            (["--target", "onnx", "--int8", "--calibration", "gone"], "cannot read folder gone"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_is_not_there(self, arguments: list[str], message: str, export: Export, tmp_path: Path) -> None:
        assert message in self.refused(export, *arguments)
        assert not (tmp_path / "out").exists()

    def test_checkpoints(self, export: Export, tmp_path: Path) -> None:
        good = tmp_path / "good.safetensors"
        save_checkpoint(create_model(CONFIG), good)
        (tmp_path / "short.safetensors").write_bytes(good.read_bytes()[:-1000])
        (tmp_path / "text.safetensors").write_text("words, not weights")
        (tmp_path / "folder.safetensors").mkdir()
        (tmp_path / "code.pt").write_bytes(pickle.dumps({"state_dict": Exploit(tmp_path / "exploited")}))
        (tmp_path / "broken.json").write_text("{")
        (tmp_path / "odd.json").write_text('{"units": 16, "bases": 16, "hop_lenght": 256}')
        state = create_model(CONFIG).state_dict()
        other = {**CONFIG.to_dict(), "units": 24}
        torch.save({"state_dict": state, "config": other}, tmp_path / "other.pt")
        for name, message in {
            "short.safetensors": "is damaged",
            "text.safetensors": "is damaged",
            "folder.safetensors": "no checkpoint file at",
            "code.pt": "is refused: it is damaged, or holds Python objects that could run code",
            "broken.json": "cannot read model configuration",
            "odd.json": "unknown model setting 'hop_lenght'",
            "other.pt": "does not fit its configuration: ",
        }.items():
            line = self.refused(export, "--model", tmp_path / name)
            assert message in line
            assert name in line or name == "odd.json"
        assert line.count("has shape") == 5, "the first five that differ"
        assert not (tmp_path / "exploited").exists()

    def test_too_little_calibration_music(self, export: Export, tmp_path: Path) -> None:
        (tmp_path / "songs").mkdir()
        write_wav(tmp_path / "songs" / "a.wav", np.zeros((2, RATE // 2), np.float32))
        arguments = ("--target", "onnx", "--int8", "--calibration", tmp_path / "songs")
        assert "a.wav lasts 0.50 s, expected at least 1 s; give songs" in self.refused(export, *arguments)

    def test_an_existing_bundle_needs_force(self, export: Export, tmp_path: Path) -> None:
        assert export()[0] == 0
        manifest = tmp_path / "out" / "few-torch-float32.edge" / MANIFEST
        before = manifest.stat()
        assert "exists already; choose another --out or replace it with --force" in self.refused(export)
        assert manifest.stat() == before
        assert export("--force")[0] == 0
        assert manifest.stat() != before

    def test_an_existing_bundle_is_met_before_any_work(self, export: Export, tmp_path: Path) -> None:
        """Also when it is the last of three."""
        (tmp_path / "out" / "few-tflite-float32.edge").mkdir(parents=True)
        assert "few-tflite-float32.edge exists already" in self.refused(export, "--target", "all")
        assert len(list((tmp_path / "out").iterdir())) == 1

    def test_an_unwritable_output(self, export: Export, few: Path) -> None:
        place = few / "out" / "few-torch-float32.edge"
        assert f"cannot write {place}: Not a directory" in self.refused(export, "--out", few / "out")

    def test_a_full_disk(self, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_space(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", no_space)
        assert "No space left on device; free space or choose another" in self.refused(export)
        assert list((tmp_path / "out").iterdir()) == []

    def test_without_torch(self, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ddtasnet_edge.dependencies.find_spec", lambda name: None if name == "torch" else name)
        assert "exporting needs torch, which is not installed; pip install 'ddtasnet-edge[export]'" in self.refused(
            export
        )

    @pytest.mark.parametrize(
        "arguments", [["--tracks", "a"], ["--excerpt", "3"], ["--excerpt", "0"], ["--subset", "train"]], ids=" ".join
    )
    def test_options_of_a_folder_need_a_folder(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--target", "torch", "--model", "tiny", *arguments]) == 2
        assert "name its folder with --musdb or --songs" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--target", "tflight"], "invalid choice: 'tflight'"),
            ([], "the following arguments are required: --target"),
            (["--target", "onnx", "--int8", "--recipe", "dynamic_wi8_afp32"], "not allowed with argument --int8"),
            (["--target", "onnx", "--excerpt", "long"], "invalid float value: 'long'"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_usage(self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as done:
            main(arguments)
        assert done.value.code == 2
        assert message in capsys.readouterr().err

    def test_debug_shows_where(self, export: Export) -> None:
        code, _, err = export("--model", "smal", "--debug")
        assert code == 2
        assert "Traceback" in err


def test_ctrl_c_leaves_nothing(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch_exporter, "export_graph", interrupted)
    code, out, err = export("--quiet")
    assert (code, out, err) == (130, "", "interrupted; nothing half-written was kept\n")
    assert list((tmp_path / "out").iterdir()) == []
