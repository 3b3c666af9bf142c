"""Which module quantizes which target. A new target is one line here and one file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ddtasnet_edge.dependencies import import_backend, require
from ddtasnet_edge.errors import ConfigError

if TYPE_CHECKING:
    from ddtasnet_edge.export.facts import MatrixProduct
    from ddtasnet_edge.quantize.calibration import Feeds
    from ddtasnet_edge.quantize.recipe import Recipe

#: target -> (module, packages that it needs). The reference target `torch` is never quantized.
QUANTIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "onnx": ("ddtasnet_edge.quantize.onnx_int8", ("onnxruntime", "onnx")),
    "openvino": ("ddtasnet_edge.quantize.openvino_int8", ("openvino", "nncf")),
    "tflite": ("ddtasnet_edge.quantize.tflite_int8", ("ai_edge_quantizer",)),
}


class Quantizer(Protocol):
    """What every quantizer module offers."""

    def quantize_graph(
        self, folder: Path, recipe: Recipe, products: Sequence[MatrixProduct], feeds: Feeds | None
    ) -> None:
        """Replace the float graph in `folder` by one with exactly these products quantized.

        feeds: calibration hops, None for a recipe that needs none.
        """


def quantizer_for(target: str) -> Quantizer:
    """The quantizer of a target. Raises ConfigError or MissingDependencyError."""
    if target not in QUANTIZERS:
        raise ConfigError(f"target '{target}' has no quantized form; targets with one: {', '.join(QUANTIZERS)}")
    module, packages = QUANTIZERS[target]
    require(packages, f"quantizing for {target}", "export")
    return cast(Quantizer, import_backend(module))
