"""A profile as tables: operators, the most expensive nodes, and the facts beside them."""

from __future__ import annotations

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.profile import BundleProfile, NodeCost, Profile, ProfileReport
from ddtasnet_edge.benchmarks.troubles import machine_notes

OP_COLUMNS = ("operator", "calls", "us", "share")
NODE_COLUMNS = ("node", "operator", "layer", "us", "share", "kB", "floor", "/floor")
LEGEND = """\
us: microseconds per hop; share: of the step without the profiler
outside: the step less all nodes: session, scheduling, and what the profiler rounds off or adds
kB: stored weight with its scales; floor: microseconds in which one thread reads it once; /floor: us / floor"""
NONE = "-"


def print_profiles(report: ProfileReport) -> None:
    """Both tables of every bundle on stdout, then the notes."""
    for result in report.results:
        if result.profile is not None:
            console.print_table(result.bundle, OP_COLUMNS, op_rows(result.profile))
            nodes = [_node_row(result.profile, node) for node in result.profile.top()]
            console.print_table(f"{result.bundle}: most expensive nodes", NODE_COLUMNS, nodes)
    print(LEGEND, *notes(report), sep="\n")


def op_rows(profile: Profile) -> list[tuple[str, ...]]:
    """A row per operator, then the rest and the whole."""
    rows = [(cost.op, str(cost.calls), cost.us) for cost in profile.ops()]
    rows += [("outside", "", profile.outside_us), ("step", "", profile.step_us)]
    return [(op, calls, f"{us:.1f}", _share(us, profile)) for op, calls, us in rows]


def notes(report: ProfileReport) -> list[str]:
    """The facts beside the tables, one line each; what was left out says so here."""
    mode = f"mode: back-to-back, 1 thread, {report.hops} hops after {report.warmup} warm-up hops; input: {report.input}"
    return [*machine_notes(report.machine, report.device), mode, *(_bundle_note(result) for result in report.results)]


def _node_row(profile: Profile, node: NodeCost) -> tuple[str, ...]:
    cells = (node.name, node.op, node.layer or NONE, f"{node.us:.1f}", _share(node.us, profile))
    if not node.weight_bytes:
        return (*cells, NONE, NONE, NONE)
    floor = profile.floor_us(node.weight_bytes)
    return (*cells, f"{node.weight_bytes / 1e3:.1f}", f"{floor:.1f}", f"{node.us / floor:.1f}")


def _bundle_note(result: BundleProfile) -> str:
    name = f"{result.bundle}: "
    profile = result.profile
    if profile is None:
        return f"{name}left out: {result.left_out}"
    return (
        f"{name}{profile.runtime}, graph {result.digest}, {result.status}; means of {profile.basis}, "
        f"{profile.profiled_step_us:.0f} us a step with the profiler; {profile.remark}; "
        f"{len(profile.nodes)} nodes, each rounded down by up to {profile.rounding_us:g} us; "
        f"{result.weight_bytes / 1e6:.1f} MB of weights per hop at {profile.bandwidth / 2**30:.1f} GiB/s"
    )


def _share(us: float, profile: Profile) -> str:
    return f"{100 * us / profile.step_us:.1f} %"
