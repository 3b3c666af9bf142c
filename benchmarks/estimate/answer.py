"""What a user wants to know of a board: which bundles run in time there, by how much, and which is the largest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ddtasnet_edge.benchmarks.estimate.cost import StepCost
from ddtasnet_edge.benchmarks.estimate.memory import peak_bytes
from ddtasnet_edge.benchmarks.estimate.model import HEADROOM, cores_needed, estimate
from ddtasnet_edge.benchmarks.estimate.profile import DeviceProfile
from ddtasnet_edge.benchmarks.report import BundleResult, count_threads
from ddtasnet_edge.errors import ConfigError

ESTIMATED, MEASURED = "estimated", "measured"
NO, PERHAPS, YES = "no", "perhaps", "yes"
COLUMNS = (
    *("board", "model", "target", "recipe", "how", "ms", "from", "to"),
    *("budget", "RTF", "cores", "late", "MB"),
)
LEGEND = f"""\
ms: per hop on one core unless 'how' names threads; estimated between 'from' and 'to', measured p50, fastest hop, p99
budget: ms of a hop; RTF: compute time / audio time; late: hops over the budget, 'perhaps' where the band holds it
cores: the fewest with which {HEADROOM:.0%} of the budget stay free, estimated; MB: peak memory of the process"""
MEBIBYTE = 1 << 20
NONE = "-"


@dataclass(frozen=True)
class Goal:
    """What a hop may take. Without anything it is the hop budget of each bundle.

    budget_ms: in place of it. sample_rate (Hz) and hop (samples): another hop of the same model, whose products, and so
    its time, are those of the hop that it was built for.
    """

    budget_ms: float | None = None
    sample_rate: int | None = None
    hop: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not 0 < value < math.inf:
                option = "sr" if name == "sample_rate" else name.replace("_", "-")
                raise ConfigError(f"--{option} is {value}: expected a number above zero")
        if (self.sample_rate is None) != (self.hop is None):
            raise ConfigError("--sr and --hop make a budget together: give both, or --budget-ms alone")
        if self.budget_ms is not None and self.hop is not None:
            raise ConfigError("--budget-ms and --hop are two budgets: give one of them")

    def budget_us(self, hop_us: float) -> float:
        """Microseconds that a hop may take, where the bundle itself allows `hop_us`."""
        if self.budget_ms is not None:
            return self.budget_ms * 1e3
        if self.hop is not None and self.sample_rate is not None:
            return self.hop / self.sample_rate * 1e6
        return hop_us


@dataclass(frozen=True)
class Verdict:
    """One bundle on one board. how: ESTIMATED or MEASURED; late: NO, PERHAPS or YES; peak_bytes: None if not known.

    us, low_us, high_us: on so many `threads`. audio_us: of a hop of the bundle. memory_bytes: of the board. bundle: its
    name, empty for a preset that nobody built here.
    """

    board: str
    model: str
    target: str
    recipe: str
    how: str
    us: float
    low_us: float
    high_us: float
    audio_us: float
    budget_us: float
    cores: int | None
    late: str
    peak_bytes: float | None
    macs: int
    weight_bytes: int
    memory_bytes: float
    threads: int = 1
    bundle: str = ""

    @property
    def rtf(self) -> float:
        """Compute time / audio time."""
        return self.us / self.audio_us

    @property
    def has_headroom(self) -> bool:
        """Whether HEADROOM of the budget stays free, by the middle of the band."""
        return self.us <= (1 - HEADROOM) * self.budget_us

    @property
    def surely_has_headroom(self) -> bool:
        """Whether it stays free at the high end of the band too."""
        return self.high_us <= (1 - HEADROOM) * self.budget_us

    @property
    def fits(self) -> bool:
        """Whether the peak of the process is no more than the memory of the board; what is not known is let pass."""
        return self.peak_bytes is None or self.peak_bytes <= self.memory_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "rtf": self.rtf, "has_headroom": self.has_headroom}

    def row(self) -> list[str]:
        """Cells under COLUMNS."""
        return [
            *(self.board, self.model, self.target, self.recipe, self._how()),
            *(_ms(self.us), _ms(self.low_us), _ms(self.high_us), _ms(self.budget_us), f"{self.rtf:.3f}"),
            *(NONE if self.cores is None else str(self.cores), self.late),
            NONE if self.peak_bytes is None else f"{self.peak_bytes / 1e6:.0f}",
        ]

    def described(self) -> str:
        """Which bundle it is and what a hop takes, for a sentence."""
        times = f"{_ms(self.us)} ms of {_ms(self.budget_us)} ms, {self._how()}"
        name = f"{self.target}, {self.bundle}" if self.bundle else self.target
        if self.how == ESTIMATED:
            times += f" ({_ms(self.low_us)} to {_ms(self.high_us)})"
        elif self.late == YES:
            times += ", some hops late"
        return f"{self.model} {self.recipe} ({name}), {times}"

    def _how(self) -> str:
        return self.how if self.threads == 1 else f"{self.how}, {count_threads(self.threads)}"


@dataclass(frozen=True)
class Answer:
    """All bundles on all boards. boards: name and title of each."""

    boards: Mapping[str, str]
    verdicts: tuple[Verdict, ...]

    def rows(self) -> list[list[str]]:
        """The table under COLUMNS."""
        return [verdict.row() for verdict in self.verdicts]

    def sentences(self) -> list[str]:
        """One for each board: the largest model and precision that runs in time with room to spare."""
        return [self._sentence(board, title) for board, title in self.boards.items()]

    def largest(self, board: str) -> Verdict | None:
        """The largest model, then its finest precision, then its fastest target; None when nothing runs in time.

        On one core, by the middle of the band, and in the memory of the board.
        """
        suited = [v for v in self.verdicts if v.board == board and v.threads == 1 and v.has_headroom and v.fits]
        sizes: dict[str, int] = {}
        for verdict in self.verdicts:
            sizes[verdict.model] = max(sizes.get(verdict.model, 0), verdict.macs)
        # Targets store a precision in nearly, not exactly, as many bytes: two digits tell precisions apart.
        return max(suited, key=lambda v: (sizes[v.model], float(f"{v.weight_bytes:.1e}"), -v.us), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with `largest` and `sentence` of each board."""
        best = {board: self.largest(board) for board in self.boards}
        return {
            "boards": [
                {
                    "board": board,
                    "title": title,
                    "largest": None if (found := best[board]) is None else found.to_dict(),
                    "sentence": sentence,
                }
                for (board, title), sentence in zip(self.boards.items(), self.sentences(), strict=True)
            ],
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
        }

    def _sentence(self, board: str, title: str) -> str:
        found = self.largest(board)
        if found is None:
            return f"{title}: nothing here runs in real time on one core with {HEADROOM:.0%} headroom"
        probably = "" if found.how == MEASURED or found.surely_has_headroom else "probably "
        return (
            f"{title}: the largest that runs in real time on one core with {HEADROOM:.0%} headroom is "
            f"{probably}{found.described()}"
        )


