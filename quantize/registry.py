"""Which module quantizes which target. A new target is one line here and one file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ddtasnet_edge.dependencies import import_backend, require
from ddtasnet_edge.errors import ConfigError

if TYPE_CHECKING:
    from ddtasnet_edge.quantize.layer import QuantizedLayer
    from ddtasnet_edge.quantize.simulate import Arithmetic

#: target -> (module, packages that it needs). The reference target `torch` is never quantized.
QUANTIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "onnx": ("ddtasnet_edge.quantize.onnx_quantizer", ("onnx",)),
    "openvino": ("ddtasnet_edge.quantize.openvino_quantizer", ("openvino",)),
    "tflite": ("ddtasnet_edge.quantize.tflite_quantizer", ("ai_edge_litert",)),
}


class Quantizer(Protocol):
    """What every quantizer module offers."""

    #: How the runtimes of this target compute what is written here.
    ARITHMETIC: Arithmetic

    def quantize_graph(self, folder: Path, layers: Mapping[str, QuantizedLayer]) -> None:
        """Replace the float graph in `folder` by one with exactly these products quantized.

        layers: by `MatrixProduct.node`.
        """


def quantizer_for(target: str) -> Quantizer:
    """The quantizer of a target. Raises ConfigError or MissingDependencyError."""
    if target not in QUANTIZERS:
        raise ConfigError(f"target '{target}' has no quantized form; targets with one: {', '.join(QUANTIZERS)}")
    module, packages = QUANTIZERS[target]
    require(packages, f"quantizing for {target}", "export")
    return cast(Quantizer, import_backend(module))
