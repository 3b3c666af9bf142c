"""All findings, as a table, as JSON and as a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.doctor.checkup import examine_machine
from ddtasnet_edge.benchmarks.doctor.finding import FAILURE, OK, UNKNOWN, Finding
from ddtasnet_edge.benchmarks.doctor.packages import PACKAGES, System
from ddtasnet_edge.benchmarks.doctor.runtimes import examine_runtimes
from ddtasnet_edge.benchmarks.machine import Machine, describe_machine

COLUMNS = ("what", "verdict", "found")


@dataclass(frozen=True)
class DoctorReport:
    """What was found about the runtimes and about the machine."""

    machine: Machine
    runtimes: tuple[Finding, ...]
    checks: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """At least one runtime works, and nothing is a failure."""
        names = {package.distribution for package in PACKAGES}
        works = any(one.verdict == OK and one.subject in names for one in self.runtimes)
        return works and not any(one.verdict == FAILURE for one in self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return self.runtimes + self.checks

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "healthy": self.healthy}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DoctorReport:
        """The inverse of `to_dict`."""
        findings = {name: tuple(Finding(**one) for one in values[name]) for name in ("runtimes", "checks")}
        return cls(machine=Machine.from_dict(values["machine"]), **findings)

    def rows(self) -> list[list[str]]:
        """The table: one row per finding under COLUMNS."""
        return [[one.subject, one.verdict, one.found] for one in self.findings]

    def fixes(self) -> list[str]:
        """What to do, a line each, to be copied."""
        return [f"{one.subject}: {one.fix}" for one in self.findings if one.fix]

    def hints(self) -> list[str]:
        """What would show what is unknown, a line each."""
        return [f"{one.subject}: {one.shown_by}" for one in self.findings if one.shown_by]

    def verdict(self) -> str:
        """Whether this is fit to run bundles, in a line; what is unknown stands beside it and changes nothing."""
        unknown = ", ".join(one.subject for one in self.findings if one.verdict == UNKNOWN)
        remark = f"; unknown, and it may disturb figures: {unknown}" if unknown else ""
        return f"verdict: {'fit' if self.healthy else 'not fit'} to run bundles{remark}"


def run_doctor(root: Path = Path("/"), system: System | None = None) -> DoctorReport:
    """Look at every runtime and at the machine; root: where its files are."""
    machine, system = describe_machine(root), system or System.here()
    return DoctorReport(
        machine=machine,
        runtimes=tuple(examine_runtimes(machine, system)),
        checks=tuple(examine_machine(machine, system, root)),
    )


def print_doctor(report: DoctorReport) -> None:
    """The table, what to do, what would show what is unknown, and the verdict."""
    console.print_table("Doctor", COLUMNS, report.rows())
    for title, lines in (("what to do:", report.fixes()), ("what would show the unknown:", report.hints())):
        if lines:
            print(title, *(f"  {line}" for line in lines), sep="\n")
    print(report.verdict())
