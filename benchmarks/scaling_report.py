"""Scaling as tables: what was measured, what it means, and what it would mean elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.scaling import BANDWIDTHS, Case, Estimate, ScaledModel, ScalingReport
from ddtasnet_edge.benchmarks.troubles import machine_notes

C = TypeVar("C", Case, Estimate)

CASE_COLUMNS = (
    *("model", "hop", "target", "recipe", "threads"),
    *("p50", "p99", "budget", "RTF", "miss", "in time", "MB", "floor", "/floor"),
)
LEGEND = """\
p50, p99, budget (of a hop), floor (one thread reads the weights once) in ms; in time: p99 within the budget; miss: hops
over it; MB: weights read per hop; RTF: compute time / audio time"""
PAPER_LEGEND = """\
estimate: weights / bandwidth in ms per hop, of the target that reads fewest; compute is not in it, so what is late here
is late, and what is in time may be late all the same"""
NONE = "none"


@dataclass(frozen=True)
class Table:
    """Ready to print; rows are cells under columns."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]


def print_scaling(report: ScalingReport) -> None:
    """All tables on stdout, the facts beside them last."""
    for table in (measured(report), limits(report), on_paper(report), paper_limits(report)):
        console.print_table(table.title, table.columns, table.rows)
    print(LEGEND, PAPER_LEGEND, *notes(report), sep="\n")


def measured(report: ScalingReport) -> Table:
    """A row for each configuration."""
    return Table("Scaling, measured", CASE_COLUMNS, [_case_row(case) for case in report.cases()])


def limits(report: ScalingReport) -> Table:
    """Which presets, and which hops, are in time on this machine."""
    groups = _grouped(report.cases(), lambda case: (case.target, case.recipe, case.threads))
    rows = [[*map(str, key), *_in_time(cases)] for key, cases in groups.items()]
    return Table("In time on this machine", ("target", "recipe", "threads", "presets", "hops"), rows)


def on_paper(report: ScalingReport) -> Table:
    """What reading the weights takes at each of BANDWIDTHS."""
    groups = _grouped(report.estimates(), lambda each: (each.model.name, each.recipe))
    columns = ("model", "hop", "recipe", "MB", "budget", *map(_bandwidth, BANDWIDTHS))
    return Table("Reading the weights, on paper (estimate)", columns, [_paper_row(found) for found in groups.values()])


def paper_limits(report: ScalingReport) -> Table:
    """Which presets, and which hops, can be in time at each of BANDWIDTHS."""
    groups = _grouped(report.estimates(), lambda each: (each.recipe, each.bandwidth))
    rows = [[recipe, _bandwidth(bandwidth), *_in_time(found)] for (recipe, bandwidth), found in groups.items()]
    return Table("Can be in time, on paper (estimate)", ("recipe", "bandwidth", "presets", "hops"), rows)


def notes(report: ScalingReport) -> list[str]:
    """The facts beside the tables, one line each."""
    first = report.runs[0]
    mode = (
        f"mode: {first.mode}, {first.hops} hops per bundle in {first.rounds} interleaved rounds, each in a fresh "
        f"process after {first.warmup} warm-up hops, a run for each number of threads; input: {first.input}"
    )
    models = (f"{model.name} {model.parameters / 1e6:.1f} M ({model.weights})" for model in report.models)
    runtimes = dict.fromkeys(result.runtime for result in first.results)
    return [*machine_notes(first.machine, first.device), mode, f"weights: {', '.join(models)}", ", ".join(runtimes)]


def _case_row(case: Case) -> list[str]:
    model = case.model
    return [
        *(model.name, str(model.hop_length), case.target, case.recipe, str(case.threads)),
        *(_ms(case.p50_us), _ms(case.p99_us), _ms(model.budget_us), f"{case.rtf:.3f}", str(case.misses)),
        *("yes" if case.in_time else "no", f"{case.weight_bytes / 1e6:.1f}"),
        *(_ms(case.floor_us), f"{case.p50_us / case.floor_us:.1f}"),
    ]


def _paper_row(estimates: list[Estimate]) -> list[str]:
    first, model = estimates[0], estimates[0].model
    cells = [f"{_ms(each.read_us)}{'' if each.in_time else ' late'}" for each in estimates]
    return [
        *(model.name, str(model.hop_length), first.recipe, f"{first.weight_bytes / 1e6:.1f}", _ms(model.budget_us)),
        *cells,
    ]


def _in_time(cases: Iterable[C]) -> tuple[str, str]:
    """The presets that are in time with the hop that they come with; and the hops of the preset that has several."""
    found = list(cases)
    by_preset = _grouped(found, lambda case: case.model.preset)
    own = [of_preset[0] for of_preset in by_preset.values()]
    several = next((of_preset for of_preset in by_preset.values() if len(of_preset) > 1), [])
    presets = _names(own, lambda model: model.preset)
    hops = _names(several, lambda model: str(model.hop_length))
    return presets, f"{several[0].model.preset}: {hops}" if several else "-"


def _names(cases: Iterable[C], name: Callable[[ScaledModel], str]) -> str:
    return ", ".join(name(case.model) for case in cases if case.in_time) or NONE


K = TypeVar("K", bound=Hashable)


def _grouped(items: Iterable[C], key: Callable[[C], K]) -> dict[K, list[C]]:
    groups: dict[K, list[C]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _bandwidth(bandwidth: float) -> str:
    return f"{bandwidth / 1e9:g} GB/s"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.3f}"
