"""The sections of the quality page. Each makes markdown of what `ddtasnet-eval` or `ddtasnet-recipes` wrote as JSON."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ddtasnet_edge.clips import DEFAULT_NOTE, MUSDB_NOTE
from ddtasnet_edge.evaluation.changes import StemSummary, change_caption, change_table
from ddtasnet_edge.evaluation.drift_report import RECOVERED, SILENCE
from ddtasnet_edge.evaluation.tables import decibels, signed
from ddtasnet_edge.markdown import blocks, bullets, table
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.pages import Section, Values

_OF_MUSIC = {DEFAULT_NOTE: [], MUSDB_NOTE: ["--musdb", "ROOT"]}
PLOT = "quality-recipes.png"
AFTER_SILENCE = f"""\
Music after {SILENCE} s of digital silence, mean uSDR of its first second in dB; a second counts as recovered when it is
at most {RECOVERED:g} dB below the same one at the start of the stream:"""


def separation_section(reports: Sequence[Values], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-eval MODEL`: models beside each other on the same music, between its floor and its ceiling."""
    by_music = [list(group) for _, group in groupby(sorted(reports, key=_music), key=_music)]
    columns = ["music", "what", *(row["source"] for row in reports[0]["summary"])]
    rows = [row for group in by_music for row in _separation_rows(group)]
    legend = [
        "uSDR in dB, mean over tracks; mean: over stems",
        "floor: the mix taken for every stem",
        f"ceiling: {reports[0]['ceiling']}",
        *(f"{_music_name(group[0])}: {group[0]['music']}" for group in by_music),
    ]
    return blocks("## How well the models separate", _commands(reports), table(columns, rows), bullets(legend))


def streams_section(reports: Sequence[Values], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-eval MODEL --drift`: models as streams of minutes."""
    minutes = len(reports[0]["drift"]["minutes"])
    numbers = [str(number) for number in range(1, minutes + 1)]
    usdr = [[each["name"], *(decibels(_number(minute["usdr"])) for minute in _minutes(each))] for each in reports]
    silence = [[each["name"], *_after_silence(each["drift"])] for each in reports]
    # Memories are full by minute 2; what grew after it would go on growing.
    looked_at = (1, 2, minutes)
    columns = [f"`{each['name']}` {minute}" for each in reports for minute in looked_at]
    magnitudes = [
        [f"`{slot}`", *(f"{_minutes(each)[minute - 1]['state'][slot]:.4g}" for each in reports for minute in looked_at)]
        for slot in _minutes(reports[0])[0]["state"]
    ]
    return blocks(
        "## Minutes as one stream",
        _commands(reports),
        "Mean uSDR over the stems in dB, minute by minute:",
        table(["model", *numbers], usdr),
        AFTER_SILENCE,
        table(["model", "first second", "at the start", "seconds until recovered", "verdicts"], silence),
        f"Largest magnitude in every state slot in minutes 1, 2 and {minutes}, looked at once a second:",
        table(["slot", *columns], magnitudes),
    )


def recipes_section(results: Sequence[Values], folder: Path) -> str:
    """Of `ddtasnet-recipes`: what rounding costs, recipe by recipe."""
    from ddtasnet_edge.quantize.compare import COLUMNS, RecipeResult, rows
    from ddtasnet_edge.quantize.plot import plot_recipes

    found = [RecipeResult(**each) for one in results for each in one]
    plot_recipes(found, folder / PLOT)
    models = list(dict.fromkeys(each.model for each in found))
    recipes = list(dict.fromkeys(each.recipe for each in found))
    command = ["--model", *models, "--songs", "songs", "--recipe", *recipes]
    legend = [
        "MB/hop: weights that a hop reads; of float: share of those of float32",
        "SNR: of all stems against PyTorch, lowest of any song, in dB",
        "mean dSDR: of the stem that changed most on average; worst dSDR: of any stem of any song, in dB",
        "parity: within the thresholds of `runtimes/thresholds.json`",
    ]
    return blocks(
        "## What rounding costs",
        _shell([["ddtasnet-recipes", *command, "--json", "FILE"]]),
        table(COLUMNS, rows(found)),
        bullets(legend),
        f"![weights read per hop against the largest change of SDR]({PLOT})",
    )


def drift_section(reports: Sequence[Values], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-eval BUNDLE --against MODEL --drift`: does what rounding costs stay what it is?"""
    sources = list(reports[0]["drift"]["against"]["minutes"][0]["dsdr"])
    minutes = len(reports[0]["drift"]["minutes"])
    rows = [[f"`{each['name']}`", *_paired_cells(each["drift"]["against"]["minutes"], sources)] for each in reports]
    columns = ["bundle", *(f"{source} {which}" for source in sources for which in ("1", str(minutes))), "lowest SNR"]
    legend = [
        f"dSDR against PyTorch in float32 in dB, of minute 1 and of minute {minutes}",
        "lowest SNR: of any state slot in any minute, in dB",
        *_music_lines(reports),
    ]
    return blocks("## Does it stay so for minutes?", _commands(reports), table(columns, rows), bullets(legend))


def changes_section(reports: Sequence[Values], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-eval BUNDLE --against MODEL`: what changes, stem by stem."""
    parts = ["## Stem by stem, also where a stem is silent", _commands(reports)]
    for each in reports:
        if each["against"] is None:
            raise ValueError(f"{each['name']} was compared with nothing")
        columns, rows = change_table([_summary(row) for row in each["changes"]])
        caption = change_caption(each["against"], each["name"]).splitlines()
        parts += [table(columns, rows), bullets([*caption, *_music_lines([each])])]
    return blocks(*parts)


def _separation_rows(reports: Sequence[Values]) -> Iterable[list[str]]:
    """Floor, every model, ceiling of one choice of music."""
    first = reports[0]
    yield [_music_name(first), "floor", *_usdr(first, "floor")]
    yield from (["", f"`{each['name']}`", *_usdr(each, "model")] for each in reports)
    yield ["", "ceiling", *_usdr(first, "ceiling")]


def _usdr(report: Values, estimate: str) -> list[str]:
    return [decibels(_number(row[estimate]["usdr"])) for row in report["summary"]]


def _after_silence(drift: Values) -> list[str]:
    after, before = (decibels(_number(drift[name][0])) for name in ("after", "undisturbed"))
    return [after, before, str(drift["recovery"]), "; ".join(drift["failures"]) or "stable"]


def _minutes(report: Values) -> Sequence[Values]:
    found: Sequence[Values] = report["drift"]["minutes"]
    return found


def _paired_cells(minutes: Sequence[Values], sources: Sequence[str]) -> list[str]:
    """dSDR of each stem in the first and the last minute, and the lowest SNR of a slot."""
    changes = [signed(_number(minute["dsdr"][source])) for source in sources for minute in (minutes[0], minutes[-1])]
    # What is equal has no finite SNR, and null in JSON.
    known = [value for minute in minutes for value in minute["state_snr"].values() if value is not None]
    return [*changes, decibels(min(known, default=math.nan), 1)]


def _summary(row: Mapping[str, Any]) -> StemSummary:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in row.items()}
    return StemSummary(**known)


