"""What a benchmark found: the figures of each bundle beside the facts they depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from ddtasnet_edge.benchmarks.hogs import Cores
from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.timing import HopTimes, pool
from ddtasnet_edge.benchmarks.troubles import machine_notes
from ddtasnet_edge.benchmarks.worker import Round
from ddtasnet_edge.bundle import Bundle

BACK_TO_BACK, PACED = "back-to-back", "paced"
REFERENCE_TARGET = "torch"
PERCENTILES = {"p50": 500, "p95": 950, "p99": 990, "p99.9": 999, "max": 1000}

COLUMNS = (
    *("model", "target", "recipe", *PERCENTILES, "miss", "RTF"),
    *("x torch", "floor", "/floor", "load", "MB", "RSS"),
)
LEGEND = """\
p50 to max, floor, load in milliseconds; miss: hops later than the hop budget; RTF: compute time / audio time
x torch: p50 of the torch bundle of the same model / p50; floor: one thread reads the weights once; /floor: p50 / floor
load: median over rounds; MB: graph files; RSS: peak memory of the process in MB"""


@dataclass(frozen=True)
class BundleFacts:
    """Which bundle it was that something was measured on. weight_bytes are read once per hop."""

    bundle: str
    digest: str
    status: str
    model: str
    target: str
    recipe: str
    size_bytes: int
    weight_bytes: int


def facts_of(bundle: Bundle) -> dict[str, Any]:
    """The fields of BundleFacts."""
    manifest = bundle.manifest
    facts = BundleFacts(
        bundle=bundle.path.name,
        digest=bundle.digest,
        status=manifest.status,
        model=str(manifest.model["name"]),
        target=manifest.target,
        recipe=manifest.recipe,
        size_bytes=bundle.size,
        weight_bytes=int(manifest.graph["weight_bytes"]),
    )
    return asdict(facts)


@dataclass(frozen=True)
class BundleResult(BundleFacts):
    """One bundle and all its rounds."""

    rounds: tuple[Round, ...]

    @property
    def runtime(self) -> str:
        """Library and version that ran the graph."""
        return self.rounds[0].runtime

    @property
    def hop_times(self) -> HopTimes:
        """Every hop of every round."""
        return pool([one.hop_times for one in self.rounds])

    @property
    def bandwidth(self) -> float:
        """Bytes per second: the fastest that any round read a working set of `weight_bytes`."""
        return max(one.bandwidth for one in self.rounds)

    @property
    def floor_us(self) -> float:
        """Microseconds that reading the weights once takes."""
        return self.weight_bytes / self.bandwidth * 1e6

    @property
    def p50_over_floor(self) -> float:
        """How far the middle hop is above the bandwidth floor."""
        return self.hop_times.percentile_us(500) / self.floor_us

    @property
    def load_us(self) -> float:
        """Microseconds from the path to an open session, median over the rounds."""
        return median(one.load_us for one in self.rounds)

    @property
    def first_stems_us(self) -> float:
        """Microseconds from the path to the end of the first step, median over the rounds."""
        return median(one.first_stems_us for one in self.rounds)

    @property
    def peak_rss_bytes(self) -> int | None:
        """Largest resident memory of any round; None where the system does not tell."""
        return max((one.peak_rss_bytes for one in self.rounds if one.peak_rss_bytes is not None), default=None)

    @property
    def overhead_us(self) -> float | None:
        """Microseconds of a step beyond the runtime's own execution, median over the rounds; None without a graph."""
        found = [one.overhead_us for one in self.rounds if one.overhead_us is not None]
        return median(found) if found else None

    def summary(self) -> dict[str, Any]:
        """The derived figures of all rounds together."""
        times = self.hop_times
        return {
            "runtime": self.runtime,
            "hops": len(times.times_us),
            "hop_budget_us": times.budget_us,
            **{f"{name}_us": times.percentile_us(per_mille) for name, per_mille in PERCENTILES.items()},
            "misses": times.misses,
            "rtf": times.rtf,
            "floor_us": self.floor_us,
            "p50_over_floor": self.p50_over_floor,
            "overhead_us": self.overhead_us,
            "load_us": self.load_us,
            "first_stems_us": self.first_stems_us,
            "peak_rss_bytes": self.peak_rss_bytes,
            "bandwidth": self.bandwidth,
        }


