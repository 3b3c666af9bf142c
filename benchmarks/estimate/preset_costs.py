"""Writes the costs of all presets, so that a device can rank bundles that nobody has built there.

python -m ddtasnet_edge.benchmarks.estimate.preset_costs --bundles build/scaling

The folder is the one that `ddtasnet-bench --scaling` keeps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ddtasnet_edge import console, files
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted
from ddtasnet_edge.benchmarks.estimate.cost import PRESET_COSTS, StepCost, cost_of
from ddtasnet_edge.benchmarks.scaling_suite import RECIPES
from ddtasnet_edge.bundle import read_bundle
from ddtasnet_edge.config import PRESETS

MODULE = "python -m ddtasnet_edge.benchmarks.estimate.preset_costs"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 written, 2 usage or a bundle that is missing."""
    return console.run_command(_write, _parser().parse_args(argv))


def collect(folder: Path) -> list[StepCost]:
    """The cost of every preset, target and recipe of scaling. Raises BundleError for one that the folder lacks."""
    wanted = (Wanted(model, target, recipe) for model in PRESETS for target in TARGETS for recipe in RECIPES)
    return [cost_of(read_bundle(folder / each.name)) for each in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=MODULE, description="Write the costs of all presets.", allow_abbrev=False)
    parser.add_argument("--bundles", type=Path, required=True, metavar="FOLDER", help="what --scaling keeps")
    parser.add_argument("--out", type=Path, default=PRESET_COSTS, metavar="FILE", help="the file of this package")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _write(arguments: argparse.Namespace) -> int:
    costs = [cost.to_dict() for cost in collect(arguments.bundles)]
    files.write_text(arguments.out, json.dumps(costs, indent=1) + "\n")
    return console.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
