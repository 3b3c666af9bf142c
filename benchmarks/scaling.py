"""How far a model can grow: presets, precisions, runtimes, threads and hops, measured here and estimated elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.benchmarks.report import BenchReport, BundleResult
from ddtasnet_edge.bundle import Bundle

#: Read bandwidths to estimate for, in bytes per second: one core of a Pi 3, of a Pi 4, and a Pi 5.
BANDWIDTHS = (2e9, 4e9, 10e9)


@dataclass(frozen=True)
class ScaledModel:
    """A model of the comparison. name: as bundles have it; preset: what it is but for its hop.

    weights: 'random' or 'trained'.
    """

    name: str
    preset: str
    hop_length: int
    sample_rate: int
    parameters: int
    weights: str

    @classmethod
    def of(cls, bundle: Bundle, preset: str) -> ScaledModel:
        """The model in a bundle."""
        model, spec = bundle.manifest.model, bundle.manifest.spec
        return cls(
            name=str(model["name"]),
            preset=preset,
            hop_length=spec.hop_length,
            sample_rate=spec.sample_rate,
            parameters=int(model["parameters"]),
            weights=bundle.manifest.weights,
        )

    @property
    def budget_us(self) -> float:
        """The hop budget in microseconds."""
        return self.hop_length / self.sample_rate * 1e6


@dataclass(frozen=True)
class Case:
    """One configuration as measured. Times in microseconds."""

    model: ScaledModel
    target: str
    recipe: str
    threads: int
    weight_bytes: int
    p50_us: float
    p99_us: float
    misses: int
    rtf: float
    floor_us: float

    @property
    def in_time(self) -> bool:
        """Whether 99 of 100 hops kept the hop budget; the rest may be the machine's doing, and is counted."""
        return self.p99_us <= self.model.budget_us


@dataclass(frozen=True)
class Estimate:
    """What reading the weights alone takes at some bandwidth, without any compute: nothing real is faster.

    weight_bytes: of the target that reads fewest.
    """

    model: ScaledModel
    recipe: str
    weight_bytes: int
    bandwidth: float

    @property
    def read_us(self) -> float:
        """Microseconds per hop."""
        return self.weight_bytes / self.bandwidth * 1e6

    @property
    def in_time(self) -> bool:
        """Whether the weights can be read within the hop budget at all."""
        return self.read_us <= self.model.budget_us


@dataclass(frozen=True)
class ScalingReport:
    """Measurements of the same bundles, one run for each number of threads, and the models in these bundles."""

    models: tuple[ScaledModel, ...]
    runs: tuple[BenchReport, ...]

    def cases(self) -> list[Case]:
        """Every configuration, in the order in which it was measured."""
        models = {model.name: model for model in self.models}
        return [_case(models[result.model], result, run.threads) for run in self.runs for result in run.results]

    def estimates(self) -> Iterator[Estimate]:
        """Each model and recipe at each of BANDWIDTHS."""
        results = self.runs[0].results
        for model in self.models:
            of_model = [result for result in results if result.model == model.name]
            for recipe in dict.fromkeys(result.recipe for result in of_model):
                fewest = min(result.weight_bytes for result in of_model if result.recipe == recipe)
                yield from (Estimate(model, recipe, fewest, bandwidth) for bandwidth in BANDWIDTHS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: everything measured, then `cases` and `estimates` with what follows from it."""
        return {
            "models": [asdict(model) for model in self.models],
            "runs": [run.to_dict() for run in self.runs],
            "cases": [_case_dict(case) for case in self.cases()],
            "estimates": [_estimate_dict(estimate) for estimate in self.estimates()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScalingReport:
        """The inverse of `to_dict`; what follows is computed again."""
        models = tuple(ScaledModel(**model) for model in values["models"])
        return cls(models, tuple(BenchReport.from_dict(run) for run in values["runs"]))


def _case(model: ScaledModel, result: BundleResult, threads: int) -> Case:
    times = result.hop_times
    return Case(
        model=model,
        target=result.target,
        recipe=result.recipe,
        threads=threads,
        weight_bytes=result.weight_bytes,
        p50_us=times.percentile_us(500),
        p99_us=times.percentile_us(990),
        misses=times.misses,
        rtf=times.rtf,
        floor_us=result.floor_us,
    )


def _case_dict(case: Case) -> dict[str, Any]:
    return {**asdict(case), "model": case.model.name, "budget_us": case.model.budget_us, "in_time": case.in_time}


def _estimate_dict(estimate: Estimate) -> dict[str, Any]:
    return {
        **asdict(estimate),
        "model": estimate.model.name,
        "read_us": estimate.read_us,
        "budget_us": estimate.model.budget_us,
        "in_time": estimate.in_time,
    }
