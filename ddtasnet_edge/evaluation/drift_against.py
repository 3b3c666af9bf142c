"""Two separators that stream the same minutes: does their difference stay what it is?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Allowed change of a stem's dSDR from the first minute to the last, in dB: half of what parity allows a quantized
# bundle to differ at all. The minutes hold the same music, so a difference that does not accumulate stays the same,
# but for the start from an empty state in the first.
DSDR_CHANGE = 0.05


@dataclass(frozen=True)
class PairedMinute:
    """One minute, the separator against the other one.

    dsdr: change of the uSDR of each stem that sounds, in dB; state_snr: the state against the other's, slot by slot,
    in dB, over the states at every second; empty when the two have other slots.
    """

    dsdr: Mapping[str, float]
    state_snr: Mapping[str, float]


@dataclass(frozen=True)
class PairedDrift:
    """All minutes of the pair."""

    minutes: tuple[PairedMinute, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each stem whose dSDR changed too much; NaN fails."""
        first, last = self.minutes[0].dsdr, self.minutes[-1].dsdr
        return tuple(
            f"dSDR of {source} went from {before:+.3f} dB in minute 1 to {last[source]:+.3f} dB in minute "
            f"{len(self.minutes)}, allowed is a change of {DSDR_CHANGE:g} dB"
            for source, before in first.items()
            if not abs(last[source] - before) <= DSDR_CHANGE
        )


def paired_table(report: PairedDrift) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: dSDR of each stem, then the SNR of each slot, minute by minute."""
    columns = ["minute", *(str(number) for number in range(1, len(report.minutes) + 1))]
    rows = [
        [f"dSDR {source}, dB", *(f"{minute.dsdr[source]:+.3f}" for minute in report.minutes)]
        for source in report.minutes[0].dsdr
    ]
    for slot in report.minutes[0].state_snr:
        rows.append([f"SNR {slot}, dB", *(f"{minute.state_snr[slot]:.1f}" for minute in report.minutes)])
    return columns, rows


def paired_caption(report: PairedDrift, name: str, against: str) -> str:
    """What the figures are, and the verdict; name and against: the two separators."""
    lines = [f"dSDR: uSDR of {name} less that of {against}, over the minute"]
    if report.minutes[0].state_snr:
        lines.append(f"SNR: state of {name} against that of {against}, looked at once a second; inf: equal")
    else:
        lines.append("the states have other slots and are not compared")
    lines.append(
        f"dSDR changed too much: {len(report.failures)} stems, more than {DSDR_CHANGE:g} dB"
        if report.failures
        else f"no dSDR changed by more than {DSDR_CHANGE:g} dB from minute 1 to {len(report.minutes)}"
    )
    return "\n".join(lines)
