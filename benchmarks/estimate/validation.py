"""How far off the estimates are: on boards that others measured, and with --measure on this machine.

python -m ddtasnet_edge.benchmarks.estimate.validation --measure build/probes --json docs/performance/estimate.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.estimate import host_suite
from ddtasnet_edge.benchmarks.estimate.host_suite import HOPS, ROUNDS, HostReport, measure_host
from ddtasnet_edge.benchmarks.estimate.published import LEGEND, PUBLISHED_COLUMNS, published, published_notes
from ddtasnet_edge.config import PRESETS, nearest
from ddtasnet_edge.errors import ConfigError

MODULE = "python -m ddtasnet_edge.benchmarks.estimate.validation"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 2 usage, input or a bundle that cannot be measured."""
    return console.run_command(_validate, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser(MODULE, "Predicted times beside measured ones.", f"  {MODULE} --measure build/probes")
    parser.add_argument(
        "--measure", type=Path, metavar="FOLDER", help="measure this machine too; keeps the bundles that it builds"
    )
    parser.add_argument("--model", default=",".join(PRESETS), help="presets to test on, with commas (all)")
    parser.add_argument("--target", default=",".join(TARGETS), help="targets to measure, with commas (all)")
    parser.add_argument("--hops", type=int, default=HOPS, help=f"hops per bundle and round ({HOPS})")
    parser.add_argument("--remark", default="", metavar="TEXT", help="what else runs meanwhile, for the report")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the fastest counts ({ROUNDS})")
    return parser


def _validate(arguments: argparse.Namespace) -> int:
    presets = _names(arguments.model, tuple(PRESETS), "preset")
    targets = _names(arguments.target, TARGETS, "target")
    for name in ("hops", "rounds"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}: expected at least 1")
    host = None
    if arguments.measure is not None:
        host = measure_host(
            arguments.measure, presets, targets, arguments.hops, arguments.rounds, quiet=arguments.quiet
        )
        host = replace(host, remark=arguments.remark)
    if not arguments.quiet and arguments.json != "-":
        _print(host)
    if arguments.json:
        checks = [each.check().to_dict() for each in published()]
        console.write_json(arguments.json, {"published": checks, "host": None if host is None else host.to_dict()})
    return console.EXIT_OK


def _names(given: str, known: tuple[str, ...], what: str) -> list[str]:
    names = given.split(",")
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {what} '{name}': {nearest(name, known)}")
    return names


def _print(host: HostReport | None) -> None:
    checks = [each.check() for each in published()]
    console.print_table("Boards of others", PUBLISHED_COLUMNS, [check.row() for check in checks])
    print(LEGEND, *published_notes(checks), sep="\n")
    if host is not None:
        console.print_table("This machine", host_suite.COLUMNS, host.rows())
        print(host_suite.LEGEND, *host.notes(), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
