"""The two calls a program needs: compile a model, load a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import GateError

if TYPE_CHECKING:
    from ddtasnet_edge.stream import StreamRunner


def compile(
    model: str | Path,
    target: str = "tflite",
    recipe: str = "float32",
    out: str | Path = "build",
    *,
    force: bool = False,
    calibration: str | Path | None = None,
    musdb: str | Path | None = None,
    tracks: Sequence[str] | None = None,
    excerpt: float | None = None,
    songs: str | Path | None = None,
    max_sdr_drop: float = 0.1,
) -> Path:
    """Compile a model and verify the result; what `ddtasnet-export` does for one target.

    model: a preset ("tiny", "small", "base", "large"), a checkpoint (.safetensors, .pt) or a configuration
    (.json). calibration: folder of songs for a calibrated recipe; musdb: MUSDB18 root to verify on, its test set;
    songs: a folder of ddtasnet-songs to verify on instead; tracks: names, None for all; excerpt: seconds from the
    centre of each track, None for whole tracks; max_sdr_drop: in dB, the budget of the recipe "auto". Returns the
    path of the bundle.
    Raises GateError when parity misses a threshold (the bundle stays, marked failed) and other EdgeErrors on bad
    input.
    """
    require(("torch", "safetensors"), "compiling", "export")
    from ddtasnet_edge.auto_recipe import AutoRecipe
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.music import MusicChoice
    from ddtasnet_edge.quantize import recipe_named
    from ddtasnet_edge.quantize.recipe import AUTO

    verification = MusicChoice(
        musdb=None if musdb is None else Path(musdb),
        songs=None if songs is None else Path(songs),
        tracks=tracks,
        excerpt=excerpt,
    )
    compiler = Compiler(model, verification, None if calibration is None else Path(calibration))
    if recipe == AUTO:
        search = AutoRecipe(compiler, max_sdr_drop, Path(out))
        bundle, report = search.compile(target, force=force)
    else:
        bundle, report = compiler.compile(target, recipe_named(recipe), Path(out), force=force)
    if not report.passed:
        raise GateError(f"{bundle.path} missed its parity thresholds: {'; '.join(report.failures)}")
    return bundle.path


def load(bundle: str | Path, num_threads: int = 1) -> StreamRunner:
    """Open a bundle for streaming. Raises BundleError when it is damaged or its runtime is missing."""
    from ddtasnet_edge.runtimes import open_session
    from ddtasnet_edge.stream import StreamRunner

    return StreamRunner(open_session(bundle, num_threads=num_threads))
