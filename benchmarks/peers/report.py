"""What the comparison found: each peer's speed beside PyTorch eager, beside the best of ours, and its parity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.peers.registry import REFERENCE
from ddtasnet_edge.benchmarks.peers.result import PeerResult
from ddtasnet_edge.benchmarks.report import count_threads
from ddtasnet_edge.benchmarks.troubles import machine_notes

COLUMNS = ("peer", "bits", "p50", "spread", "x torch", "/ours", "SNR", "dSDR", "MB", "build", "remark")
LEGEND = """\
p50: ms, median over rounds of each round's median hop; spread: from the fastest to the slowest round, in % of p50;
x torch: p50 of torch-eager / p50; /ours: p50 / p50 of our fastest bundle; both the median over rounds of the ratio
within one round. SNR: dB against the stems of PyTorch; dSDR: dB, of the stem that changed most. A peer whose output
is wrong is not timed. MB: files; build: s.
Compared with the fastest peer is the fastest of our bundles within 0.05 dB dSDR, or of unknown dSDR."""
COMPARISON_COLUMNS = ("what", "ours", "fastest peer", "gain", "dSDR of ours", "dSDR of the peer")
# By how many dB a stem of our bundle may change for it to stand for ours in a comparison.
LARGEST_DSDR = 0.05
NONE = "-"
PRECISIONS = {32: "float32", 8: "INT8"}


def print_peers(report: PeersReport) -> None:
    """The table on stdout, then the notes."""
    console.print_table(f"Peers of {report.model}", COLUMNS, report.rows())
    print(LEGEND, *report.notes(), sep="\n")


@dataclass(frozen=True)
class Comparison:
    """The fastest of our bundles within LARGEST_DSDR beside the fastest peer of as many bits; gain: peer's p50 / ours.

    dSDR of both in dB, NaN without true stems: a peer may be fast because it is rough.
    """

    what: str
    ours: str
    peer: str
    gain: float
    ours_dsdr_db: float
    peer_dsdr_db: float

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.ours} {self.gain:.2f}x as fast as {self.peer} "
            f"(dSDR {_cell(self.ours_dsdr_db, '+.3f')} and {_cell(self.peer_dsdr_db, '+.3f')} dB)"
        )

    def row(self) -> list[str]:
        """Cells under COMPARISON_COLUMNS."""
        dsdr = (_cell(value, "+.3f") for value in (self.ours_dsdr_db, self.peer_dsdr_db))
        return [self.what, self.ours, self.peer, f"{self.gain:.2f}x", *dsdr]


@dataclass(frozen=True)
class PeersReport:
    """One run on one machine. hops: per peer over all rounds, fewer for what is far from being in time."""

    device: str
    machine: Machine
    model: str
    weights: str
    hops: int
    rounds: int
    warmup: int
    threads: int
    input: str
    versions: Mapping[str, str]
    results: tuple[PeerResult, ...]

    def comparisons(self) -> Iterator[Comparison]:
        """Floats with floats and INT8 with INT8: over all runtimes, then on each."""
        runtimes = dict.fromkeys(one.peer.runtime for one in self.results)
        for bits, precision in PRECISIONS.items():
            of_bits = [one for one in self.results if one.peer.bits == bits]
            yield from _compare(f"{precision}, any runtime", of_bits)
            for runtime in runtimes:
                yield from _compare(f"{precision}, {runtime}", [one for one in of_bits if one.peer.runtime == runtime])

    def summary(self, result: PeerResult) -> dict[str, Any]:
        """The derived figures of one peer; None where there is none."""
        found: dict[str, Any] = dict.fromkeys(("p50_us", "spread", "x_torch", "x_ours"))
        if result.timed:
            torch = next((one for one in self.results if one.peer.name == REFERENCE and one.timed), None)
            ours = _fastest(self.results, ours=True)
            found["p50_us"], found["spread"] = result.p50_us, result.spread
            found["x_torch"] = torch and torch.times(result)
            found["x_ours"] = ours and result.times(ours)
        return {"medians_us": list(result.medians_us), **found}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: every hop of every round, and a `summary` for each peer with what follows from it."""
        values = asdict(self)
        for entry, result in zip(values["results"], self.results, strict=True):
            entry["summary"] = self.summary(result)
        values["comparisons"] = [asdict(comparison) for comparison in self.comparisons()]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PeersReport:
        """The inverse of `to_dict`; summaries and comparisons are computed again."""
        measured = {name: value for name, value in values.items() if name != "comparisons"}
        results = tuple(PeerResult.from_dict(entry) for entry in values["results"])
        return cls(**{**measured, "machine": Machine.from_dict(values["machine"]), "results": results})

    def rows(self) -> list[list[str]]:
        """The table: one row per peer under COLUMNS."""
        return [self._row(result) for result in self.results]

    def notes(self) -> list[str]:
        """What is said beside the table, one line each."""
        return [*map(str, self.comparisons()), *self.facts()]

    def facts(self) -> list[str]:
        """How it was measured and what, one line each."""
        mode = (
            f"{self.weights}; back-to-back, {count_threads(self.threads)}, at most {self.hops} hops each in "
            f"{self.rounds} interleaved rounds, each in a fresh process after at most {self.warmup} warm-up hops; "
            f"input: {self.input}"
        )
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        ways = (f"{one.peer.name}: {one.peer.how}" for one in self.results if not one.peer.ours)
        return [*machine_notes(self.machine, self.device), mode, versions, *ways]

    def _row(self, result: PeerResult) -> list[str]:
        found, check = self.summary(result), result.check
        parity = [NONE] * 3
        if check is not None:
            parity = [
                *(_cell(check.snr_db, ".1f"), _cell(check.dsdr_db, "+.3f")),
                f"{check.size_bytes / 1e6:.1f}",
            ]
        return [
            result.peer.name,
            str(result.peer.bits),
            _cell(found["p50_us"], ".3f", 1e-3),
            _cell(found["spread"], ".0f", 100),
            _cell(found["x_torch"], ".2f"),
            _cell(found["x_ours"], ".2f"),
            *parity,
            _cell(result.build_seconds, ".0f"),
            result.failure or "",
        ]


def _fastest(results: Iterable[PeerResult], *, ours: bool) -> PeerResult | None:
    timed = [one for one in results if one.timed and one.peer.ours == ours]
    return min(timed, key=lambda one: one.p50_us, default=None)


def _compare(what: str, results: Iterable[PeerResult]) -> Iterator[Comparison]:
    """Our fastest that is no rougher than LARGEST_DSDR with the fastest of the others, if both are there."""
    found = list(results)
    ours = _fastest((one for one in found if not abs(one.dsdr_db) > LARGEST_DSDR), ours=True)
    other = _fastest(found, ours=False)
    if ours is not None and other is not None:
        yield Comparison(what, ours.peer.name, other.peer.name, other.times(ours), ours.dsdr_db, other.dsdr_db)


def _cell(value: float | None, form: str, factor: float = 1.0) -> str:
    return NONE if value is None or math.isnan(value) else f"{value * factor:{form}}"
