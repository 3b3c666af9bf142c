"""Is a package there? Asked before it is imported, so that a missing one gets one clear line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec

from ddtasnet_edge.errors import MissingDependencyError


def require(packages: Sequence[str], action: str, extra: str) -> None:
    """Raise MissingDependencyError unless all of these modules can be imported.

    action: what needs them, such as "exporting to tflite"; extra: the extra of this package that brings them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(
            f"{action} needs {', '.join(missing)}, which is not installed; pip install 'ddtasnet-edge[{extra}]'"
        )


def installed_versions(distributions: Sequence[str]) -> dict[str, str]:
    """Versions of those distributions that are installed, by name."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
