"""Builds what scaling compares, then measures it: once for each number of threads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ddtasnet_edge import console, files
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted, find_or_build
from ddtasnet_edge.benchmarks.scaling import ScaledModel, ScalingReport
from ddtasnet_edge.benchmarks.suite import Options, run_suite
from ddtasnet_edge.config import PRESETS, preset

MODELS = tuple(PRESETS)
#: float32, INT8 and INT4; of the INT8 recipes the one that is built the same for all runtimes.
RECIPES = ("float32", "dynamic_wi8_afp32", "dynamic_wi4b64_wi8_afp32")
THREADS = (1, 2)
#: The preset that is also measured at shorter hops, and these, in samples.
HOP_PRESET, SHORT_HOPS = "small", (256, 128)
#: Per configuration. With 54 bundles and two numbers of threads, whole runs stay below a quarter of an hour.
HOPS = 300


def run_scaling(presets: Sequence[str], options: Options, folder: Path, quiet: bool = False) -> ScalingReport:
    """Measure presets at all recipes, targets and threads, and HOP_PRESET at shorter hops if it is among them.

    folder: keeps the bundles for the next time. Raises ConfigError for an unknown preset, before any work.
    """
    sources = _sources(presets, folder)
    wanted = [Wanted(model, target, recipe) for model in sources for target in TARGETS for recipe in RECIPES]
    console.say(f"bundles are kept in {folder}; remove it to build them anew", quiet)
    with console.activity(quiet) as begin:
        bundles = find_or_build(wanted, folder, begin)
    models = {
        each.model: ScaledModel.of(bundle, sources[each.model]) for each, bundle in zip(wanted, bundles, strict=True)
    }
    runs = [run_suite(bundles, replace(options, threads=threads), quiet) for threads in _threads()]
    return ScalingReport(tuple(models.values()), tuple(runs))


def _sources(presets: Sequence[str], folder: Path) -> dict[str, str]:
    """What the bundles are made of, each with its preset: the presets, then a configuration file for each short hop."""
    configs = {name: preset(name) for name in presets}
    sources = {name: name for name in configs}
    if HOP_PRESET in configs:
        files.make_folder(folder)
        for hop in SHORT_HOPS:
            path = folder / f"{HOP_PRESET}-hop{hop}.json"
            config = replace(configs[HOP_PRESET], hop_length=hop)
            files.write_text(path, json.dumps(config.to_dict(), indent=2) + "\n")
            sources[str(path)] = HOP_PRESET
    return sources


def _threads() -> list[int]:
    """As many of THREADS as this machine has cores for."""
    return [threads for threads in THREADS if threads <= (os.cpu_count() or 1)]
