"""Writes docs/DEVICES.md from the profiles, the costs of presets and the JSON of the validation.

python -m ddtasnet_edge.benchmarks.estimate.page --validation docs/performance/estimate.json --out docs/DEVICES.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddtasnet_edge import console, files, markdown
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.estimate import answer, host_suite
from ddtasnet_edge.benchmarks.estimate.cost import preset_costs
from ddtasnet_edge.benchmarks.estimate.host_suite import HOPS, ROUNDS, HostReport
from ddtasnet_edge.benchmarks.estimate.page_text import (
    ADDING,
    DISPATCH,
    HOST,
    INTRODUCTION,
    MEMORY,
    MODEL,
    NOT_INDEPENDENT,
    NOT_REPRODUCED,
)
from ddtasnet_edge.benchmarks.estimate.plot import plot_answer
from ddtasnet_edge.benchmarks.estimate.profile import DeviceProfile, load_profiles
from ddtasnet_edge.benchmarks.estimate.published import (
    LEGEND,
    PUBLISHED_COLUMNS,
    UNKNOWN_SEPARATOR,
    published,
    published_notes,
)
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import EdgeError

MODULE = "python -m ddtasnet_edge.benchmarks.estimate.page"
PICTURE = "devices.png"
# The table of every target is three times as long, and the picture has it.
SHOWN_TARGET = "tflite"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 written, 2 usage or input."""
    return console.run_command(_write, _parser().parse_args(argv))


def make_page(validation: Mapping[str, Any]) -> str:
    """The text of the page; the picture is drawn apart. Raises KeyError or TypeError for values of another command."""
    profiles = load_profiles()
    checks = [each.check() for each in published()]
    found = answer.answer(profiles, preset_costs())
    shown = [verdict.row() for verdict in found.verdicts if verdict.target == SHOWN_TARGET]
    host = HostReport.from_dict(validation["host"])
    blocks = [
        INTRODUCTION.format(options=_options(host)),
        "## What runs in time",
        f"![Time per hop against the hop budget]({PICTURE})",
        markdown.bullets(found.sentences()),
        markdown.table(answer.COLUMNS, shown),
        markdown.bullets([*answer.LEGEND.splitlines(), *answer.notes(profiles)]),
        MODEL,
        "## Boards of others",
        markdown.table(PUBLISHED_COLUMNS, [check.row() for check in checks]),
        markdown.bullets([*LEGEND.splitlines(), *published_notes(checks)]),
        NOT_INDEPENDENT,
        NOT_REPRODUCED.format(once=f"{UNKNOWN_SEPARATOR.predict().us / 1000:.1f}"),
        "## The machine that this was written on",
        HOST,
        markdown.table(host_suite.COLUMNS, host.rows()),
        markdown.bullets([*host_suite.LEGEND.splitlines(), *host.notes()]),
        MEMORY,
        "## Profiles",
        DISPATCH.format(fitted=_dispatch(host)),
        *map(_profile, profiles),
        ADDING,
    ]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _options(host: HostReport) -> str:
    """Those of the command that measured this machine, where they are not the default."""
    targets = [target for target in TARGETS if any(point.cost.target == target for point in host.points)]
    chosen = "" if len(targets) == len(TARGETS) else f" --target {','.join(targets)}"
    return (
        chosen
        + ("" if host.hops == HOPS else f" --hops {host.hops}")
        + ("" if host.rounds == ROUNDS else f" --rounds {host.rounds}")
    )


def _dispatch(host: HostReport) -> str:
    """What a hop and an operator take on the machine that was measured, by runtime."""
    values = host.profile.values()
    runtimes = dict.fromkeys(point.cost.runtime for point in host.points)
    return ", ".join(
        f"{values[f'{runtime}.hop_us']:.0f} us and {values[f'{runtime}.operator_us']:.2f} us ({runtime})"
        for runtime in runtimes
    )


def _profile(profile: DeviceProfile) -> str:
    facts = f"{profile.soc}; from {profile.memory_mb} MB; foresees {profile.prefetch_streams} streams. {profile.source}"
    caches = [
        [cache.name, f"{cache.bytes // 1024} KB", f"shared by {cache.shared_by}", "", cache.source]
        for cache in profile.caches
    ]
    figures = [
        [name, f"{figure.value:g}", f"{figure.low:g}", f"{figure.high:g}", figure.source]
        for name, figure in profile.figures.items()
    ]
    columns = ("figure", "value", "low", "high", "source")
    return markdown.blocks(
        f"### `{profile.name}`: {profile.title}", facts, markdown.table(columns, [*caches, *figures])
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=MODULE, description="Write the page of the devices.", allow_abbrev=False)
    parser.add_argument(
        "--validation", type=Path, required=True, metavar="JSON", help="what the validation --measure wrote"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PAGE", help="such as docs/DEVICES.md")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _write(arguments: argparse.Namespace) -> int:
    require(("matplotlib",), "drawing the page", "eval")
    files.require_folder(arguments.out)
    try:
        text = make_page(json.loads(arguments.validation.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise EdgeError(
            f"--validation is {arguments.validation}: {error}; give what the validation wrote with --measure and --json"
        ) from error
    plot_answer(answer.answer(load_profiles(), preset_costs()), arguments.out.parent / PICTURE)
    files.write_text(arguments.out, text)
    return console.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