def answer(profiles: Sequence[DeviceProfile], costs: Sequence[StepCost], goal: Goal | None = None) -> Answer:
    """Every cost on every board, estimated. Raises DeviceError for a runtime that a profile does not know."""
    goal = goal or Goal()
    found = [estimated(profile, cost, goal.budget_us(cost.hop_us)) for profile in profiles for cost in costs]
    return Answer({profile.name: profile.title for profile in profiles}, tuple(found))


def estimated(profile: DeviceProfile, cost: StepCost, budget_us: float, bundle: str = "") -> Verdict:
    """What the model says of a bundle on one core of a board."""
    guess = estimate(profile, cost)
    return Verdict(
        board=profile.name,
        model=cost.model,
        target=cost.target,
        recipe=cost.recipe,
        how=ESTIMATED,
        us=guess.us,
        low_us=guess.low_us,
        high_us=guess.high_us,
        audio_us=cost.hop_us,
        budget_us=budget_us,
        cores=cores_needed(profile, cost, (1 - HEADROOM) * budget_us),
        late=NO if guess.high_us <= budget_us else YES if guess.low_us > budget_us else PERHAPS,
        peak_bytes=peak_bytes(cost),
        macs=cost.macs,
        weight_bytes=cost.weight_bytes,
        memory_bytes=profile.memory_mb * MEBIBYTE,
        bundle=bundle,
    )


def from_result(
    profile: DeviceProfile, cost: StepCost, result: BundleResult, budget_us: float, threads: int = 1
) -> Verdict:
    """What was measured of a bundle on the board itself, on so many threads.

    What it would take on more cores, or fewer, is the estimate for them times measured / estimated on these.
    """
    times, guess = result.hop_times, estimated(profile, cost, budget_us, result.bundle)
    middle = times.percentile_us(500)
    scaled_budget = (1 - HEADROOM) * budget_us * estimate(profile, cost, threads).us / middle
    return replace(
        guess,
        how=MEASURED,
        us=middle,
        low_us=min(times.times_us),
        high_us=times.percentile_us(990),
        cores=cores_needed(profile, cost, scaled_budget),
        late=YES if any(elapsed > budget_us for elapsed in times.times_us) else NO,
        peak_bytes=guess.peak_bytes if result.peak_rss_bytes is None else float(result.peak_rss_bytes),
        threads=threads,
    )


def notes(profiles: Iterable[DeviceProfile]) -> list[str]:
    """The facts beside the table, one line each."""
    lines = (
        f"{profile.name}: {profile.title}, {profile.soc}, from {profile.memory_mb} MB; sources in docs/DEVICES.md"
        for profile in profiles
    )
    remark = (
        "estimated: from the manifest of the bundle and the profile of the board, measured on no such board; more "
        "cores are taken to share the products evenly"
    )
    return [*lines, remark]


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.3f}"
