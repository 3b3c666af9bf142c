"""What `ddtasnet-bench` does for a board that is not this machine: measure it over ssh, or emulate and estimate it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted, find_or_build
from ddtasnet_edge.bundle import Bundle, read_bundle

#: What is emulated when no bundle is named: every runtime, in float and with the INT8 recipe of `--int8`.
MODEL, RECIPES = "small", ("float32", "static_wi8_ai8")


def bundles_for_emulation(arguments: argparse.Namespace, folder: Path) -> list[Bundle]:
    """The bundles that are named, or the default ones, built if need be."""
    if arguments.bundles:
        return [read_bundle(path) for path in arguments.bundles]
    wanted = [Wanted(arguments.model or MODEL, target, recipe) for target in TARGETS for recipe in RECIPES]
    with console.activity(arguments.quiet) as begin:
        return find_or_build(wanted, folder, begin)
