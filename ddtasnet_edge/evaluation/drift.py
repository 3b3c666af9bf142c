"""Does a stream stay what it is? The same minute of music again and again, then silence, then music, as one stream."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from ddtasnet_edge import console
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.evaluation.drift_against import PairedDrift, PairedMinute
from ddtasnet_edge.evaluation.drift_report import AFTER, FEWEST_MINUTES, MINUTE, SILENCE, DriftReport, Minute
from ddtasnet_edge.evaluation.scores import mean_usdr
from ddtasnet_edge.metrics import Decibels, energy, error_energy, snr_of, usdr_of
from ddtasnet_edge.spec import FloatArray, StreamSpec
from ddtasnet_edge.stream import StreamRunner

# A common second of two separators may be this many times as long as a second, or minutes would not be minutes.
LONGEST_SECOND = 2


@dataclass(frozen=True, eq=False)
class _Second:
    """A second of a stream: its stems [sources, channels, second], and the state when that second had been fed."""

    stems: FloatArray
    state: Mapping[str, FloatArray]


@dataclass(eq=False)
class _Sums:
    """What is kept of some seconds of one separator, or of two in step; no audio.

    errors: for each separator and second the energy of the error of each stem; largest: magnitude in each slot of the
    first; state: energies of the second's state and of the difference to it, slot by slot.
    """

    errors: list[list[list[float]]]
    largest: dict[str, float] = field(default_factory=dict)
    state: dict[str, tuple[float, float]] = field(default_factory=dict)


def measure_drift(
    runner: StreamRunner,
    mix: FloatArray,
    stems: FloatArray,
    minutes: int,
    quiet: bool = False,
    against: StreamRunner | None = None,
) -> DriftReport:
    """Stream the first minute of a mix `minutes` times, 30 s of digital silence, and 10 s of the mix again.

    mix [channels, n], stems [sources, channels, n]; looped when shorter than a minute. A second is a whole number
    of hops here, so that every minute is cut into hops at the same samples and a stable model repeats itself.
    against: a separator of the same rate, channels and sources that streams the same minutes in step; the report
    then compares the two. Memory does not grow with the minutes. Raises ConfigError for fewer than three minutes, and
    for two separators whose hops have no second in common.
    """
    check_minutes(minutes)
    runners = [runner] if against is None else [runner, against]
    second = common_second([each.spec for each in runners])
    indices = np.arange(MINUTE * second) % mix.shape[-1]
    mix, stems = mix[:, indices], stems[..., indices]
    parts = [stems[..., cut] for cut in _seconds(stems, second)]
    signal = np.array([[energy(stem) for stem in part] for part in parts])
    chunks = console.progress(_schedule(mix, second, minutes), minutes * MINUTE + SILENCE + AFTER, "drift", quiet)
    streams = [_in_step(runner, chunks, second)]
    if against is not None:
        streams.append(_in_step(against, _schedule(mix, second, minutes), second))

    # zip takes nothing from the second stream behind the minutes: what the pair is compared on ends there.
    heard = zip(*streams, strict=True)
    sums = [_listen(islice(heard, MINUTE), parts) for _ in range(minutes)]
    silence = tuple(_peaks(islice(streams[0], SILENCE), SILENCE * second - runner.spec.algorithmic_latency))
    after = _listen(((each,) for each in streams[0]), parts[:AFTER])
    return DriftReport(
        second=second,
        minutes=tuple(_minute(each, signal) for each in sums),
        silence=silence,
        undisturbed=_by_second(signal, sums[0]),
        after=_by_second(signal, after),
        against=None if against is None else PairedDrift(tuple(_pair(each, signal, runner.spec) for each in sums)),
    )


def check_minutes(minutes: int) -> None:
    """Raise ConfigError when there are too few minutes to judge by."""
    if minutes < FEWEST_MINUTES:
        raise ConfigError(f"--drift is {minutes} minutes, expected at least {FEWEST_MINUTES}; 10 shows slow growth")


def common_second(specs: list[StreamSpec]) -> int:
    """Samples of the whole number of hops, of each of the streams, that come closest to a second.

    Raises ConfigError when hops of several streams meet too rarely.
    """
    rate, hops = specs[0].sample_rate, [spec.hop_length for spec in specs]
    together = math.lcm(*hops)
    second = together * max(1, round(rate / together))
    if len(hops) > 1 and second > LONGEST_SECOND * rate:
        raise ConfigError(
            f"--drift with --against needs hops that meet within {LONGEST_SECOND} s, found hops of "
            f"{' and '.join(str(hop) for hop in hops)} samples; compare models of one hop length"
        )
    return second


def _schedule(mix: FloatArray, second: int, minutes: int) -> Iterator[FloatArray]:
    """The input of the stream, a second at a time."""
    music = [mix[:, cut] for cut in _seconds(mix, second)]
    for _ in range(minutes):
        yield from music
    for _ in range(SILENCE):
        yield np.zeros_like(music[0])
    yield from music[:AFTER]


def _in_step(runner: StreamRunner, chunks: Iterable[FloatArray], length: int) -> Iterator[_Second]:
    """For each chunk [channels, length] its stems, and the state behind it."""
    runner.reset()
    held = np.empty((len(runner.spec.sources), runner.spec.channels, 0), dtype=np.float32)
    states: deque[Mapping[str, FloatArray]] = deque()
    for chunk in chunks:
        held = np.concatenate([held, runner.feed(chunk)], axis=-1)
        states.append(runner.session.get_state())
        if held.shape[-1] >= length:
            yield _Second(held[..., :length], states.popleft())
            held = held[..., length:]
    held = np.concatenate([held, runner.flush()], axis=-1)
    while states:
        yield _Second(held[..., :length], states.popleft())
        held = held[..., length:]


def _listen(heard: Iterable[tuple[_Second, ...]], parts: list[FloatArray]) -> _Sums:
    """Sums over seconds; parts: the true stems of each of them."""
    sums = _Sums([])
    for seconds, true in zip(heard, parts, strict=True):
        sums.errors.append([[error_energy(*pair) for pair in zip(true, each.stems, strict=True)] for each in seconds])
        for slot, value in seconds[0].state.items():
            # The maximum with NaN is NaN.
            sums.largest[slot] = float(np.maximum(sums.largest.get(slot, 0.0), _magnitude(value)))
        if len(seconds) == 2 and _comparable(*seconds):
            for slot, value in seconds[1].state.items():
                signal, error = sums.state.get(slot, (0.0, 0.0))
                difference = error_energy(value, seconds[0].state[slot])
                sums.state[slot] = (signal + energy(value), error + difference)
    return sums


def _comparable(first: _Second, other: _Second) -> bool:
    return {slot: value.shape for slot, value in first.state.items()} == {
        slot: value.shape for slot, value in other.state.items()
    }


def _minute(sums: _Sums, signal: Decibels) -> Minute:
    """What the first separator made of a minute; signal: energies of the true stems [seconds, sources]."""
    return Minute(mean_usdr(signal.sum(axis=0), _errors(sums, 0).sum(axis=0)), sums.largest)


def _pair(sums: _Sums, signal: Decibels, spec: StreamSpec) -> PairedMinute:
    """The first separator against the second in a minute."""
    energies = zip(spec.sources, signal.sum(axis=0), *(_errors(sums, who).sum(axis=0) for who in (0, 1)), strict=True)
    return PairedMinute(
        dsdr={source: usdr_of(true, after) - usdr_of(true, before) for source, true, after, before in energies if true},
        state_snr={slot: snr_of(*pair) for slot, pair in sums.state.items()},
    )


def _errors(sums: _Sums, which: int) -> Decibels:
    """Error energies of one separator, [seconds, sources]."""
    return np.array(sums.errors)[:, which]


def _by_second(signal: Decibels, sums: _Sums) -> tuple[float, ...]:
    """Mean uSDR of each of the first seconds."""
    pairs = zip(signal[:AFTER], _errors(sums, 0)[:AFTER], strict=True)
    return tuple(mean_usdr(true, error) for true, error in pairs)


def _peaks(heard: Iterable[_Second], length: int) -> Iterator[float]:
    """The loudest output of each second within `length` samples: the windows behind them reach into the music."""
    for each in heard:
        if length > 0:
            yield _loudest(each.stems[..., :length])
        length -= each.stems.shape[-1]


def _seconds(samples: FloatArray, second: int) -> list[slice]:
    return [slice(start, start + second) for start in range(0, samples.shape[-1], second)]


def _magnitude(value: FloatArray) -> float:
    return float(np.abs(value).max(initial=0.0))


def _loudest(samples: FloatArray) -> float:
    """Peak in dBFS; minus infinity for digital silence."""
    peak = _magnitude(samples)
    return 20.0 * math.log10(peak) if peak != 0.0 else -math.inf
