"""`ddtasnet-bench`: per-hop times of bundles, beside the facts that explain them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ddtasnet_edge import api, console
from ddtasnet_edge.benchmarks.machine import PI_MODELS, check_device
from ddtasnet_edge.benchmarks.peers.report import print_peers
from ddtasnet_edge.benchmarks.peers.suite import run_peers
from ddtasnet_edge.benchmarks.profile_report import print_profiles
from ddtasnet_edge.benchmarks.profile_suite import HOPS as PROFILE_HOPS
from ddtasnet_edge.benchmarks.profile_suite import profile_bundles
from ddtasnet_edge.benchmarks.report import COLUMNS, LEGEND, BenchReport
from ddtasnet_edge.benchmarks.suite import Options, run_suite
from ddtasnet_edge.bundle import Bundle, bundle_name, read_bundle
from ddtasnet_edge.errors import ConfigError

DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_RECIPE = "small", "tflite", "static_wi8_ai8"
DEFAULT_FOLDER = Path("build")

EXAMPLES = """\
  ddtasnet-bench                                     # builds and measures the default bundle
  ddtasnet-bench build/*.edge                        # one table; add a torch bundle for the column "x torch"
  ddtasnet-bench build/small-tflite-static_wi8_ai8.edge --paced --json paced.json
  ddtasnet-bench build/base-*.edge --hops 10000 --threads 2
  ddtasnet-bench --profile build/small-*.edge        # where the time goes, by the runtimes' own profilers
  ddtasnet-bench --peers --model base --json peers.json   # the same weights through other tools, beside our bundles
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 measured, 1 the default bundle failed its parity, 2 usage or input."""
    return console.run_command(_bench, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    defaults = Options()
    parser = console.parser("ddtasnet-bench", "Measure how long bundles take per hop on this machine.", EXAMPLES)
    parser.add_argument("bundles", metavar="BUNDLE", nargs="*", type=Path, help="bundle folders (default: build one)")
    parser.add_argument(
        "--device",
        default=defaults.device,
        metavar="NAME",
        help=f"%(default)s (default), or on that very device: {', '.join(PI_MODELS)}",
    )
    parser.add_argument(
        "--hops",
        type=_positive_int,
        metavar="N",
        help=f"hops per bundle (default {defaults.hops}, with --profile {PROFILE_HOPS})",
    )
    parser.add_argument("--profile", action="store_true", help="show what each operator and layer takes")
    parser.add_argument("--paced", action="store_true", help="start hops on the hop clock instead of back-to-back")
    parser.add_argument(
        "--threads", type=_positive_int, default=defaults.threads, metavar="N", help="threads (default %(default)s)"
    )
    parser.add_argument(
        "--peers", action="store_true", help="compare our bundles of a model with what other tools make of it"
    )
    parser.add_argument("--model", metavar="PRESET|FILE", help=f"with --peers: which model ({DEFAULT_MODEL})")
    return parser


def _bench(arguments: argparse.Namespace) -> int:
    _check_options(arguments)
    options = Options(arguments.hops or Options().hops, arguments.threads, arguments.paced, arguments.device)
    if arguments.peers:
        comparison = run_peers(arguments.model or DEFAULT_MODEL, options, quiet=arguments.quiet)
        return _deliver(arguments, comparison.to_dict(), partial(print_peers, comparison))
    # All bundles are read before the first is measured: a wrong path must not cost the figures of the others.
    bundles = [read_bundle(path) for path in arguments.bundles] or [_default_bundle(arguments.quiet)]
    if arguments.profile:
        profiles = profile_bundles(bundles, arguments.hops or PROFILE_HOPS, arguments.device, quiet=arguments.quiet)
        return _deliver(arguments, profiles.to_dict(), partial(print_profiles, profiles))
    report = run_suite(bundles, options, quiet=arguments.quiet)
    return _deliver(arguments, report.to_dict(), partial(_print_times, report))


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for what this machine lacks and for options that do not go together."""
    check_device(arguments.device)
    if arguments.peers and arguments.profile:
        raise ConfigError("--peers and --profile are two measurements; leave out one of them")
    if arguments.profile and (arguments.paced or arguments.threads != 1):
        raise ConfigError("--profile runs back-to-back on one thread; leave out --paced and --threads")
    if arguments.peers and arguments.bundles:
        raise ConfigError(f"--peers builds its own bundles; leave out {arguments.bundles[0]} or --peers")
    if arguments.peers and arguments.paced:
        raise ConfigError("--peers measures back-to-back, since not all peers keep up; leave out --paced or --peers")
    if arguments.model is not None and not arguments.peers:
        raise ConfigError("--model says what --peers compares; add --peers, or give bundles of that model")
    _check_threads(arguments.threads)


def _print_times(report: BenchReport) -> None:
    console.print_table(f"Time per hop, {report.mode}", COLUMNS, report.rows())
    print(LEGEND, *report.notes(), sep="\n")


def _deliver(arguments: argparse.Namespace, values: Mapping[str, Any], show: Callable[[], None]) -> int:
    if not arguments.quiet and arguments.json != "-":
        show()
    if arguments.json:
        console.write_json(arguments.json, values)
    return console.EXIT_OK


def _default_bundle(quiet: bool) -> Bundle:
    path = DEFAULT_FOLDER / bundle_name(DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_RECIPE)
    if path.exists():
        console.say(f"no bundle given; measuring {path}", quiet)
    else:
        console.say(f"no bundle given; building {path}", quiet)
        path = api.compile(DEFAULT_MODEL, target=DEFAULT_TARGET, recipe=DEFAULT_RECIPE, out=DEFAULT_FOLDER)
    return read_bundle(path)


def _check_threads(threads: int) -> None:
    cores = os.cpu_count() or 1
    if threads > cores:
        raise ConfigError(f"--threads is {threads}, this machine has {cores} logical cores; give at most that many")


def _positive_int(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return number
