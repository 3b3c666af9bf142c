"""The benchmark where the bundles are going to run, not here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ddtasnet_edge.benchmarks.places import Place
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import EdgeError

REPORT = "bench.json"


def bench_on(place: Place, bundles: Sequence[Bundle], options: Options) -> BenchReport:
    """Time bundles in a place; the report is that of `ddtasnet-bench` there, machine and all.

    options.device is checked there too: a board that is another one refuses. Raises EdgeError with its line.
    """
    paths = [place.send(bundle.path) for bundle in bundles]
    there = place.make_path(REPORT)
    place.run("remote.command", [*bench_arguments(options), "--quiet", "--json", there, *paths])
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder, REPORT)
        place.fetch(there, here)
        try:
            return BenchReport.from_dict(json.loads(here.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EdgeError(f"{place.name} sent a report that cannot be read ({error}); start again") from error


def bench_arguments(options: Options) -> list[str]:
    """The same options on the command line."""
    length = ["--hops", str(options.hops)] if options.minutes is None else ["--minutes", repr(options.minutes)]
    switches = [f"--{name}" for name in ("paced", "hog", "realtime") if getattr(options, name)]
    return ["--device", options.device, *length, "--threads", str(options.threads), *switches]