def _number(value: float | None) -> float:
    """JSON has null where there is no figure."""
    return math.nan if value is None else value


def _music(report: Values) -> tuple[bool, str, list[str]]:
    """What reports on the same music share, and no others; several tracks come before one."""
    return len(report["tracks"]) == 1, str(report["split"]), [str(track["sha256"]) for track in report["tracks"]]


def _music_name(report: Values) -> str:
    tracks = report["tracks"]
    return str(tracks[0]["track"]) if len(tracks) == 1 else f"{len(tracks)} {report['split']} tracks"


def _music_lines(reports: Sequence[Values]) -> list[str]:
    """Which music the figures are of, each once."""
    return list(dict.fromkeys(f"on {_music_name(each)}: {each['music']}" for each in reports))


def _commands(reports: Sequence[Values]) -> str:
    """What to type for the figures of each report; for bundles of one model once."""
    commands = [_command(each) for each in reports]
    return _shell([list(each) for each in dict.fromkeys(map(tuple, commands))])


def _command(report: Values) -> list[str]:
    against, drift = report["against"], report["drift"]
    return [
        "ddtasnet-eval",
        report["name"] if against is None else "build/BUNDLE.edge",
        *([] if against is None else ["--against", against]),
        *_OF_MUSIC.get(report["music"], ["--songs", "songs"]),
        *([] if report["split"] == MusicChoice.split else ["--split", report["split"]]),
        *([] if drift is None else ["--drift", str(len(drift["minutes"]))]),
        *("--json", "FILE"),
    ]


def _shell(commands: Iterable[Sequence[str]]) -> str:
    lines = "\n".join(shlex.join(command) for command in commands)
    return f"```sh\n{lines}\n```"


#: In the order of the page; the names are those of its options.
SECTIONS = {
    "separation": Section(separation_section, "ddtasnet-eval", several=True),
    "streams": Section(streams_section, "ddtasnet-eval --drift", several=True),
    "recipes": Section(recipes_section, "ddtasnet-recipes", several=True),
    "drift": Section(drift_section, "ddtasnet-eval --against --drift", several=True),
    "changes": Section(changes_section, "ddtasnet-eval --against", several=True),
}
