"""The `tiny` tflite bundles on the older interpreter, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.clips import musdb_clips
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.runtimes.parity import run_clip
from ddtasnet_edge.runtimes.thresholds import read_thresholds
from ddtasnet_edge.runtimes.torch_session import TorchSession
from tests.bundles import RECIPES_OF, Workshop

VARIABLE = "DDTASNET_TFLITE_RUNTIME_PYTHON"
CHECK = Path(__file__).with_name("tflite_runtime_check.py")

pytestmark = pytest.mark.skipif(
    not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no interpreter with tflite-runtime; `make test` sets it"
)


@pytest.fixture(scope="module")
def bundles(tiny: Workshop) -> dict[str, Bundle]:
    return {recipe: tiny.bundle("tflite", recipe) for recipe in RECIPES_OF["tflite"]}


@pytest.fixture(scope="module")
def result(
    bundles: dict[str, Bundle], tiny: Workshop, music: MusicChoice, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the other interpreter says about all three."""
    assert music.musdb is not None
    (clip,) = musdb_clips(music.musdb)
    assert clip.stems is not None
    folder = tmp_path_factory.mktemp("reference")
    np.savez(folder / "clip.npz", mix=clip.mix, stems=clip.stems)
    with TorchSession.from_model(tiny.compiler.source.model) as session:
        run_clip(session, clip).save(folder / "trace.npz")
    command = [os.environ[VARIABLE], CHECK, folder / "clip.npz", folder / "trace.npz"]
    done = subprocess.run([*command, *(bundle.path for bundle in bundles.values())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_is_the_environment_that_is_meant(result: dict[str, Any]) -> None:
    assert result["numpy"].startswith("1.")
    assert not result["torch"]


@pytest.mark.parametrize("recipe", ["float32", "static_wi8_ai8"])
def test_parity(recipe: str, result: dict[str, Any], bundles: dict[str, Bundle]) -> None:
    report = result["results"][str(bundles[recipe].path)]
    assert report["runtime"].startswith("tflite-runtime ")
    assert report["failures"] == []
    limits = read_thresholds()["tflite on tflite-runtime"][recipe][bundles[recipe].manifest.weights]
    assert report["thresholds"] == {"snr_db": limits.snr_db, "dsdr_db": limits.dsdr_db}
    assert [len(clip["stems"]) for clip in report["clips"]] == [4]


def test_what_it_computes_wrongly_is_refused(result: dict[str, Any], bundles: dict[str, Bundle]) -> None:
    """Its dynamic INT8 kernel knows one scale per matrix, the graph has one per channel."""
    refusal = result["results"][str(bundles["dynamic_wi8_afp32"].path)]
    assert refusal.startswith("tflite-runtime 2.")
    assert refusal.endswith("wrongly, with one scale for all channels; install ai-edge-litert, or export with --int8")
