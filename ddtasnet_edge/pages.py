"""Pages that are written from the JSON files of measurements: what the commands that write them share."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge import console, files
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError, EdgeError
from ddtasnet_edge.markdown import blocks

#: The values of a JSON file.
Values = Any


@dataclass(frozen=True)
class Section:
    """Makes markdown of the values of its files; the pictures that it shows go into the folder.

    origin: the command whose --json wrote the files; several: whether there may be more than one.
    """

    make: Callable[[Sequence[Values], Path], str]
    origin: str
    several: bool = False

    @classmethod
    def of_one(cls, make: Callable[[Values, Path], str], origin: str) -> Section:
        """A section of the values of a single file."""
        return cls(lambda found, folder: make(found[0], folder), origin)


@dataclass(frozen=True)
class Page:
    """A page and the command that writes it. module: what follows `python -m`; sections: by name, in their order."""

    module: str
    title: str
    preface: str
    sections: Mapping[str, Section]

    def main(self, argv: Sequence[str] | None = None) -> int:
        """The command: an option for each section, and --out. Exit codes: 0 written, 2 usage or input."""
        return console.run_command(self._write, self._parser().parse_args(argv))

    def make(self, found: Mapping[str, Sequence[tuple[Path, Values]]], folder: Path, name: str) -> str:
        """The text of the page `name`, its pictures written into `folder`.

        found: by name of the section, its files with their values. Raises EdgeError for values that are not what the
        section expects.
        """
        sections = [self._section(section, pairs, folder) for section, pairs in found.items()]
        options = [f"--{section} {' '.join(path.name for path, _ in pairs)}" for section, pairs in found.items()]
        lines = " \\\n    ".join([f"python -m {self.module}", *options, f"--out docs/{name}"])
        return blocks(f"# {self.title}", self.preface, f"```sh\n{lines}\n```", *sections) + "\n"

    def _section(self, name: str, pairs: Sequence[tuple[Path, Values]], folder: Path) -> str:
        section = self.sections[name]
        for path, values in pairs if len(pairs) > 1 else ():
            # Each alone first: an error names its file.
            self._made(name, [path], section, [values], folder)
        paths, found = zip(*pairs, strict=True)
        return self._made(name, paths, section, found, folder)

    def _made(self, name: str, paths: Sequence[Path], section: Section, values: Sequence[Values], folder: Path) -> str:
        try:
            return section.make(values, folder)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            names = " ".join(map(str, paths))
            raise EdgeError(f"--{name} is {names}: {reason}; give what {section.origin} --json wrote") from error

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}", description=f"Write the page '{self.title}'.", allow_abbrev=False
        )
        for name, section in self.sections.items():
            parser.add_argument(
                f"--{name}",
                type=Path,
                nargs="+" if section.several else 1,
                metavar="JSON",
                help=f"what {section.origin} --json wrote",
            )
        parser.add_argument("--out", type=Path, required=True, metavar="PAGE", help="such as docs/PAGE.md")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return parser

    def _write(self, arguments: argparse.Namespace) -> int:
        require(("matplotlib",), "drawing the page", "eval")
        files.require_folder(arguments.out)
        given = {name: paths for name in self.sections if (paths := getattr(arguments, name)) is not None}
        if not given:
            options = ", ".join(f"--{name}" for name in self.sections)
            raise ConfigError(f"no measurement is given; give at least one of {options}")
        found = {name: [(path, _read(path)) for path in paths] for name, paths in given.items()}
        out: Path = arguments.out
        # Nothing is replaced before all of it is made.
        with tempfile.TemporaryDirectory() as folder:
            text = self.make(found, Path(folder), out.name)
            for picture in sorted(Path(folder).iterdir()):
                files.write_bytes(out.parent / picture.name, picture.read_bytes())
        files.write_text(out, text)
        return console.EXIT_OK


def _read(path: Path) -> Values:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EdgeError(f"cannot read {path}: {error}") from error
