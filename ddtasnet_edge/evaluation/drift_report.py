"""What a long stream was like, minute by minute: the verdicts on it, and the table that shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.evaluation.drift_against import PairedDrift

FEWEST_MINUTES = 3  # the growth of a state is judged from minute 2 to the last
MINUTE, SILENCE, AFTER = 60, 30, 10  # seconds

# Allowed change of mean uSDR from the first minute to the last, in dB.
SDR_CHANGE = 0.3
# Allowed growth of the largest magnitude in a slot from minute 2, when every memory has long been filled, to the
# last. The music is the same and cut into hops at the same samples, so a stable state repeats itself; ten percent
# leave room for a slow running mean. Below the second figure a growth is rounding.
STATE_GROWTH, STATE_ROUNDING = 1.1, 1e-6
# After the silence: how close to the start of the stream, in dB of uSDR, and after how many seconds at most.
RECOVERED, RECOVERY_TIME = 0.5, 1
# The last bit of 16-bit audio: what is below counts as silence.
INAUDIBLE = -90.3  # dBFS


@dataclass(frozen=True)
class Minute:
    """Mean uSDR over stems in dB, and the largest magnitude in each slot, looked at once a second."""

    usdr: float
    state: Mapping[str, float]


@dataclass(frozen=True)
class DriftReport:
    """One stream of minutes, silence and music.

    second: samples, whole hops nearest to one; silence: loudest output of each second of it in dBFS, minus infinity
    for none; undisturbed and after: mean uSDR of each of the first seconds of the stream, and of the same music
    behind the silence; against: the comparison with another separator, when there was one.
    """

    second: int
    minutes: tuple[Minute, ...]
    silence: tuple[float, ...]
    undisturbed: tuple[float, ...]
    after: tuple[float, ...]
    against: PairedDrift | None = None

    @property
    def usdr_change(self) -> float:
        """Mean uSDR of the last minute less that of the first, in dB."""
        return self.minutes[-1].usdr - self.minutes[0].usdr

    @property
    def recovery(self) -> int:
        """Seconds behind the silence until every further one is as good as without it, within RECOVERED."""
        pairs = list(zip(self.undisturbed, self.after, strict=True))
        late = [index for index, (before, now) in enumerate(pairs, 1) if not _recovered(before, now)]
        return max(late, default=0)

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each verdict missed; empty when the stream is stable."""
        return (*self._failures(), *(self.against.failures if self.against is not None else ()))

    def _failures(self) -> Iterator[str]:
        # Written so that NaN fails: not (NaN <= limit). A change between two infinities is none.
        first, last = self.minutes[0], self.minutes[-1]
        if first.usdr != last.usdr and not abs(self.usdr_change) <= SDR_CHANGE:
            yield (
                f"mean uSDR went from {first.usdr:.2f} dB in minute 1 to {last.usdr:.2f} dB in minute "
                f"{len(self.minutes)}, allowed is a change of {SDR_CHANGE:g} dB"
            )
        for slot, found in last.state.items():
            before = self.minutes[1].state[slot]
            if not found <= STATE_GROWTH * before + STATE_ROUNDING:
                yield (
                    f"state slot '{slot}' grew from {before:.4g} in minute 2 to {found:.4g} in minute "
                    f"{len(self.minutes)}, allowed is {STATE_GROWTH:g} times"
                )
        if any(math.isnan(level) or level == math.inf for level in self.silence):
            yield "the output during silence holds NaN or infinity"
        elif self.silence[-1] >= self.silence[0] and self.silence[-1] > INAUDIBLE:
            yield (
                f"the output during silence does not fall: {self.silence[0]:.1f} dBFS in its first second, "
                f"{self.silence[-1]:.1f} dBFS in its last"
            )
        if self.recovery > RECOVERY_TIME:
            yield (
                f"recovery from silence took {self.recovery} s, allowed is {RECOVERY_TIME} s to within "
                f"{RECOVERED:g} dB of a stream without it"
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything measured, and the verdicts."""
        verdicts = {"usdr_change": self.usdr_change, "recovery": self.recovery, "failures": list(self.failures)}
        return asdict(self) | verdicts


def drift_table(report: DriftReport) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: mean uSDR, and the largest magnitude in each slot, minute by minute."""
    columns = ["max |state|", *(str(number) for number in range(1, len(report.minutes) + 1))]
    rows = [["mean uSDR, dB", *(f"{minute.usdr:.3f}" for minute in report.minutes)]]
    for slot in report.minutes[0].state:
        rows.append([slot, *(f"{minute.state[slot]:.4g}" for minute in report.minutes)])
    return columns, rows


def drift_caption(report: DriftReport) -> str:
    """The verdicts in words."""
    start, end = report.silence[0], report.silence[-1]
    verdict = f"UNSTABLE: {len(report.failures)} verdicts missed" if report.failures else "stable"
    return f"""\
mean uSDR, minute 1 to {len(report.minutes)}: {report.usdr_change:+.3f} dB
peak in {SILENCE} s of silence: first second {start:.1f} dBFS, last {end:.1f} dBFS
recovered from it in {report.recovery} s: {report.after[0]:.2f} dB in the first second
the same second at the start of the stream: {report.undisturbed[0]:.2f} dB
{verdict}"""


def _recovered(before: float, now: float) -> bool:
    """Better than before is fine; a second without any stem has no figure, in both."""
    return (math.isnan(before) and math.isnan(now)) or now >= before - RECOVERED
