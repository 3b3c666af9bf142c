"""What each pass of the step gains: the step with all passes against the step without one, in the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.building import TARGETS
from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.suite import Options, run_suite
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.dependencies import require

# More than for a bundle alone: a pass may gain two hundredths.
HOPS = 1500
RECIPE = "float32"
EVERY = "all passes"
COLUMNS = ("model", "target", "without", "p50 off", "p50 on", "off / on")
LEGEND = "p50: milliseconds per hop, without the pass (off) and with it (on), the other passes in place, float32"


@dataclass(frozen=True)
class PassGain:
    """One pass on one target; off_us and on_us: median time of a hop without it and with it."""

    name: str
    model: str
    target: str
    off_us: float
    on_us: float


@dataclass(frozen=True)
class PassReport:
    """All passes of all targets."""

    machine: Machine
    gains: tuple[PassGain, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """Cells of the table, by COLUMNS."""
        return [
            (
                *(gain.model, gain.target, gain.name),
                *(f"{gain.off_us / 1000:.3f}", f"{gain.on_us / 1000:.3f}", f"{gain.off_us / gain.on_us:.2f}"),
            )
            for gain in self.gains
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "command": f"ddtasnet-bench --passes --model {','.join(dict.fromkeys(gain.model for gain in self.gains))}",
            "machine": asdict(self.machine),
            "notes": [LEGEND],
            "rows": [
                {
                    "pass": gain.name,
                    "model": gain.model,
                    "target": gain.target,
                    "recipe": RECIPE,
                    "off_us": gain.off_us,
                    "on_us": gain.on_us,
                }
                for gain in self.gains
            ],
        }


def run_passes(model: str, options: Options, quiet: bool = False) -> PassReport:
    """Build the step of every target with all passes and without each, and time all of a target in one run.

    Raises ConfigError or CheckpointError for a model that cannot be found, MissingDependencyError without the tools.
    """
    require(("torch", "safetensors"), "building steps to measure", "export")
    gains: list[PassGain] = []
    with tempfile.TemporaryDirectory() as temporary:
        for target in TARGETS:
            with console.activity(quiet) as begin:
                bundles = _build(model, target, Path(temporary), begin)
            report = run_suite(list(bundles.values()), options, quiet)
            medians = dict(zip(bundles, (one.hop_times.percentile_us(500) for one in report.results), strict=True))
            with_all = medians.pop(EVERY)
            gains += [PassGain(name, Path(model).stem, target, off, with_all) for name, off in medians.items()]
    return PassReport(report.machine, tuple(gains))


def _build(model: str, target: str, folder: Path, begin: Callable[[str], None]) -> dict[str, Bundle]:
    """The step of one target by the pass that it lacks."""
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.export.passes import passes_of
    from ddtasnet_edge.quantize import recipe_named

    bundles = {}
    for without in (None, *passes_of(target)):
        name = without.name if without else EVERY
        begin(f"{target}: {f'without {name}' if without else name}: building")
        place = folder / f"{target} {name}"
        place.mkdir()
        Compiler(model, without=without).build(place, target, recipe_named(RECIPE))
        bundles[name] = read_bundle(place)
    return bundles
