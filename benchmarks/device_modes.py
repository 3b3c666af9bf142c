"""What `ddtasnet-bench` does for a board that is not this machine: measure it over ssh, or emulate and estimate it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.board_answer import ANY_PI, BoardAnswer, answer_for, board_of, draw, goal_of
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted, find_or_build
from ddtasnet_edge.benchmarks.delivery import deliver, print_times
from ddtasnet_edge.benchmarks.emulation.boards import Board, board_named
from ddtasnet_edge.benchmarks.emulation.counting import InstructionCounter
from ddtasnet_edge.benchmarks.emulation.place import EmulatedPlace, emulated_place, find_emulator
from ddtasnet_edge.benchmarks.emulation.sysroot import cache_folder
from ddtasnet_edge.benchmarks.machine import HOST
from ddtasnet_edge.benchmarks.place_parity import COLUMNS, LEGEND, PlaceParityReport, parity_at
from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.benchmarks.remote.bench import bench_on
from ddtasnet_edge.benchmarks.remote.install import check_extra, extra_for
from ddtasnet_edge.benchmarks.remote.look import Board as RemoteBoard
from ddtasnet_edge.benchmarks.remote.look import check_asked
from ddtasnet_edge.benchmarks.remote.place import open_board
from ddtasnet_edge.benchmarks.remote.wheel import make_wheel
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.errors import DeviceError

#: What is emulated when no bundle is named: every runtime, in float and with the INT8 recipe of `--int8`.
MODEL, RECIPES = "small", ("float32", "static_wi8_ai8")


@dataclass(frozen=True)
class EmulationReport:
    """Parity on an emulated board, and an estimate of the real one. instructions: per hop, or why there are none."""

    board: Board
    parity: PlaceParityReport
    instructions: dict[str, float] | str
    answer: BoardAnswer

    def print(self) -> None:
        """Tables and facts."""
        _print_parity(self.parity)
        if isinstance(self.instructions, str):
            print(f"instructions per hop: {self.instructions}")
        else:
            rows = [[name, f"{count / 1e6:.2f}"] for name, count in self.instructions.items()]
            console.print_table("Instructions per hop, counted by the emulator", ("bundle", "millions"), rows)
        print("no time was taken under emulation; what follows is an estimate")
        self.answer.print()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counted = not isinstance(self.instructions, str)
        return {
            "board": self.board.name,
            "emulated": self.board.model,
            "parity": self.parity.to_dict(),
            "instructions_per_hop": self.instructions if counted else None,
            "instructions_note": None if counted else self.instructions,
            "answer": self.answer.to_dict(),
        }


@dataclass(frozen=True)
class RemoteReport:
    """What was measured on a board over ssh. answer: None for a machine that no profile is about."""

    setup: list[str]
    parity: PlaceParityReport
    times: BenchReport
    answer: BoardAnswer | None

    @property
    def place(self) -> str:
        """The board as the user wrote it, and its processor."""
        return f"{self.parity.place} ({self.parity.results[0].machine})"

    def print(self) -> None:
        """Tables and facts."""
        _print_parity(self.parity)
        print_times(self.times, self.place)
        print(*self.setup, sep="\n")
        print(f"sizes: RSS and the light install are those on {self.place}, graph files are the same everywhere")
        if self.answer is not None:
            self.answer.print()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "setup": self.setup,
            "parity": self.parity.to_dict(),
            "bench": self.times.to_dict(),
            "answer": None if self.answer is None else self.answer.to_dict(),
        }


def emulate(arguments: argparse.Namespace, folder: Path) -> int:
    """Parity on the aarch64 runtimes of a board, and an estimate. folder: for bundles, when none is named."""
    board, goal = _emulated_board(arguments.device), goal_of(arguments)
    find_emulator()  # before anything is built
    bundles = _bundles(arguments, folder)
    hear = partial(console.say, quiet=arguments.quiet)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = make_wheel(Path(scratch))
        extras = extra_for(bundles).split(",")
        with emulated_place(board, extras, wheel, cache_folder(), hear) as place:
            parity = parity_at(place, bundles, arguments.model, quiet=arguments.quiet)
            instructions = _count(place, bundles)
    report = EmulationReport(board, parity, instructions, answer_for(board.name, bundles, goal))
    deliver(arguments, report.to_dict(), report.print)
    draw(report.answer, arguments.plot)
    return verdict(parity)


def measure_remote(arguments: argparse.Namespace, options: Options, folder: Path) -> int:
    """Parity and times of bundles on a board behind ssh."""
    goal = goal_of(arguments)
    address = SshAddress(arguments.host, arguments.port, arguments.identity, arguments.ssh_config)
    bundles = _bundles(arguments, folder) if arguments.bundles else []
    extra = extra_for(bundles) if bundles else check_extra(",".join(TARGETS))

    def prepare(found: RemoteBoard) -> None:
        """Refuse a board that is another one before the work of building and installing begins."""
        check_asked(address.host, found, options.device, options.threads)
        if not bundles:
            bundles.extend(_bundles(arguments, folder))

    with open_board(address, extra, quiet=arguments.quiet, prepare=prepare) as place:
        parity = parity_at(place, bundles, arguments.model, quiet=arguments.quiet)
        console.say(f"{place.name}: measuring", arguments.quiet)
        times = bench_on(place, bundles, options)
        setup = place.setup.notes()
    board = board_of(times)
    report = RemoteReport(setup, parity, times, None if board is None else answer_for(board, bundles, goal, times))
    deliver(arguments, report.to_dict(), report.print)
    draw(report.answer, arguments.plot)
    return verdict(parity)


def _emulated_board(device: str) -> Board:
    if device in (HOST, ANY_PI):
        raise DeviceError(f"--emulate needs to know which board, found --device {device}; give rpi4, for example")
    return board_named(device)


def _bundles(arguments: argparse.Namespace, folder: Path) -> list[Bundle]:
    """The bundles that are named, or the default ones, built if need be."""
    if arguments.bundles:
        return [read_bundle(path) for path in arguments.bundles]
    wanted = [Wanted(arguments.model or MODEL, target, recipe) for target in TARGETS for recipe in RECIPES]
    with console.activity(arguments.quiet) as begin:
        return find_or_build(wanted, folder, begin)


def _count(place: EmulatedPlace, bundles: Sequence[Bundle]) -> dict[str, float] | str:
    try:
        counts = InstructionCounter(place).per_hop(bundles)
    except DeviceError as error:
        return str(error)
    return dict(zip((bundle.path.name for bundle in bundles), counts, strict=True))


def _print_parity(parity: PlaceParityReport) -> None:
    console.print_table(f"Parity on {parity.place}", COLUMNS, parity.rows())
    print(LEGEND, *parity.notes(), sep="\n")


def verdict(parity: PlaceParityReport) -> int:
    """The exit code, after every missed threshold was said."""
    for failure in parity.failures:
        console.say(f"failed: {failure}")
    return console.EXIT_GATE_FAILED if parity.failures else console.EXIT_OK
