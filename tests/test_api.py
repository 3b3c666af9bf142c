"""`de.compile`, `de.load` and `open_session` as a program uses them, and one line for every bundle that is damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import ddtasnet_edge as de
from ddtasnet_edge import compiler
from ddtasnet_edge.bundle import MANIFEST, read_bundle, record_files
from ddtasnet_edge.cli import main as run_main
from ddtasnet_edge.config import DDTasNetConfig
from ddtasnet_edge.errors import BundleError, ConfigError, EdgeError, GateError, MissingDependencyError
from ddtasnet_edge.export import EXPORTERS
from ddtasnet_edge.runtimes import RUNTIMES, open_session
from ddtasnet_edge.runtimes.thresholds import Thresholds
from ddtasnet_edge.spec import FloatArray
from tests.bundles import EVERY, FLOAT, RATE, Workshop, write_wav
from tests.evaluation import write_songs

Each = tuple[str, str]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A configuration file of a model that compiles fast."""
    path = tmp_path / "few.json"
    path.write_text(json.dumps(DDTasNetConfig(units=16, bases=16).to_dict()))
    return path


def copy_of(workshop: Workshop, each: Each, folder: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(workshop.bundle(*each).path, folder / "copy.edge"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((bundle / MANIFEST).read_text())
    change(values)
    (bundle / MANIFEST).write_text(json.dumps(values))


def refusal(bundle: Path, kind: type[EdgeError] = BundleError) -> str:
    """The one line with which a bundle is refused: by `open_session`, by `de.load` and by `ddtasnet-run`."""
    with pytest.raises(kind) as caught:
        open_session(bundle)
    line = str(caught.value)
    assert "\n" not in line
    with pytest.raises(kind) as again:
        de.load(bundle)
    assert str(again.value) == line
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        write_wav(Path(folder, "song.wav"), np.zeros((2, RATE // 10), np.float32))
        assert run_main([str(bundle), f"{folder}/song.wav", "--out", f"{folder}/stems"]) == 2
        assert not Path(folder, "stems").exists()
    assert (out.getvalue(), err.getvalue()) == ("", f"error: {line}\n")
    return line


class TestUse:
    def test_compile_then_load(self, few: Path, tmp_path: Path, song: FloatArray) -> None:
        """As the README has it, with the default clip."""
        path = de.compile(few, target="onnx", recipe="dynamic_wi8_afp32", out=str(tmp_path / "build"))
        assert path == tmp_path / "build" / "few-onnx-dynamic_wi8_afp32.edge"
        assert read_bundle(path).manifest.status == "verified"
        with pytest.raises(EdgeError, match="exists already"):
            de.compile(few, target="onnx", recipe="dynamic_wi8_afp32", out=tmp_path / "build")
        runner = de.load(path, num_threads=1)
        assert (runner.spec.sample_rate, runner.spec.hop_length, runner.spec.algorithmic_latency) == (44100, 512, 512)
        assert runner.spec.sources == ("drums", "bass", "other", "vocals")
        stems = np.concatenate([runner.feed(song), runner.flush()], axis=-1)
        assert stems.shape == (4, *song.shape)
        assert runner.session.step(np.ascontiguousarray(song[:, :512])).shape == (4, 2, 512)
        runner.reset()
        np.testing.assert_array_equal(np.concatenate([runner.feed(song), runner.flush()], axis=-1), stems)
        runner.close()

    def test_a_missed_gate_raises_and_keeps_the_bundle(
        self, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "few-torch-float32.edge").mkdir()
        monkeypatch.setattr(compiler, "thresholds_for", lambda *_: Thresholds(dsdr_db=-1.0))
        with pytest.raises(GateError, match=r"few-torch-float32\.edge missed its parity .*drums.*; .*vocals") as caught:
            de.compile(few, target="torch", out=tmp_path, force=True)
        assert caught.value.exit_code == 1
        assert "\n" not in str(caught.value)
        bundle = read_bundle(tmp_path / "few-torch-float32.edge")
        assert bundle.manifest.status == "failed"
        assert len(bundle.manifest.evidence["parity"]["failures"]) == 4
        open_session(bundle).close()

    def test_the_music_to_verify_on(self, few: Path, tmp_path: Path) -> None:
        """Folders as strings, as a program has them."""
        songs, place = str(write_songs(tmp_path / "songs")), tmp_path / "build"
        path = de.compile(few, target="torch", out=place, songs=songs, tracks=["song-1"], excerpt=0.5)
        clips = read_bundle(path).manifest.evidence["parity"]["clips"]
        assert [(clip["clip"], clip["seconds"]) for clip in clips] == [("song-1", 0.5)]
        with pytest.raises(ConfigError, match="both --musdb and --songs are given"):
            de.compile(few, target="torch", out=tmp_path / "other", songs=songs, musdb="anything")
        assert not (tmp_path / "other").exists()

    def test_without_torch_compile_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ddtasnet_edge.dependencies.find_spec", lambda name: None if name == "torch" else name)
        with pytest.raises(MissingDependencyError, match=r"compiling needs torch, .*'ddtasnet-edge\[export\]'"):
            de.compile("tiny")


class TestDamage:
    @pytest.mark.parametrize("each", FLOAT, ids="-".join)
    def test_a_flipped_byte(self, each: Each, tiny: Workshop, tmp_path: Path) -> None:
        path = copy_of(tiny, each, tmp_path)
        graph = read_bundle(path).graph_path
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
        assert f"{graph} has sha256" in refusal(path)

    @pytest.mark.parametrize("each", FLOAT, ids="-".join)
    def test_a_missing_file(self, each: Each, tiny: Workshop, tmp_path: Path) -> None:
        path = copy_of(tiny, each, tmp_path)
        last = list(read_bundle(path).manifest.files)[-1]
        (path / last).unlink()
        assert f"{last} is missing" in refusal(path)

    def test_an_unknown_schema(self, tiny: Workshop, tmp_path: Path) -> None:
        path = copy_of(tiny, FLOAT[0], tmp_path)
        edit(path, lambda values: values.update(schema=99))
        assert "has schema 99, this version reads schema 1 and 2" in refusal(path)

    def test_an_unknown_target(self, tiny: Workshop, tmp_path: Path) -> None:
        path = copy_of(tiny, FLOAT[0], tmp_path)
        edit(path, lambda values: values.update(target="onxx"))
        assert "is for target 'onxx': expected one of torch, onnx, openvino, tflite; did you mean 'onnx'?" in refusal(
            path
        )

    @pytest.mark.parametrize("each", FLOAT, ids="-".join)
    def test_a_graph_that_is_none_but_has_the_right_hash(self, each: Each, tiny: Workshop, tmp_path: Path) -> None:
        path = copy_of(tiny, each, tmp_path)
        bundle = read_bundle(path)
        bundle.graph_path.write_bytes(b"no graph at all")
        records = {name: vars(record) for name, record in record_files(path, tuple(bundle.manifest.files)).items()}
        edit(path, lambda values: values.update(files=records))
        assert str(bundle.graph_path) in refusal(path, EdgeError)

    @pytest.mark.parametrize("each", EVERY, ids="-".join)
    def test_a_graph_of_another_model(self, each: Each, tiny: Workshop, tmp_path: Path) -> None:
        """Every file whole, but the manifest describes other tensors."""
        path = copy_of(tiny, each, tmp_path)
        edit(path, lambda values: values["spec"]["slots"][3].update(shape=[1, 63, 31]))
        assert "has shape" in refusal(path)
        edit(path, lambda values: values["spec"]["slots"].pop(3))
        message = refusal(path)
        assert "the manifest says none" in message
        assert "export the bundle again" in message


class TestWithoutARuntime:
    @pytest.mark.parametrize("each", FLOAT, ids="-".join)
    def test_a_bundle_says_what_it_needs(self, each: Each, tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        _, packages, extra = RUNTIMES[each[0]]
        monkeypatch.setattr(
            "ddtasnet_edge.runtimes.registry.find_spec", lambda name: None if name in packages else name
        )
        message = refusal(tiny.bundle(*each).path, MissingDependencyError)
        assert f"needs {' or '.join(packages)}, which is not installed" in message
        assert f"pip install 'ddtasnet-edge[{extra}]'" in message
        usable = message.partition("usable targets here: ")[2].partition(")")[0].split(", ")
        assert set(usable) == set(RUNTIMES) - {each[0]}

    def test_with_none_at_all(self, tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ddtasnet_edge.runtimes.registry.find_spec", lambda _: None)
        assert "usable targets here: none" in refusal(tiny.bundle("onnx", "float32").path, MissingDependencyError)

    def test_compiled_targets_run_where_torch_is_not_installed(self, tiny: Workshop) -> None:
        """In an interpreter that cannot import torch, on every compiled target."""
        paths = [str(tiny.bundle(target, "float32").path) for target, _ in FLOAT if target != "torch"]
        code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
import ddtasnet_edge as de
for path in {paths}:
    runner = de.load(path)
    stems = runner.feed(np.full((2, 2048), 0.1, np.float32))
    assert stems.shape == (4, 2, 1536) and np.abs(stems).max() > 0, path
    runner.close()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_nothing_reports_usage_over_the_network() -> None:
    """OpenVINO would, from the moment it is imported."""
    code = f"""
import sys
from ddtasnet_edge.export import exporter_for
from ddtasnet_edge.quantize import quantizer_for
for target in {list(EXPORTERS)}:
    exporter_for(target)
quantizer_for("openvino")
assert "openvino" in sys.modules
assert not [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module is not None]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_onnxruntime_writes_no_number_of_this_device(tmp_path: Path) -> None:
    """It would, and report to its makers, from the moment it is imported."""
    code = """
from ddtasnet_edge.dependencies import import_backend
import_backend("ddtasnet_edge.runtimes.onnx_session")
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
