"""Which session opens which target. A new target is one line here and one file beside it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import cast

from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.config import nearest
from ddtasnet_edge.dependencies import import_backend
from ddtasnet_edge.errors import BundleError, ConfigError, MissingDependencyError
from ddtasnet_edge.session import Session

#: target -> (session class, the packages of which one must be installed, the extra that brings it)
RUNTIMES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "torch": ("ddtasnet_edge.runtimes.torch_session:TorchSession", ("torch",), "export"),
    "onnx": ("ddtasnet_edge.runtimes.onnx_session:OnnxSession", ("onnxruntime",), "onnx"),
    "openvino": ("ddtasnet_edge.runtimes.openvino_session:OpenVINOSession", ("openvino",), "openvino"),
    "tflite": ("ddtasnet_edge.runtimes.tflite_session:TFLiteSession", ("ai_edge_litert", "tflite_runtime"), "tflite"),
}


def open_session(bundle: Bundle | Path | str, num_threads: int = 1) -> Session:
    """Open a bundle on the runtime of its target.

    Raises BundleError for a damaged bundle or one whose graph does not match its manifest,
    MissingDependencyError when the runtime is not installed.
    """
    if num_threads < 1:
        raise ConfigError(f"num_threads is {num_threads}: expected 1 or more")
    if not isinstance(bundle, Bundle):
        bundle = read_bundle(bundle)
    target = bundle.manifest.target
    if target not in RUNTIMES:
        raise BundleError(f"{bundle.path} is for target '{target}': {nearest(target, tuple(RUNTIMES))}")
    session_class, packages, extra = RUNTIMES[target]
    if not any(find_spec(package) for package in packages):
        usable = [name for name, (_, needs, _) in RUNTIMES.items() if any(find_spec(need) for need in needs)]
        raise MissingDependencyError(
            f"{bundle.path.name} needs {' or '.join(packages)}, which is not installed (usable targets here: "
            f"{', '.join(usable) or 'none'}); pip install 'ddtasnet-edge[{extra}]'"
        )
    module, _, name = session_class.partition(":")
    return cast(Session, getattr(import_backend(module), name)(bundle, num_threads))
