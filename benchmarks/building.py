"""Bundles to measure that nobody has made yet: built once, kept in a folder, without parity evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ddtasnet_edge import files
from ddtasnet_edge.benchmarks.report import REFERENCE_TARGET
from ddtasnet_edge.bundle import Bundle, bundle_name, read_bundle
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.runtimes.registry import RUNTIMES

#: What a device may run: every target but the reference.
TARGETS = tuple(target for target in RUNTIMES if target != REFERENCE_TARGET)


@dataclass(frozen=True)
class Wanted:
    """A bundle by what makes it. model: a preset, or the path of a checkpoint or configuration."""

    model: str
    target: str
    recipe: str

    @property
    def name(self) -> str:
        """Folder name of the bundle."""
        return bundle_name(Path(self.model).stem, self.target, self.recipe)


def find_or_build(wanted: Sequence[Wanted], folder: Path, begin: Callable[[str], None]) -> list[Bundle]:
    """The wanted bundles in their order; those that `folder` lacks are built there. `begin` hears of each of these.

    Neighbours of the same model share one compiler. What a folder holds is taken as it is: after a change of weights
    or of this package, remove it. Raises MissingDependencyError without the tools to build, and other EdgeErrors.
    """
    missing = [each for each in wanted if not (folder / each.name).exists()]
    for model, group in groupby(missing, key=lambda each: each.model):
        _build(model, list(group), folder, begin)
    return [read_bundle(folder / each.name) for each in wanted]


def _build(model: str, wanted: Sequence[Wanted], folder: Path, begin: Callable[[str], None]) -> None:
    require(("torch", "safetensors"), "building bundles to measure", "export")
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.quantize import recipe_named

    compiler = Compiler(model)
    for each in wanted:
        begin(f"{each.name}: building")
        with files.writing_folder(folder / each.name, replace=False) as place:
            compiler.build(place, each.target, recipe_named(each.recipe))
