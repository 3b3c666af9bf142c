"""`ddtasnet-bench`: per-hop times of bundles, beside the facts that explain them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.board_answer import add_goal_options
from ddtasnet_edge.benchmarks.hogs import share_cores
from ddtasnet_edge.benchmarks.machine import HOST, PI_MODELS, check_device, device_named
from ddtasnet_edge.benchmarks.modes import DEFAULT_HOPS, DEFAULT_MODEL, MODES, PASSES_MODEL, bench
from ddtasnet_edge.benchmarks.realtime import check_support
from ddtasnet_edge.benchmarks.sound import SONG_SECONDS, load_music
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.files import require_folder

EXAMPLES = """\
  ddtasnet-bench                                     # builds and measures the default bundle
  ddtasnet-bench build/*.edge                        # one table; add a torch bundle for the column "x torch"
  ddtasnet-bench build/small-tflite-static_wi8_ai8.edge --paced --json paced.json
  ddtasnet-bench build/small-*-static_wi8_ai8.edge --paced --minutes 10 --hog --realtime   # the tails, under load
  ddtasnet-bench build/base-*.edge --hops 10000 --threads 2
  ddtasnet-bench --profile build/small-*.edge        # where the time goes, by the runtimes' own profilers
  ddtasnet-bench --peers --model base --json peers.json   # the same weights through other tools, beside our bundles
  ddtasnet-bench --passes --model tiny               # what each pass of the step gains
  ddtasnet-bench --scaling --json scaling.json       # which presets are in time, at which precision and threads
  ddtasnet-bench --device rpi5 --emulate             # parity on the board's runtimes, and an estimate of its time
  ddtasnet-bench --device rpi --host user@pi build/small-*.edge       # the board itself, over ssh
  ddtasnet-bench --compare old.json new.json         # two files of pytest benchmarks/bench_step.py
  ddtasnet-bench --doctor                            # do the runtimes work here, and is the machine fit to be measured
"""

TIMING = {"bundles", "hops", "minutes", "paced", "hog", "realtime", "threads", "song"}
GOAL = {"budget_ms", "sr", "hop", "plot"}
#: The options that each mode takes besides --device and --json; None: a plain run.
UNDERSTOOD: dict[str | None, set[str]] = {
    None: {*TIMING, *GOAL},
    "profile": {"bundles", "hops"},
    "peers": {"model", "hops", "threads"},
    "passes": {"model", "hops", "recipe"},
    "scaling": {"model", "hops"},
    "compare": set(),
    "emulate": {"bundles", "model", *GOAL},
    "host": {*TIMING, *GOAL, "model", "port", "identity", "ssh_config"},
    "doctor": set(),
}
#: Modes that measure nothing on this machine.
AWAY = ("compare", "emulate", "host")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 measured, 1 a gate failed, 2 usage or input.

    The gates: parity of a bundle, --compare without a slower one, --doctor with a runtime that works and no failure.
    """
    return console.run_command(_bench, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    defaults = Options()
    parser = console.parser("ddtasnet-bench", "Measure how long bundles take per hop, here or on a board.", EXAMPLES)
    parser.add_argument(
        "bundles",
        metavar="BUNDLE",
        nargs="*",
        type=Path,
        help="bundle folders (default: build one; with --emulate and --host small, float32 and INT8, on each runtime)",
    )
    parser.add_argument(
        "--device",
        default=defaults.device,
        metavar="NAME",
        help=f"%(default)s (default), or a board, here, over ssh or emulated: {', '.join(PI_MODELS)}",
    )
    _add_modes(parser)
    _add_ssh(parser)
    add_goal_options(parser)
    _add_length(parser, defaults)
    parser.add_argument("--paced", action="store_true", help="start hops on the hop clock instead of back-to-back")
    parser.add_argument("--hog", action="store_true", help="keep all other cores busy meanwhile")
    parser.add_argument(
        "--realtime", action="store_true", help="with --paced: SCHED_FIFO and locked memory, where permitted"
    )
    parser.add_argument(
        "--song",
        type=Path,
        metavar="FILE",
        help=f"music to feed, {SONG_SECONDS:g} s from its middle (default: the real clip of [eval], else noise)",
    )
    parser.add_argument(
        "--threads", type=_positive_int, default=defaults.threads, metavar="N", help="threads (default %(default)s)"
    )
    return parser


def _add_modes(parser: argparse.ArgumentParser) -> None:
    """What to do instead of timing bundles."""
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--profile", action="store_true", help="show what each operator and layer takes")
    modes.add_argument("--peers", action="store_true", help="compare our bundles with what other tools make of a model")
    modes.add_argument("--passes", action="store_true", help="time the step of a model with and without each pass")
    modes.add_argument("--scaling", action="store_true", help="compare presets at all precisions, threads and hops")
    modes.add_argument("--host", metavar="[USER@]HOST", help="measure a board over ssh, as your ssh config says")
    modes.add_argument("--emulate", action="store_true", help="run a board's runtimes under qemu, estimate its time")
    modes.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("OLD", "NEW"),
        help="fail if a bundle got slower from one file of benchmarks/bench_step.py to another",
    )
    modes.add_argument("--doctor", action="store_true", help="check the runtimes and this machine, and say what to do")
    parser.add_argument("--recipe", metavar="NAME|FILE", help="of --passes (float32)")
    parser.add_argument(
        "--model",
        metavar="PRESET|FILE",
        help=f"of --peers ({DEFAULT_MODEL}) and --passes ({PASSES_MODEL}); of --scaling presets, with commas (all); "
        "with --emulate and --host: what the bundles were made of",
    )


def _add_ssh(parser: argparse.ArgumentParser) -> None:
    """How to reach a board over ssh, beyond its name."""
    ssh = parser.add_argument_group("with --host")
    ssh.add_argument("--port", type=_positive_int, metavar="N", help="port of ssh")
    ssh.add_argument("--identity", type=Path, metavar="FILE", help="private key")
    ssh.add_argument("--ssh-config", type=Path, metavar="FILE", help="in place of your ssh config")


def _add_length(parser: argparse.ArgumentParser, defaults: Options) -> None:
    others = ", ".join(f"with --{mode} {hops}" for mode, hops in DEFAULT_HOPS.items())
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--hops", type=_positive_int, metavar="N", help=f"hops per bundle (default {defaults.hops}, {others})"
    )
    length.add_argument("--minutes", type=_minutes, metavar="M", help="minutes of audio per bundle, in place of --hops")


def _bench(arguments: argparse.Namespace) -> int:
    mode = next((name for name in MODES if _is_given(getattr(arguments, name))), None)
    arguments.device = device_named(arguments.device)
    _check_options(arguments, mode)
    return MODES[mode](arguments) if mode else bench(arguments)


def _check_options(arguments: argparse.Namespace, mode: str | None) -> None:
    """Raise ConfigError for options that do not go together, and for what this machine lacks."""
    given = {name for options in UNDERSTOOD.values() for name in options if _is_given(getattr(arguments, name))}
    given -= {"threads"} if arguments.threads == Options.threads else set()
    useless = sorted(given - UNDERSTOOD[mode])
    if useless:
        raise ConfigError(_misplaced(useless, mode))
    for path in (arguments.plot, None if arguments.json in (None, "-") else Path(arguments.json)):
        if path is not None:
            require_folder(path)
    if arguments.realtime and not arguments.paced:
        raise ConfigError("--realtime is for hops that wait for the hop clock; add --paced")
    if arguments.device == HOST and any(getattr(arguments, name) is not None for name in GOAL):
        raise ConfigError("--budget-ms, --sr, --hop and --plot are about a board; say which with --device")
    if mode not in AWAY:
        _check_machine(arguments)
    if arguments.song is not None:
        # Before the default bundle is built, or a board is asked.
        load_music(song=arguments.song)


def _misplaced(names: list[str], mode: str | None) -> str:
    """What to say of options that a mode does not take; of a plain run also what they would go with."""
    said = f"{f'--{mode}' if mode else 'timing bundles here'} has no use for {', '.join(map(_option, names))}"
    takers = [other for other, understood in UNDERSTOOD.items() if other is not None and understood.issuperset(names)]
    if mode is not None or not takers:
        return f"{said}; leave {'that' if len(names) == 1 else 'them'} out"
    *others, last = ("--host user@pi" if taker == "host" else f"--{taker}" for taker in takers)
    needed = f"{', '.join(others)} or {last}" if others else last
    which, it = ("which needs", "it") if len(names) == 1 else ("which need", "them")
    return f"{said}, {which} {needed}; add that, or leave {it} out"


def _option(name: str) -> str:
    """A name of UNDERSTOOD as a user types it."""
    return name if name == "bundles" else f"--{name.replace('_', '-')}"


def _is_given(value: object) -> bool:
    """Whether an option was typed; zero and the empty text are, though they are nothing."""
    return value is not None and value is not False and value != []


def _check_machine(arguments: argparse.Namespace) -> None:
    """Raise ConfigError or DeviceError for what this machine is not or cannot."""
    check_device(arguments.device)
    cores = os.cpu_count() or 1
    if arguments.threads > cores:
        raise ConfigError(
            f"--threads is {arguments.threads}, this machine has {cores} logical cores; give at most that many"
        )
    if arguments.hog:
        share_cores(arguments.threads)
    if arguments.realtime:
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
