"""The sections of the performance page. Each makes markdown of the JSON of one measurement."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddtasnet_edge.benchmarks import pass_suite, report, scaling_report
from ddtasnet_edge.benchmarks.machine import HOST
from ddtasnet_edge.benchmarks.pass_suite import PassReport
from ddtasnet_edge.benchmarks.peers import report as peers_report
from ddtasnet_edge.benchmarks.peers.report import PeersReport
from ddtasnet_edge.benchmarks.performance_plots import plot_floor, plot_hops, plot_scaling
from ddtasnet_edge.benchmarks.report import PACED, BenchReport
from ddtasnet_edge.benchmarks.scaling import ScalingReport
from ddtasnet_edge.benchmarks.scaling_report import Table
from ddtasnet_edge.markdown import blocks, bullets, table
from ddtasnet_edge.pages import Section


def bench_section(values: Mapping[str, Any], folder: Path) -> str:
    """Of `ddtasnet-bench`: how long hops take."""
    found = BenchReport.from_dict(values)
    plot_hops(found, folder / "performance-hops.png")
    plot_floor(found, folder / "performance-floor.png")
    return blocks(
        "## Time per hop",
        _bench_facts(found),
        "![How long hops took](performance-hops.png)",
        "![p50 against bytes of weights](performance-floor.png)",
    )


def paced_section(values: Mapping[str, Any], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-bench --paced`: the tails."""
    return blocks("## Paced by the hop clock", _bench_facts(BenchReport.from_dict(values)))


def peers_section(values: Mapping[str, Any], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-bench --peers`: our bundles beside what else can be made of the same model."""
    found = PeersReport.from_dict(values)
    return blocks(
        "## The same weights through other tools",
        _command(
            "--peers", "--model", found.model, *_device(found.device), *_threads(found.threads), "--hops", found.hops
        ),
        table(peers_report.COLUMNS, found.rows()),
        peers_report.LEGEND,
        table(peers_report.COMPARISON_COLUMNS, [each.row() for each in found.comparisons()]),
        bullets(found.facts()),
    )


def scaling_section(values: Mapping[str, Any], folder: Path) -> str:
    """Of `ddtasnet-bench --scaling`: where which model stops being in time."""
    found = ScalingReport.from_dict(values)
    plot_scaling(found, folder / "performance-scaling.png")
    presets = ",".join(dict.fromkeys(model.preset for model in found.models))
    first = found.runs[0]
    return blocks(
        "## Scaling",
        _command("--scaling", "--model", presets, *_device(first.device), "--hops", first.hops),
        "![p99 over presets](performance-scaling.png)",
        _titled(scaling_report.limits(found)),
        _titled(scaling_report.paper_limits(found)),
        scaling_report.PAPER_LEGEND,
        _titled(scaling_report.measured(found)),
        scaling_report.LEGEND,
        _titled(scaling_report.on_paper(found)),
        bullets(scaling_report.notes(found)),
    )


def passes_section(values: Mapping[str, Any], folder: Path) -> str:  # noqa: ARG001 - without a picture
    """Of `ddtasnet-bench --passes`: what each pass of the step gains."""
    found = PassReport.from_dict(values)
    return blocks(
        "## What the passes of the step gain",
        _command("--passes", "--model", found.model, *_device(found.device), "--hops", found.hops),
        table(pass_suite.COLUMNS, found.rows()),
        pass_suite.LEGEND,
        bullets(found.notes()),
    )


#: In the order of the page; the names are those of its options.
SECTIONS = {
    "bench": Section.of_one(bench_section, "ddtasnet-bench"),
    "peers": Section.of_one(peers_section, "ddtasnet-bench --peers"),
    "passes": Section.of_one(passes_section, "ddtasnet-bench --passes"),
    "scaling": Section.of_one(scaling_section, "ddtasnet-bench --scaling"),
    "paced": Section.of_one(paced_section, "ddtasnet-bench --paced"),
}


def _bench_facts(found: BenchReport) -> str:
    """The command, the table and the notes of a run."""
    bundles = [f"build/{result.bundle}" for result in found.results]
    realtime = any(one.realtime is not None for result in found.results for one in result.rounds)
    flags = {"--paced": found.mode == PACED, "--hog": found.cores is not None, "--realtime": realtime}
    length = ["--hops", found.hops] if found.minutes is None else ["--minutes", f"{found.minutes:g}"]
    options = [*_device(found.device), *(flag for flag, given in flags.items() if given), *_threads(found.threads)]
    return blocks(
        _command(*bundles, *options, *length),
        table(report.COLUMNS, found.rows()),
        bullets([*report.LEGEND.splitlines(), *found.notes()]),
    )


def _device(name: str) -> list[str]:
    """The option for it, if it needs one."""
    return [] if name == HOST else ["--device", name]


def _threads(count: int) -> list[str]:
    """The option for them, if they need one."""
    return [] if count == 1 else ["--threads", str(count)]


def _command(*arguments: object) -> str:
    """The command that makes these figures, as a shell block."""
    return f"```sh\nddtasnet-bench {shlex.join(map(str, arguments))} --json FILE\n```"


def _titled(found: Table) -> str:
    return f"### {found.title}\n\n{table(found.columns, found.rows)}"
