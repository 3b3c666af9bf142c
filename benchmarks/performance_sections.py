"""The sections of the performance page. Each makes markdown of the JSON of one measurement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddtasnet_edge.benchmarks import report, scaling_report
from ddtasnet_edge.benchmarks.machine import HOST, Machine
from ddtasnet_edge.benchmarks.performance_plots import plot_floor, plot_hops, plot_scaling
from ddtasnet_edge.benchmarks.report import PACED, BenchReport
from ddtasnet_edge.benchmarks.scaling import ScalingReport
from ddtasnet_edge.benchmarks.scaling_report import Table

#: Makes a section of the values of a JSON file; the pictures that it shows go into the folder.
Section = Callable[[Mapping[str, Any], Path], str]

PEER_COLUMNS = ("way", "bits", "p50, ms", "spread", "x torch", "/ours", "SNR, dB", "dSDR, dB", "remark")
PEER_LEGEND = """\
p50: median over rounds; spread: from the fastest to the slowest round, of p50; x torch: p50 of the PyTorch step / p50;
/ours: p50 / p50 of our fastest bundle; SNR and dSDR (of the stem that changed most) against the stems of PyTorch. What
sounds wrong is not timed."""
COMPARISON_COLUMNS = ("what", "ours", "best of others", "gain", "dSDR of ours", "dSDR of the other")
PASS_COLUMNS = ("pass", "model", "target", "recipe", "off, ms", "on, ms", "off / on")
NONE = "-"
# What a column of numbers may hold.
NUMBER = re.compile(r"-$|[-+\d.]+( late|x|%)?$")


def bench_section(values: Mapping[str, Any], folder: Path) -> str:
    """Of `ddtasnet-bench`: how long hops take."""
    found = BenchReport.from_dict(values)
    plot_hops(found, folder / "performance-hops.png")
    plot_floor(found, folder / "performance-floor.png")
    return _blocks(
        "## Time per hop",
        _bench_facts(found),
        "![How long hops took](performance-hops.png)",
        "![p50 against bytes of weights](performance-floor.png)",
    )


def paced_section(values: Mapping[str, Any], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-bench --paced`: the tails."""
    return _blocks("## Paced by the hop clock", _bench_facts(BenchReport.from_dict(values)))


def peers_section(values: Mapping[str, Any], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-bench --peers`: our bundles beside what else can be made of the same model."""
    comparisons = [
        [
            *(each["what"], each["ours"], each["peer"], f"{each['gain']:.2f}x"),
            *(_cell(each[key], ".3f") for key in ("ours_dsdr_db", "peer_dsdr_db")),
        ]
        for each in values["comparisons"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    facts = (
        f"{values['weights']}; {_threads(values['threads'])}, at most {values['hops']} hops each in {values['rounds']} "
        f"interleaved rounds; input: {values['input']}"
    )
    peers = [each["peer"] for each in values["results"]]
    hows = [f"{peer['name']}: {peer['how']}" for peer in peers if not peer["ours"]]
    return _blocks(
        "## The same weights through other tools",
        _command("--peers", "--model", values["model"], *_threads_option(values), "--hops", values["hops"]),
        _table(PEER_COLUMNS, [_peer_row(each) for each in values["results"]]),
        PEER_LEGEND,
        _table(COMPARISON_COLUMNS, comparisons),
        _list([Machine(**values["machine"]).note(values["device"]), facts, versions, *hows]),
    )


def scaling_section(values: Mapping[str, Any], folder: Path) -> str:
    """Of `ddtasnet-bench --scaling`: where which model stops being in time."""
    found = ScalingReport.from_dict(values)
    plot_scaling(found, folder / "performance-scaling.png")
    presets = ",".join(dict.fromkeys(model.preset for model in found.models))
    return _blocks(
        "## Scaling",
        _command("--scaling", "--model", presets, "--hops", found.runs[0].hops),
        "![p99 over presets](performance-scaling.png)",
        _titled(scaling_report.limits(found)),
        _titled(scaling_report.paper_limits(found)),
        scaling_report.PAPER_LEGEND,
        _titled(scaling_report.measured(found)),
        scaling_report.LEGEND,
        _titled(scaling_report.on_paper(found)),
        _list(scaling_report.notes(found)),
    )


def passes_section(values: Mapping[str, Any], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """What each pass of the step gains, on against off in one run.

    values: `command`, `machine`, `notes` (a list of lines), and `rows`, each with `pass`, `model`, `target`, `recipe`,
    `off_us` and `on_us`.
    """
    rows = [
        [
            *(each["pass"], each["model"], each["target"], each["recipe"]),
            *(f"{each['off_us'] / 1000:.3f}", f"{each['on_us'] / 1000:.3f}", f"{each['off_us'] / each['on_us']:.2f}"),
        ]
        for each in values["rows"]
    ]
    return _blocks(
        "## What the passes of the step gain",
        f"```sh\n{values['command']}\n```",
        _table(PASS_COLUMNS, rows),
        _list([Machine(**values["machine"]).note(HOST), *values["notes"]]),
    )


#: In the order of the page; the names are those of its options.
SECTIONS: dict[str, tuple[Section, str]] = {
    "bench": (bench_section, "ddtasnet-bench"),
    "peers": (peers_section, "ddtasnet-bench --peers"),
    "passes": (passes_section, "the comparison of passes"),
    "scaling": (scaling_section, "ddtasnet-bench --scaling"),
    "paced": (paced_section, "ddtasnet-bench --paced"),
}


def _bench_facts(found: BenchReport) -> str:
    """The command, the table and the notes of a run."""
    paced = ["--paced"] if found.mode == PACED else []
    bundles = [f"build/{result.bundle}" for result in found.results]
    options = [*paced, *_threads_option({"threads": found.threads}), "--hops", found.hops]
    return _blocks(
        _command(*bundles, *options),
        _table(report.COLUMNS, found.rows()),
        _list([*report.LEGEND.splitlines(), *found.notes()]),
    )


def _peer_row(values: Mapping[str, Any]) -> list[str]:
    peer, summary, check = values["peer"], values["summary"], values["check"] or {"snr_db": None, "dsdr_db": None}
    p50, spread = summary["p50_us"], summary["spread"]
    return [
        *(peer["name"], str(peer["bits"]), _cell(p50 and p50 / 1000, ".3f"), _cell(spread, ".0%")),
        *(_cell(summary["x_torch"], ".2f"), _cell(summary["x_ours"], ".2f")),
        *(_cell(check["snr_db"], ".1f"), _cell(check["dsdr_db"], "+.3f"), values["failure"] or ""),
    ]


def _cell(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _threads_option(values: Mapping[str, Any]) -> list[str]:
    return [] if values["threads"] == 1 else ["--threads", str(values["threads"])]


def _command(*arguments: object) -> str:
    """The command that makes these figures, as a shell block."""
    return "```sh\nddtasnet-bench " + " ".join(map(str, arguments)) + " --json FILE\n```"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = list(rows)
    # Numbers are right-aligned.
    rules = ["--:" if all(NUMBER.match(row[index]) for row in cells) else "---" for index in range(len(columns))]
    lines = [columns, rules, *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _titled(table: Table) -> str:
    return f"### {table.title}\n\n{_table(table.columns, table.rows)}"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _blocks(*blocks: str) -> str:
    return "\n\n".join(blocks)
