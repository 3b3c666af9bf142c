"""The compiler and the two calls of the package: what a bundle says, other models, and every way to fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddtasnet_edge import clips
from ddtasnet_edge import compiler as compiling
from ddtasnet_edge.bundle import MANIFEST, read_bundle
from ddtasnet_edge.compiler import Compiler
from ddtasnet_edge.config import MUSDB_SOURCES, DDTasNetConfig
from ddtasnet_edge.errors import (
    AudioError,
    CheckpointError,
    ConfigError,
    EdgeError,
    ExportError,
    MissingDependencyError,
)
from ddtasnet_edge.export import onnx_exporter, torch_exporter
from ddtasnet_edge.export.passes import passes_of, with_passes
from ddtasnet_edge.models.checkpoint import save_checkpoint
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.quantize import FLOAT32, recipe_named
from ddtasnet_edge.quantize.recipe import DYNAMIC_INT8
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.thresholds import Thresholds
from ddtasnet_edge.song_folder import SONG_NOTE
from tests.bundles import Workshop
from tests.evaluation import write_songs

OTHER_MODELS: dict[str, dict[str, Any]] = {
    "hop 256": {"hop_length": 256},
    "hop 128": {"hop_length": 128},
    "lstm": {"cell": "lstm"},
    "mono, two sources": {"channels": 1, "sources": ("vocals", "drums")},
    "mono, one source": {"channels": 1, "sources": ("vocals",)},
    "unknown sources": {"sources": ("voice", "rest")},
}


def few_units(**changes: Any) -> DDTasNetConfig:
    """The smallest model with the published window."""
    return DDTasNetConfig(**{"units": 16, "bases": 16, **changes})


def write_config(folder: Path, **changes: Any) -> Path:
    path = folder / "few.json"
    path.write_text(json.dumps(few_units(**changes).to_dict()))
    return path


@pytest.fixture
def few(tmp_path: Path, music: MusicChoice) -> Compiler:
    """A compiler for that model."""
    return Compiler(write_config(tmp_path), music)


class TestOtherModels:
    @pytest.mark.parametrize("target", ["onnx", "tflite"])
    @pytest.mark.parametrize("name", OTHER_MODELS)
    def test_they_pass_parity(self, name: str, target: str, tmp_path: Path, music: MusicChoice) -> None:
        config = few_units(**OTHER_MODELS[name])
        compiler = Compiler(write_config(tmp_path, **OTHER_MODELS[name]), music)
        bundle, report = compiler.compile(target, FLOAT32, tmp_path / "out")
        assert report.failures == ()
        spec = bundle.manifest.spec
        assert (spec.hop_length, spec.channels, spec.sources) == (config.hop_length, config.channels, config.sources)
        assert spec.algorithmic_latency == config.window_length - config.hop_length
        assert [stem.source for stem in report.clips[0].stems] == [s for s in config.sources if "unknown" not in name]
        with open_session(bundle) as session:
            stems = session.step(np.zeros((config.channels, config.hop_length), np.float32))
            assert stems.shape == (len(config.sources), config.channels, config.hop_length)

    def test_trained_int8_with_unknown_sources_is_judged_by_snr(self, tmp_path: Path, music: MusicChoice) -> None:
        """There is no true stem to measure SDR with, and a gate that demands nothing is none."""
        save_checkpoint(create_model(few_units(sources=("voice", "rest"))), tmp_path / "mine.safetensors")
        compiler = Compiler(tmp_path / "mine.safetensors", music)
        bundle, report = compiler.compile("onnx", DYNAMIC_INT8, tmp_path)
        assert bundle.manifest.weights == "trained"
        assert report.thresholds == Thresholds(snr_db=15.0)
        assert report.passed

    @pytest.mark.parametrize("sources", [("vocals", "drums"), ("voice", "rest")], ids=["known", "unknown"])
    def test_songs_serve_models_of_any_sources(self, sources: tuple[str, ...], tmp_path: Path) -> None:
        choice = MusicChoice(songs=write_songs(tmp_path), tracks=["song-1"], excerpt=0.5)
        compiler = Compiler(write_config(tmp_path, sources=sources), choice)
        bundle, report = compiler.compile("torch", FLOAT32, tmp_path)
        assert report.passed
        assert [(clip.clip, clip.seconds) for clip in report.clips] == [("song-1", 0.5)]
        assert [stem.source for stem in report.clips[0].stems] == [name for name in sources if name in MUSDB_SOURCES]
        assert bundle.manifest.licence["parity"] == SONG_NOTE


class TestManifest:
    def test_it_says_what_the_bundle_is(self, tiny: Workshop) -> None:
        bundle = tiny.bundle("tflite", "static_wi8_ai8")
        manifest = bundle.manifest
        assert bundle.path.name == "tiny-tflite-static_wi8_ai8.edge"
        assert (manifest.target, manifest.recipe, manifest.weights) == ("tflite", "static_wi8_ai8", "trained")
        assert manifest.model["config"] == tiny.compiler.source.model.config.to_dict()
        assert manifest.spec == with_passes(tiny.compiler.source.model, manifest.target).spec()
        assert manifest.graph["passes"] == [each.name for each in passes_of(manifest.target)]
        assert {"ddtasnet-edge", "torch", "ai-edge-litert", "numpy"} <= set(manifest.tools)
        assert manifest.licence["weights"] == manifest.model["training"]["data"]
        assert "ddtasnet-songs" in manifest.licence["weights"]
        assert "calibration" in manifest.licence
        assert read_bundle(bundle.path) == bundle

    def test_it_has_a_float_bundle_without_quantization(self, tiny: Workshop) -> None:
        manifest = tiny.bundle("onnx", "float32").manifest
        assert manifest.quantization is None
        assert "calibration" not in manifest.licence

    def test_random_weights_have_no_training_data(self, few: Compiler, tmp_path: Path) -> None:
        bundle, _ = few.compile("torch", FLOAT32, tmp_path)
        assert bundle.manifest.weights == "random"
        assert bundle.manifest.licence["weights"] == "random weights: no training data"

    def test_a_checkpoint_counts_as_trained(self, tmp_path: Path, music: MusicChoice) -> None:
        save_checkpoint(create_model(few_units(), seed=3), tmp_path / "mine.safetensors")
        bundle, report = Compiler(tmp_path / "mine.safetensors", music).compile("torch", FLOAT32, tmp_path)
        assert report.passed
        assert bundle.path == tmp_path / "mine-torch-float32.edge"
        assert (bundle.manifest.weights, bundle.manifest.model["name"]) == ("trained", "mine")
        assert bundle.manifest.model["source"] == "checkpoint mine.safetensors"


class TestForce:
    def test_an_existing_bundle_is_refused_before_any_work(
        self, few: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle, _ = few.compile("torch", FLOAT32, tmp_path)
        before = (bundle.path / MANIFEST).read_bytes()
        monkeypatch.setattr(torch_exporter, "export_graph", None)
        with pytest.raises(EdgeError, match=r"few-torch-float32\.edge exists already; .*--force"):
            few.compile("torch", FLOAT32, tmp_path)
        assert (bundle.path / MANIFEST).read_bytes() == before

    def test_force_replaces_the_whole_folder(self, few: Compiler, tmp_path: Path) -> None:
        bundle, _ = few.compile("torch", FLOAT32, tmp_path / "out")
        (bundle.path / "stray").write_text("old")
        again, _ = few.compile("torch", FLOAT32, tmp_path / "out", force=True)
        assert again == read_bundle(bundle.path)
        assert not (bundle.path / "stray").exists()
        assert list((tmp_path / "out").iterdir()) == [bundle.path]


NO_SPACE = OSError(28, "No space left on device")


def failing(error: BaseException, leave: str = "") -> Callable[..., Any]:
    """A stage that fails, after it has left a file where it works."""

    def stage(_: object, folder: Path | None = None, *__: object, **___: object) -> None:
        if leave and isinstance(folder, Path):
            (folder / leave).write_bytes(b"half")
        raise error

    return stage


class TestInterruptions:
    """Nothing half-made stays, and what was there before does."""

    STAGES = (
        (torch_exporter, "export_graph"),
        (torch_exporter, "inspect_graph"),
        (torch_exporter, "embed_metadata"),
        (compiling, "write_manifest"),
        (compiling, "open_session"),
        (compiling, "compare"),
        (compiling, "with_evidence"),
    )

    @pytest.mark.parametrize("old", [False, True], ids=["new", "with --force"])
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), NO_SPACE], ids=["Ctrl-C", "disk full"])
    @pytest.mark.parametrize(("module", "stage"), STAGES, ids=[name for _, name in STAGES])
    def test_at_every_stage(
        self,
        module: Any,
        stage: str,
        error: BaseException,
        old: bool,
        few: Compiler,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / "out"
        place = out / "few-torch-float32.edge"
        if old:
            place.mkdir(parents=True)
            (place / "precious").write_text("kept")
        monkeypatch.setattr(module, stage, failing(error, leave="model.safetensors"))
        with pytest.raises((KeyboardInterrupt, EdgeError)) as caught:
            few.compile("torch", FLOAT32, out, force=True)
        assert [path.name for path in out.iterdir()] == ([place.name] if old else [])
        assert not old or [path.name for path in place.iterdir()] == ["precious"]
        if error is NO_SPACE:
            assert (
                str(caught.value)
                == f"cannot write {place}: No space left on device; free space or choose another place"
            )

    def test_a_full_disk_inside_a_converter(
        self, few: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx_exporter.onnxsim, "simplify", failing(NO_SPACE))
        with pytest.raises(ExportError, match=r"^onnxsim failed: OSError: \[Errno 28\] No space left on device$"):
            few.compile("onnx", FLOAT32, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_an_unwritable_place(self, few: Compiler, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(EdgeError, match=r"cannot write .*file.few-torch-float32.edge: .*choose another place"):
            few.compile("torch", FLOAT32, tmp_path / "file")


class TestRefusals:
    @pytest.mark.parametrize(
        ("target", "recipe", "error", "message"),
        [
            ("tflight", "float32", ConfigError, r"unknown target 'tflight'.*did you mean 'tflite'\?"),
            ("onnx", "float", ConfigError, r"unknown recipe 'float'.*did you mean 'float32'\?"),
            ("torch", "static_wi8_ai8", ConfigError, "target 'torch' has no quantized form"),
        ],
    )
    def test_unknown_names(
        self, target: str, recipe: str, error: type[EdgeError], message: str, few: Compiler, tmp_path: Path
    ) -> None:
        with pytest.raises(error, match=message):
            few.compile(target, recipe_named(recipe), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("model", "error", "message"),
        [
            ("smal", ConfigError, r"unknown preset 'smal'.*did you mean 'small'\?"),
            ("missing.safetensors", CheckpointError, "no checkpoint file at missing.safetensors"),
            ("song.wav", CheckpointError, "song.wav is no model: expected a preset"),
            ("missing.json", ConfigError, "cannot read model configuration missing.json"),
        ],
    )
    def test_models_that_are_none(self, model: str, error: type[EdgeError], message: str) -> None:
        with pytest.raises(error, match=message):
            Compiler(model)

    @pytest.mark.parametrize(
        ("given", "recipe", "message"),
        [
            ({"verification": MusicChoice(musdb=Path("nowhere"))}, "float32", "no folder nowhere"),
            ({"verification": MusicChoice(songs=Path("nowhere"))}, "float32", "no songs in nowhere"),
            ({"calibration": Path("nowhere")}, "static_wi8_ai8", "cannot read folder nowhere"),
        ],
    )
    def test_music_that_is_not_there_is_refused_before_any_work(
        self, given: dict[str, Any], recipe: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx_exporter, "export_graph", None)
        with pytest.raises(AudioError, match=message):
            Compiler(write_config(tmp_path), **given).compile("onnx", recipe_named(recipe), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_so_is_the_default_clip(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch_exporter, "export_graph", None)
        monkeypatch.setattr(clips.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError, match="the default clip comes with stempeg"):
            Compiler(write_config(tmp_path)).compile("torch", FLOAT32, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_missing_converter_says_what_to_install(
        self, few: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ddtasnet_edge.dependencies.find_spec", lambda name: None if name == "onnxsim" else name)
        with pytest.raises(MissingDependencyError, match=r"exporting to onnx needs onnxsim, .*ddtasnet-edge\[export\]"):
            few.compile("onnx", FLOAT32, tmp_path)
