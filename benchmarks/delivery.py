"""How a report leaves `ddtasnet-bench`: shown, written as JSON, or both."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.report import COLUMNS, LEGEND, BenchReport


def deliver(arguments: argparse.Namespace, values: Mapping[str, Any], show: Callable[[], None]) -> int:
    """Show a report unless --quiet or JSON on stdout was asked for, and write it where --json says."""
    if not arguments.quiet and arguments.json != "-":
        show()
    if arguments.json:
        console.write_json(arguments.json, values)
    return console.EXIT_OK


def print_times(report: BenchReport, place: str = "") -> None:
    """The table of times per hop, and the facts beside it. place: where it was measured, when that is not here."""
    where = f" on {place}" if place else ""
    console.print_table(f"Time per hop{where}, {report.mode}", COLUMNS, report.rows())
    print(LEGEND, *report.notes(), sep="\n")
