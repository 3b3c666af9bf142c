"""Is a package there? Asked before it is imported, so that a missing one gets one clear line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from types import ModuleType

from ddtasnet_edge.errors import MissingDependencyError


def require(packages: Sequence[str], action: str, extra: str, then: str | None = None) -> None:
    """Raise MissingDependencyError unless all of these modules can be imported.

    action: what needs them, such as "exporting to tflite"; extra: the extra of this package that brings them; then:
    a second command, for what an extra cannot bring.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        further = "" if then is None else f" and {then}"
        raise MissingDependencyError(
            f"{action} needs {', '.join(missing)}, which is not installed; "
            f"pip install 'ddtasnet-edge[{extra}]'{further}"
        )


def import_backend(module: str) -> ModuleType:
    """Import a module that brings a converter or a runtime, without its reports of usage over the network.

    OpenVINO sends events as soon as it is imported, from processes forked off this one; it does without where
    openvino_telemetry cannot be imported.
    """
    # Where it is not set, importing onnxruntime writes the number of this device into the cache of the user.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # On ARM, OpenVINO describes its kernels for a profiler in temporary files, which nobody removes.
    os.environ.setdefault("ONEDNN_JIT_PROFILE", "0")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module(module)


def installed_versions(distributions: Sequence[str]) -> dict[str, str]:
    """Versions of those distributions that are installed, by name."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
