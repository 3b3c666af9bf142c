"""Which module exports which target. A new target is one line here and one file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ddtasnet_edge.config import nearest
from ddtasnet_edge.dependencies import import_backend, require
from ddtasnet_edge.errors import ConfigError

if TYPE_CHECKING:
    from ddtasnet_edge.export.facts import GraphFacts
    from ddtasnet_edge.export.layers import Layers
    from ddtasnet_edge.models.ddtasnet import DDTasNet

#: target -> (module, packages that it needs)
EXPORTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "torch": ("ddtasnet_edge.export.torch_exporter", ("safetensors",)),
    "onnx": ("ddtasnet_edge.export.onnx_exporter", ("onnx", "onnxscript", "onnxsim")),
    "openvino": ("ddtasnet_edge.export.openvino_exporter", ("openvino", "onnx", "onnxscript", "onnxsim")),
    "tflite": ("ddtasnet_edge.export.tflite_exporter", ("litert_torch", "ai_edge_litert")),
}

#: Those with a graph; torch runs the model itself.
COMPILED_TARGETS = tuple(target for target in EXPORTERS if target != "torch")


class Exporter(Protocol):
    """What every exporter module offers."""

    #: Files of the bundle, the one a runtime opens first.
    FILES: tuple[str, ...]

    def export_graph(self, model: DDTasNet, folder: Path) -> None:
        """Write the float32 graph of the model's step into `folder`. Raises ExportError."""

    def inspect_graph(self, folder: Path, layers: Layers) -> GraphFacts:
        """What the graph in `folder` holds; matrix products carry the layer names of `layers`."""

    def embed_metadata(self, folder: Path, metadata: dict[str, str]) -> None:
        """Put text into the graph's own metadata."""


def exporter_for(target: str) -> Exporter:
    """The exporter of a target. Raises ConfigError or MissingDependencyError."""
    if target not in EXPORTERS:
        raise ConfigError(f"unknown target '{target}': {nearest(target, tuple(EXPORTERS))}")
    module, packages = EXPORTERS[target]
    require(packages, f"exporting to {target}", "export")
    return cast(Exporter, import_backend(module))
