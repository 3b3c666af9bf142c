"""Writes docs/PERFORMANCE.md from the JSON files of measurements, with its pictures beside it.

python -m ddtasnet_edge.benchmarks.performance_page --bench bench.json --scaling scaling.json --out docs/PERFORMANCE.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddtasnet_edge import console, files
from ddtasnet_edge.benchmarks.performance_sections import SECTIONS
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError, EdgeError

MODULE = "python -m ddtasnet_edge.benchmarks.performance_page"
TITLE = "# Performance"
PREFACE = """\
Figures of the machine named beside them and of no other; read ratios within one run. Written by the command below, and
not by hand; what is an estimate is called one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 written, 2 usage or input."""
    return console.run_command(_write, _parser().parse_args(argv))


def make_page(found: Mapping[str, tuple[Path, Mapping[str, Any]]], out: Path) -> str:
    """The text of the page, its pictures written into its folder.

    found: by name of the section, the file and its values. Raises EdgeError for values that are not what the section
    expects.
    """
    sections = []
    for name, (path, values) in found.items():
        make, origin = SECTIONS[name]
        try:
            sections.append(make(values, out.parent))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise EdgeError(f"--{name} is {path}: {reason}; give what {origin} --json wrote") from error
    arguments = " ".join(f"--{name} {path.name}" for name, (path, _) in found.items())
    command = f"```sh\n{MODULE} {arguments} --out docs/{out.name}\n```"
    return "\n\n".join([TITLE, PREFACE, command, *sections]) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=MODULE, description="Write the performance page.", allow_abbrev=False)
    for name, (_, origin) in SECTIONS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="JSON", help=f"what {origin} --json wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="PAGE", help="such as docs/PERFORMANCE.md")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _write(arguments: argparse.Namespace) -> int:
    require(("matplotlib",), "drawing the page", "eval")
    files.require_folder(arguments.out)
    given = {name: path for name in SECTIONS if (path := getattr(arguments, name)) is not None}
    if not given:
        raise ConfigError(
            f"no measurement is given; give at least one of {', '.join(f'--{name}' for name in SECTIONS)}"
        )
    found = {name: (path, _read(path)) for name, path in given.items()}
    files.write_text(arguments.out, make_page(found, arguments.out))
    return console.EXIT_OK


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EdgeError(f"cannot read {path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
