"""`ddtasnet-songs`: songs with known stems, made from seeds, to train and test on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ddtasnet_edge import console
from ddtasnet_edge.training.songs.make import SPLITS, make_songs

EXAMPLES = """\
  ddtasnet-songs --out songs --split train --count 180 --seconds 16
  ddtasnet-songs --out songs --split test --count 20 --seconds 16 --jobs 2
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `ddtasnet-songs`. Returns 0 when the songs are there, 2 on bad input, 130 on Ctrl-C."""
    return console.run_command(_songs, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser(
        "ddtasnet-songs", "Make songs with known stems from seeds; songs that are there are kept.", EXAMPLES
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="songs go to DIR/SPLIT/SPLIT-NUMBER")
    parser.add_argument("--split", choices=tuple(SPLITS), required=True, help="no split shares a song with another")
    parser.add_argument("--count", metavar="N", type=int, required=True, help="songs in the split, numbered from 0")
    parser.add_argument("--seconds", metavar="S", type=float, required=True, help="length of each song, 1 to 300")
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    return parser


def _songs(arguments: argparse.Namespace) -> int:
    report = make_songs(
        arguments.out,
        arguments.split,
        arguments.count,
        arguments.seconds,
        jobs=arguments.jobs,
        quiet=arguments.quiet,
    )
    console.say(f"{report.made} songs made, {report.kept} were there already", arguments.quiet)
    if arguments.json is not None:
        console.write_json(arguments.json, asdict(report))
    if arguments.json != "-":
        print(arguments.out / arguments.split)
    return console.EXIT_OK
