"""Did a bundle get slower between two runs of `bench_step.py`? Ratios within a run are compared, never its times.

A machine is half as fast on some days, and another is faster on all days. What is compared is the fastest hop of a
bundle over the fastest reading of the weights as float32 in the same process: a reference that no change of ours makes
slower or faster, and that with batch 1 is held back by what holds back the step. The fastest, because what else the
machine does only ever adds: between two runs of the same code on a busy two-core machine, the ratio of four bundles
moved by 3 to 21 % by the p50, by 0 to 8 % by the fastest hop. How hops scatter is `ddtasnet-bench`'s to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge.errors import EdgeError

#: How much a ratio may grow.
ALLOWED = 0.10
#: What `bench_step.py` writes down about each benchmark, under `extra_info`.
BUNDLE, REFERENCE_US = "bundle", "reference_us"
MAKE = "pytest benchmarks/bench_step.py --benchmark-json FILE"
LEGEND = "old, new: fastest hop of all turns / fastest time in which one thread read the weights once as float32"
COLUMNS = ("bundle", "old", "new", "change")


@dataclass(frozen=True)
class Change:
    """The ratio of one bundle in both runs."""

    bundle: str
    old: float
    new: float

    @property
    def growth(self) -> float:
        """0.1 for a tenth slower."""
        return self.new / self.old - 1.0


@dataclass(frozen=True)
class BenchComparison:
    """Two runs. lost: bundles that only the old one has; added: that only the new one has; note: about machines."""

    changes: tuple[Change, ...]
    lost: tuple[str, ...]
    added: tuple[str, ...]
    note: str

    @property
    def failures(self) -> list[str]:
        """One line for everything that must not be."""
        slower = [
            f"{each.bundle} is {100 * each.growth:.1f} % slower, {each.new:.2f} times its reference instead of "
            f"{each.old:.2f}; allowed are {100 * ALLOWED:.0f} %"
            for each in self.changes
            if each.growth > ALLOWED
        ]
        return slower + [f"{bundle} is in the old file only; measure it again" for bundle in self.lost]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        changes = [{**asdict(each), "growth": each.growth} for each in self.changes]
        return {**asdict(self), "changes": changes, "failures": self.failures}

    def notes(self) -> list[str]:
        """The facts beside the table, one line each."""
        return [self.note, *(f"{bundle} is new: nothing to compare with" for bundle in self.added)]

    def rows(self) -> list[list[str]]:
        """The table under COLUMNS, the largest growth first."""
        ordered = sorted(self.changes, key=lambda each: each.growth, reverse=True)
        return [[each.bundle, f"{each.old:.2f}", f"{each.new:.2f}", f"{100 * each.growth:+.1f} %"] for each in ordered]


@dataclass(frozen=True)
class BenchFile:
    """What one file holds. ratios: by bundle, over all its turns."""

    cpu: str
    ratios: Mapping[str, float]


def compare_files(old: Path, new: Path) -> BenchComparison:
    """Compare two files of MAKE. Raises EdgeError for a file that is none."""
    before, after = read_bench(old), read_bench(new)
    common = [bundle for bundle in before.ratios if bundle in after.ratios]
    same = before.cpu == after.cpu
    return BenchComparison(
        changes=tuple(Change(bundle, before.ratios[bundle], after.ratios[bundle]) for bundle in common),
        lost=tuple(bundle for bundle in before.ratios if bundle not in after.ratios),
        added=tuple(bundle for bundle in after.ratios if bundle not in before.ratios),
        note=f"both on {after.cpu}"
        if same
        else f"two machines, {before.cpu} and {after.cpu}: a ratio may differ by that",
    )


def read_bench(path: Path) -> BenchFile:
    """The ratios in one file. Raises EdgeError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        turns: dict[str, list[tuple[float, float]]] = {}
        for entry in values["benchmarks"]:
            extra = entry["extra_info"]
            turns.setdefault(str(extra[BUNDLE]), []).append((entry["stats"]["min"], extra[REFERENCE_US]))
        ratios = {bundle: _ratio(found) for bundle, found in turns.items()}
        cpu = str(values["machine_info"]["cpu"].get("brand_raw", "an unknown CPU"))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise EdgeError(f"cannot compare {path}: {reason}; make it with {MAKE}") from error
    if not ratios:
        raise EdgeError(f"cannot compare {path}: it holds no benchmark; make it with {MAKE}")
    return BenchFile(cpu, ratios)


def _ratio(turns: list[tuple[float, float]]) -> float:
    """Of the fastest hop (s) and the fastest reference (us) of all turns."""
    for seconds, reference_us in turns:
        if not (0.0 < seconds < math.inf and 0.0 < reference_us < math.inf):
            raise ValueError(f"a hop of {seconds} s and a reference of {reference_us} us make no ratio")
    return 1e6 * min(seconds for seconds, _ in turns) / min(reference_us for _, reference_us in turns)
