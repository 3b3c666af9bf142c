"""`ddtasnet-bench`: per-hop times of bundles, beside the facts that explain them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ddtasnet_edge import api, console
from ddtasnet_edge.benchmarks import compare, pass_suite, scaling_suite
from ddtasnet_edge.benchmarks.hogs import share_cores
from ddtasnet_edge.benchmarks.machine import HOST, PI_MODELS, check_device
from ddtasnet_edge.benchmarks.profile_report import print_profiles
from ddtasnet_edge.benchmarks.profile_suite import HOPS as PROFILE_HOPS
from ddtasnet_edge.benchmarks.profile_suite import profile_bundles
from ddtasnet_edge.benchmarks.realtime import check_support
from ddtasnet_edge.benchmarks.report import COLUMNS, LEGEND, BenchReport
from ddtasnet_edge.benchmarks.scaling_report import print_scaling
from ddtasnet_edge.benchmarks.suite import Options, run_suite
from ddtasnet_edge.bundle import Bundle, bundle_name, read_bundle
from ddtasnet_edge.errors import ConfigError

DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_RECIPE = "small", "tflite", "static_wi8_ai8"
DEFAULT_FOLDER = Path("build")
PASSES_MODEL = "tiny"
SCALING_FOLDER = DEFAULT_FOLDER / "scaling"

EXAMPLES = """\
  ddtasnet-bench                                     # builds and measures the default bundle
  ddtasnet-bench build/*.edge                        # one table; add a torch bundle for the column "x torch"
  ddtasnet-bench build/small-tflite-static_wi8_ai8.edge --paced --json paced.json
  ddtasnet-bench build/small-*-static_wi8_ai8.edge --paced --minutes 10 --hog --realtime   # the tails, under load
  ddtasnet-bench build/base-*.edge --hops 10000 --threads 2
  ddtasnet-bench --profile build/small-*.edge        # where the time goes, by the runtimes' own profilers
  ddtasnet-bench --passes --models tiny              # what each pass of the step gains
  ddtasnet-bench --scaling --json scaling.json       # which presets are in time, at which precision and threads
  ddtasnet-bench --compare old.json new.json         # two files of pytest benchmarks/bench_step.py
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 measured, 1 a bundle failed its parity or got slower, 2 usage or input."""
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
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--hops",
        type=_positive_int,
        metavar="N",
        help=f"hops per bundle (default {defaults.hops}, with --profile {PROFILE_HOPS}, "
        f"with --scaling {scaling_suite.HOPS})",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--profile", action="store_true", help="show what each operator and layer takes")
    instead.add_argument("--scaling", action="store_true", help="compare presets at all precisions, threads and hops")
    instead.add_argument("--passes", action="store_true", help="time the step with and without each of its passes")
    parser.add_argument(
        "--models",
        metavar="LIST",
        help="presets, separated by commas: with --scaling several (default all), with --passes one "
        f"(default {PASSES_MODEL})",
    )
    instead.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("OLD", "NEW"),
        help="fail if a bundle got slower from one file of benchmarks/bench_step.py to another",
    )
    length.add_argument("--minutes", type=_minutes, metavar="M", help="minutes of audio per bundle, in place of --hops")
    parser.add_argument("--paced", action="store_true", help="start hops on the hop clock instead of back-to-back")
    parser.add_argument("--hog", action="store_true", help="keep all other cores busy meanwhile")
    parser.add_argument(
        "--realtime", action="store_true", help="with --paced: SCHED_FIFO and locked memory, where permitted"
    )
    parser.add_argument(
        "--threads", type=_positive_int, default=defaults.threads, metavar="N", help="threads (default %(default)s)"
    )
    return parser


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.compare:
        return _compare(arguments)
    check_device(arguments.device)
    if arguments.scaling or arguments.passes:
        _refuse_options_of_a_run(arguments)
        return _scale(arguments) if arguments.scaling else _compare_passes(arguments)
    if arguments.models is not None:
        raise ConfigError("--models says what --scaling and --passes build; add one of them, or give bundles")
    _check_options(arguments)
    # All bundles are read before the first is measured: a wrong path must not cost the figures of the others.
    bundles = [read_bundle(path) for path in arguments.bundles] or [_default_bundle(arguments.quiet)]
    if arguments.profile:
        profiles = profile_bundles(bundles, arguments.hops or PROFILE_HOPS, arguments.device, quiet=arguments.quiet)
        return _deliver(arguments, profiles.to_dict(), partial(print_profiles, profiles))
    report = run_suite(bundles, _options(arguments), quiet=arguments.quiet)
    return _deliver(arguments, report.to_dict(), partial(_print_times, report))


def _refuse_options_of_a_run(arguments: argparse.Namespace) -> None:
    switches = [f"--{name}" for name in ("paced", "minutes", "hog", "realtime") if getattr(arguments, name)]
    given = ["bundles"] * bool(arguments.bundles) + switches + ["--threads"] * (arguments.threads != 1)
    if given:
        mode = "--scaling" if arguments.scaling else "--passes"
        raise ConfigError(f"{mode} builds what it measures and runs it back-to-back; leave out {', '.join(given)}")


def _compare_passes(arguments: argparse.Namespace) -> int:
    options = Options(arguments.hops or pass_suite.HOPS, device=arguments.device)
    report = pass_suite.run_passes(arguments.models or PASSES_MODEL, options, quiet=arguments.quiet)
    return _deliver(arguments, report.to_dict(), partial(_print_passes, report))


def _print_passes(report: pass_suite.PassReport) -> None:
    console.print_table("Passes of the step", pass_suite.COLUMNS, report.rows())
    print(pass_suite.LEGEND, report.machine.note(HOST), sep="\n")


def _scale(arguments: argparse.Namespace) -> int:
    presets = (arguments.models or ",".join(scaling_suite.MODELS)).split(",")
    options = Options(arguments.hops or scaling_suite.HOPS, device=arguments.device)
    report = scaling_suite.run_scaling(presets, options, SCALING_FOLDER, quiet=arguments.quiet)
    return _deliver(arguments, report.to_dict(), partial(print_scaling, report))


def _compare(arguments: argparse.Namespace) -> int:
    found = compare.compare_files(*arguments.compare)
    _deliver(arguments, found.to_dict(), partial(_print_comparison, found))
    for failure in found.failures:
        console.say(f"failed: {failure}")
    return console.EXIT_GATE_FAILED if found.failures else console.EXIT_OK


def _print_comparison(found: compare.BenchComparison) -> None:
    console.print_table("Fastest hop over its reference", compare.COLUMNS, found.rows())
    print(compare.LEGEND, *found.notes(), sep="\n")


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


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        hops=arguments.hops or Options().hops,
        minutes=arguments.minutes,
        threads=arguments.threads,
        paced=arguments.paced,
        device=arguments.device,
        hog=arguments.hog,
        realtime=arguments.realtime,
    )


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.profile:
        useless = ("paced", "minutes", "hog", "realtime")
        if arguments.threads != 1 or any(getattr(arguments, name) for name in useless):
            options = ", ".join(f"--{name}" for name in useless)
            raise ConfigError(f"--profile runs --hops back-to-back on one thread; leave out {options} and --threads")
    cores = os.cpu_count() or 1
    if arguments.threads > cores:
        raise ConfigError(
            f"--threads is {arguments.threads}, this machine has {cores} logical cores; give at most that many"
        )
    if arguments.hog:
        share_cores(arguments.threads)
    if arguments.realtime:
        if not arguments.paced:
            raise ConfigError("--realtime is for hops that wait for the hop clock; add --paced")
        check_support()


def _positive_int(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return number


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0.0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of minutes above 0")
    return minutes
