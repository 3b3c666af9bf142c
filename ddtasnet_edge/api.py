"""The two calls a program needs: compile a model, load a bundle."""

from __future__ import annotations

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
) -> Path:
    """Compile a model and verify the result; what `ddtasnet-export` does for one target.

    model: a preset ("tiny", "small", "base", "large"), a checkpoint (.safetensors, .pt) or a configuration
    (.json). Returns the path of the bundle. Raises GateError when parity misses a threshold (the bundle stays,
    marked failed) and other EdgeErrors on bad input.
    """
    require(("torch", "safetensors"), "compiling", "export")
    from ddtasnet_edge.compiler import Compiler

    bundle, report = Compiler(model).compile(target, recipe, Path(out), force=force)
    if not report.passed:
        raise GateError(f"{bundle.path} missed its parity thresholds: {'; '.join(report.failures)}")
    return bundle.path


def load(bundle: str | Path, num_threads: int = 1) -> StreamRunner:
    """Open a bundle for streaming. Raises BundleError when it is damaged or its runtime is missing."""
    from ddtasnet_edge.runtimes import open_session
    from ddtasnet_edge.stream import StreamRunner

    return StreamRunner(open_session(bundle, num_threads=num_threads))
