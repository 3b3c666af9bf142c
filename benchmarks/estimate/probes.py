"""Bundles of synthetic models, none of them a preset, by which a machine measures its own profile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ddtasnet_edge import files
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted, find_or_build
from ddtasnet_edge.benchmarks.scaling_suite import RECIPES
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.config import DDTasNetConfig

#: From a little below `tiny` to a little below `large`: working sets from 0.3 MB to some 270 MB.
PROBES = {
    "probe-24": DDTasNetConfig(units=24, bases=32),
    "probe-64": DDTasNetConfig(units=64, bases=96),
    "probe-96": DDTasNetConfig(units=96, bases=192),
    "probe-192": DDTasNetConfig(units=192, bases=160),
    "probe-320": DDTasNetConfig(units=320, bases=400),
    "probe-448": DDTasNetConfig(units=448, bases=256),
    "probe-640": DDTasNetConfig(units=640, bases=320),
    "probe-800": DDTasNetConfig(units=800, bases=480),
}


def build_probes(folder: Path, begin: Callable[[str], None], targets: Sequence[str] = TARGETS) -> list[Bundle]:
    """The probes for these targets at the precisions of scaling; those that `folder` lacks are built there."""
    files.make_folder(folder)
    wanted = []
    for name, config in PROBES.items():
        path = folder / f"{name}.json"
        files.write_text(path, json.dumps(config.to_dict(), indent=2) + "\n")
        wanted += [Wanted(str(path), target, recipe) for target in targets for recipe in RECIPES]
    return find_or_build(wanted, folder, begin)


def build_presets(
    presets: Sequence[str], folder: Path, begin: Callable[[str], None], targets: Sequence[str] = TARGETS
) -> list[Bundle]:
    """The presets for these targets at the precisions of scaling; those that `folder` lacks are built there."""
    files.make_folder(folder)
    return find_or_build(
        [Wanted(model, target, recipe) for model in presets for target in targets for recipe in RECIPES], folder, begin
    )