@dataclass(frozen=True)
class BenchReport:
    """One run of the benchmark on one machine. All bundles ran in the same interleaved rounds.

    mode: BACK_TO_BACK (a hop starts when the one before is done) or PACED (a hop starts on the hop clock).
    hops: per bundle, or None where minutes of audio were asked for. warmup: hops dropped at the start of each round.
    input: the sound that was fed. cores: who ran where, None without hogs.
    """

    device: str
    machine: Machine
    mode: str
    hops: int | None
    minutes: float | None
    rounds: int
    warmup: int
    threads: int
    input: str
    cores: Cores | None
    results: tuple[BundleResult, ...]

    def speedup(self, result: BundleResult) -> float | None:
        """p50 of the torch bundle of the same model in this run / p50 of `result`; None without such a bundle."""
        for other in self.results:
            if other.target == REFERENCE_TARGET and other.model == result.model:
                return other.hop_times.percentile_us(500) / result.hop_times.percentile_us(500)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: everything measured, and a `summary` for each bundle with what follows from it."""
        values = asdict(self)
        for entry, result in zip(values["results"], self.results, strict=True):
            entry["summary"] = {**result.summary(), "x_torch": self.speedup(result), **self._buffer(result)}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BenchReport:
        """The inverse of `to_dict`; the summaries are computed again. An `answer` for a board beside it is left out."""
        given = {name: value for name, value in values.items() if name != "answer"}
        rebuilt = {
            "machine": Machine.from_dict(values["machine"]),
            "cores": None if values["cores"] is None else Cores.from_dict(values["cores"]),
            "results": tuple(_result_from_dict(entry) for entry in values["results"]),
        }
        return cls(**{**given, **rebuilt})

    def rows(self) -> list[list[str]]:
        """The table: one row per bundle under COLUMNS."""
        return [self._row(result) for result in self.results]

    def notes(self) -> list[str]:
        """The facts beside the table, one line each."""
        rounds = (one for result in self.results for one in result.rounds)
        realtime = dict.fromkeys(one.realtime.note() for one in rounds if one.realtime is not None)
        hogs = [] if self.cores is None else [self.cores.note()]
        bundles = (_bundle_note(result) + self._buffer_note(result) for result in self.results)
        return [*machine_notes(self.machine, self.device), self.mode_note(), *hogs, *realtime, *bundles]

    def _buffer(self, result: BundleResult) -> dict[str, float | None]:
        """What the output must wait so that no hop is late; back-to-back, hops do not wait and nothing tells."""
        if self.mode != PACED:
            return {"buffer_us": None, "buffer_hops": None}
        return {"buffer_us": result.hop_times.buffer_us, "buffer_hops": result.hop_times.buffer_hops}

    def _buffer_note(self, result: BundleResult) -> str:
        times = result.hop_times
        if self.mode != PACED:
            return ""
        return f"; no miss with a buffer of {_ms(times.buffer_us)} ms (whole hops: {times.buffer_hops})"

    def mode_note(self) -> str:
        """How it was measured, in a line."""
        mode = "paced (times count from the tick of the hop clock)" if self.mode == PACED else self.mode
        length = f"{self.hops} hops" if self.minutes is None else f"{self.minutes:g} minutes"
        return (
            f"mode: {mode}, {count_threads(self.threads)}, {length} per bundle in {self.rounds} interleaved rounds, "
            f"each in a fresh process after {self.warmup} warm-up hops; input: {self.input}"
        )

    def _row(self, result: BundleResult) -> list[str]:
        times, speedup, memory = result.hop_times, self.speedup(result), result.peak_rss_bytes
        return [
            *(result.model, result.target, result.recipe),
            *(_ms(times.percentile_us(per_mille)) for per_mille in PERCENTILES.values()),
            *(str(times.misses), f"{times.rtf:.3f}", "-" if speedup is None else f"{speedup:.2f}"),
            *(_ms(result.floor_us), f"{result.p50_over_floor:.1f}", f"{result.load_us / 1000:.0f}"),
            *(f"{result.size_bytes / 1e6:.1f}", "-" if memory is None else f"{memory / 1e6:.0f}"),
        ]


def count_threads(threads: int) -> str:
    """How many threads, in words."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def _bundle_note(result: BundleResult) -> str:
    overhead = "" if result.overhead_us is None else f", {result.overhead_us:.0f} us of a step outside the runtime"
    return (
        f"{result.bundle}: {result.runtime}, graph {result.digest}, {result.status}, hop budget "
        f"{_ms(result.hop_times.budget_us)} ms, {result.weight_bytes / 1e6:.1f} MB of weights per hop "
        f"at {result.bandwidth / 2**30:.1f} GiB/s, first stems after {result.first_stems_us / 1000:.0f} ms{overhead}"
    )


def _result_from_dict(values: Mapping[str, Any]) -> BundleResult:
    measured = {name: value for name, value in values.items() if name != "summary"}
    return BundleResult(**{**measured, "rounds": tuple(Round.from_dict(one) for one in values["rounds"])})


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.3f}"
