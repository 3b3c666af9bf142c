"""What `ddtasnet-bench` can measure, one function for each: from its options to a report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ddtasnet_edge import api, console
from ddtasnet_edge.benchmarks import compare, device_modes, pass_suite, scaling_suite
from ddtasnet_edge.benchmarks.board_answer import BoardAnswer, answer_for, board_of, draw, goal_of
from ddtasnet_edge.benchmarks.delivery import deliver, print_times
from ddtasnet_edge.benchmarks.doctor.report import print_doctor, run_doctor
from ddtasnet_edge.benchmarks.peers.report import print_peers
from ddtasnet_edge.benchmarks.peers.suite import run_peers
from ddtasnet_edge.benchmarks.profile_report import print_profiles
from ddtasnet_edge.benchmarks.profile_suite import HOPS as PROFILE_HOPS
from ddtasnet_edge.benchmarks.profile_suite import profile_bundles
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.benchmarks.scaling_report import print_scaling
from ddtasnet_edge.benchmarks.suite import Options, run_suite
from ddtasnet_edge.bundle import Bundle, bundle_name, read_bundle
from ddtasnet_edge.errors import EdgeError

DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_RECIPE = "small", "tflite", "static_wi8_ai8"
PASSES_MODEL = "tiny"
DEFAULT_FOLDER = Path("build")
SCALING_FOLDER = DEFAULT_FOLDER / "scaling"
#: Hops per bundle of a mode, where they are not those of a plain run.
DEFAULT_HOPS = {"profile": PROFILE_HOPS, "passes": pass_suite.HOPS, "scaling": scaling_suite.HOPS}

Mode = Callable[[argparse.Namespace], int]


def bench(arguments: argparse.Namespace) -> int:
    """Time bundles; without any the default one, built if need be."""
    goal, bundles = goal_of(arguments), _bundles(arguments)
    report = run_suite(bundles, _options(arguments), quiet=arguments.quiet)
    board = board_of(report)
    try:
        found = None if board is None else answer_for(board, bundles, goal, report)
    except EdgeError:
        # The times took minutes; no trouble with what is said of them may cost them.
        deliver(arguments, report.to_dict(), partial(print_times, report))
        raise
    answered = {} if found is None else {"answer": found.to_dict()}
    deliver(arguments, {**report.to_dict(), **answered}, partial(_print_bench, report, found))
    draw(found, arguments.plot)
    return console.EXIT_OK


def emulate(arguments: argparse.Namespace) -> int:
    """Bundles on the emulated runtimes of a board, and an estimate of the board."""
    return device_modes.emulate(arguments, DEFAULT_FOLDER)


def host(arguments: argparse.Namespace) -> int:
    """Bundles on a board behind ssh."""
    return device_modes.measure_remote(arguments, _options(arguments), DEFAULT_FOLDER)


def profile(arguments: argparse.Namespace) -> int:
    """What each operator of bundles takes."""
    hops = arguments.hops or PROFILE_HOPS
    profiles = profile_bundles(_bundles(arguments), hops, arguments.device, quiet=arguments.quiet)
    return deliver(arguments, profiles.to_dict(), partial(print_profiles, profiles))


def peers(arguments: argparse.Namespace) -> int:
    """Our bundles of a model beside what other tools make of it."""
    comparison = run_peers(arguments.model or DEFAULT_MODEL, _options(arguments), quiet=arguments.quiet)
    return deliver(arguments, comparison.to_dict(), partial(print_peers, comparison))


def passes(arguments: argparse.Namespace) -> int:
    """The step of a model with and without each of its passes."""
    options = _options(arguments, pass_suite.HOPS)
    model, recipe = arguments.model or PASSES_MODEL, arguments.recipe or pass_suite.FLOAT
    report = pass_suite.run_passes(model, options, recipe, quiet=arguments.quiet)
    return deliver(arguments, report.to_dict(), partial(_print_passes, report))


def scaling(arguments: argparse.Namespace) -> int:
    """Presets at all precisions, threads and hops."""
    presets = (arguments.model or ",".join(scaling_suite.MODELS)).split(",")
    options = _options(arguments, scaling_suite.HOPS)
    report = scaling_suite.run_scaling(presets, options, SCALING_FOLDER, quiet=arguments.quiet)
    return deliver(arguments, report.to_dict(), partial(print_scaling, report))


def compare_runs(arguments: argparse.Namespace) -> int:
    """Two files of benchmarks/bench_step.py; fails if a bundle got slower."""
    found = compare.compare_files(*arguments.compare)
    deliver(arguments, found.to_dict(), partial(_print_comparison, found))
    for failure in found.failures:
        console.say(f"failed: {failure}")
    return console.EXIT_GATE_FAILED if found.failures else console.EXIT_OK


def doctor(arguments: argparse.Namespace) -> int:
    """Whether the runtimes work here and the machine is fit to be measured; fails if not."""
    report = run_doctor()
    deliver(arguments, report.to_dict(), partial(print_doctor, report))
    return console.EXIT_OK if report.healthy else console.EXIT_GATE_FAILED


#: By the option that asks for it; without any it is `bench`.
MODES: dict[str, Mode] = {
    "profile": profile,
    "peers": peers,
    "passes": passes,
    "scaling": scaling,
    "compare": compare_runs,
    "emulate": emulate,
    "host": host,
    "doctor": doctor,
}


def _options(arguments: argparse.Namespace, hops: int = Options.hops) -> Options:
    return Options(
        hops=arguments.hops or hops,
        minutes=arguments.minutes,
        threads=arguments.threads,
        paced=arguments.paced,
        device=arguments.device,
        hog=arguments.hog,
        realtime=arguments.realtime,
        song=arguments.song,
    )


def _bundles(arguments: argparse.Namespace) -> list[Bundle]:
    """All are read before the first is measured: a wrong path must not cost the figures of the others."""
    return [read_bundle(path) for path in arguments.bundles] or [_default_bundle(arguments.quiet)]


def _default_bundle(quiet: bool) -> Bundle:
    path = DEFAULT_FOLDER / bundle_name(DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_RECIPE)
    if path.exists():
        console.say(f"no bundle given; measuring {path}", quiet)
    else:
        console.say(f"no bundle given; building {path}", quiet)
        path = api.compile(DEFAULT_MODEL, target=DEFAULT_TARGET, recipe=DEFAULT_RECIPE, out=DEFAULT_FOLDER)
    return read_bundle(path)


def _print_bench(report: BenchReport, found: BoardAnswer | None) -> None:
    print_times(report)
    if found is not None:
        found.print()


def _print_passes(report: pass_suite.PassReport) -> None:
    console.print_table("Passes of the step", pass_suite.COLUMNS, report.rows())
    print(pass_suite.LEGEND, *report.notes(), sep="\n")


def _print_comparison(found: compare.BenchComparison) -> None:
    console.print_table("Fastest hop over its reference", compare.COLUMNS, found.rows())
    print(compare.LEGEND, *found.notes(), sep="\n")
