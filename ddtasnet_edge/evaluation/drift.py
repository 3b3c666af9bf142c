"""Does a stream stay what it is? The same minute of music again and again, then silence, then music, as one stream."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from ddtasnet_edge import console
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.evaluation.scores import mean_usdr
from ddtasnet_edge.evaluation.separator import hops_per_second
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.stream import StreamRunner

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
    behind the silence.
    """

    second: int
    minutes: tuple[Minute, ...]
    silence: tuple[float, ...]
    undisturbed: tuple[float, ...]
    after: tuple[float, ...]

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
        return tuple(self._failures())

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


def measure_drift(
    runner: StreamRunner, mix: FloatArray, stems: FloatArray, minutes: int, quiet: bool = False
) -> DriftReport:
    """Stream the first minute of a mix `minutes` times, 30 s of digital silence, and 10 s of the mix again.

    mix [channels, n], stems [sources, channels, n]; looped when shorter than a minute. A second is a whole number
    of hops here, so that every minute is cut into hops at the same samples and a stable model repeats itself.
    Raises ConfigError for fewer than three minutes.
    """
    check_minutes(minutes)
    second = runner.spec.hop_length * hops_per_second(runner.spec)
    indices = np.arange(MINUTE * second) % mix.shape[-1]
    mix, stems = mix[:, indices], stems[..., indices]
    total = minutes * MINUTE + SILENCE + AFTER
    chunks = console.progress(_schedule(mix, second, minutes), total, "drift", quiet)
    stream = _in_step(runner, chunks, second)
    opening = stems[..., : AFTER * second]

    found: list[Minute] = []
    undisturbed: tuple[float, ...] = ()
    for number in range(minutes):
        parts, states = zip(*islice(stream, MINUTE), strict=True)
        estimates = np.concatenate(parts, axis=-1)
        found.append(Minute(mean_usdr(stems, estimates), _largest(states)))
        if number == 0:
            undisturbed = _by_second(opening, estimates, second)
    silence = np.concatenate([part for part, _ in islice(stream, SILENCE)], axis=-1)
    # The windows that reach into the music behind the silence begin within it.
    silence = silence[..., : silence.shape[-1] - runner.spec.algorithmic_latency]
    after = np.concatenate([part for part, _ in stream], axis=-1)
    return DriftReport(
        second=second,
        minutes=tuple(found),
        silence=tuple(_loudest(silence[..., cut]) for cut in _seconds(silence, second)),
        undisturbed=undisturbed,
        after=_by_second(opening, after, second),
    )


def check_minutes(minutes: int) -> None:
    """Raise ConfigError when there are too few minutes to judge by."""
    if minutes < FEWEST_MINUTES:
        raise ConfigError(f"--drift is {minutes} minutes, expected at least {FEWEST_MINUTES}; 10 shows slow growth")


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


def _schedule(mix: FloatArray, second: int, minutes: int) -> Iterator[FloatArray]:
    """The input of the stream, a second at a time."""
    music = [mix[:, start : start + second] for start in range(0, mix.shape[1], second)]
    for _ in range(minutes):
        yield from music
    for _ in range(SILENCE):
        yield np.zeros_like(music[0])
    yield from music[:AFTER]


def _in_step(
    runner: StreamRunner, chunks: Iterable[FloatArray], length: int
) -> Iterator[tuple[FloatArray, dict[str, float]]]:
    """For each chunk [channels, length] its stems, and the largest magnitude in each slot behind it."""
    runner.reset()
    held = np.empty((len(runner.spec.sources), runner.spec.channels, 0), dtype=np.float32)
    states: deque[dict[str, float]] = deque()
    for chunk in chunks:
        held = np.concatenate([held, runner.feed(chunk)], axis=-1)
        states.append({slot: _magnitude(value) for slot, value in runner.session.get_state().items()})
        if held.shape[-1] >= length:
            yield held[..., :length], states.popleft()
            held = held[..., length:]
    held = np.concatenate([held, runner.flush()], axis=-1)
    while states:
        yield held[..., :length], states.popleft()
        held = held[..., length:]


def _largest(states: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The largest of each slot; NaN stays NaN."""
    every = list(states)
    return {slot: float(np.max([state[slot] for state in every])) for slot in every[0]}


def _by_second(references: FloatArray, estimates: FloatArray, second: int) -> tuple[float, ...]:
    return tuple(mean_usdr(references[..., cut], estimates[..., cut]) for cut in _seconds(references, second))


def _seconds(samples: FloatArray, second: int) -> list[slice]:
    return [slice(start, start + second) for start in range(0, samples.shape[-1], second)]


def _recovered(before: float, now: float) -> bool:
    """Better than before is fine; a second without any stem has no figure, in both."""
    return (math.isnan(before) and math.isnan(now)) or now >= before - RECOVERED


def _magnitude(value: FloatArray) -> float:
    return float(np.abs(value).max(initial=0.0))


def _loudest(samples: FloatArray) -> float:
    """Peak in dBFS; minus infinity for digital silence."""
    peak = _magnitude(samples)
    return 20.0 * math.log10(peak) if peak != 0.0 else -math.inf
