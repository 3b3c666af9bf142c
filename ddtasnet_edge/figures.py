"""Pictures in files: what their names may end in, and writing them whole or not at all."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from ddtasnet_edge import files
from ddtasnet_edge.config import nearest
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError

SUFFIXES = (".png", ".svg", ".pdf")
#: How each target is drawn, everywhere.
MARKERS = {"onnx": "o", "openvino": "s", "tflite": "^"}


def check_plot(path: Path) -> None:
    """Raise ConfigError for a file that cannot be drawn, MissingDependencyError without matplotlib."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--plot is {path}: {nearest(path.suffix, SUFFIXES)}")
    require(("matplotlib",), "--plot", "eval")


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib Figure in the format that the name of the file ends in."""
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], dpi=150)
    files.write_bytes(path, drawn.getvalue())
