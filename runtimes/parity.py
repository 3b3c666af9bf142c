"""Parity: does a bundle still sound like the PyTorch reference? Numpy only, so it runs on the device too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.files import json_safe
from ddtasnet_edge.metrics import csdr, furthest, max_abs_error, snr, usdr
from ddtasnet_edge.runtimes.thresholds import Thresholds
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import STEMS, FloatArray
from ddtasnet_edge.stream import StreamRunner

# Before the name of a slot in a saved trace.
_STATE = "state "


@dataclass(frozen=True, eq=False)
class Trace:
    """What a session made of one clip with its own carried state.

    stems [sources, channels, samples], as long as the clip; state after the last whole hop, by slot.
    """

    stems: FloatArray
    state: Mapping[str, FloatArray]

    def save(self, path: Path) -> None:
        """Write a .npz file that `load` reads."""
        arrays: dict[str, Any] = {STEMS: self.stems}
        arrays |= {f"{_STATE}{slot}": value for slot, value in self.state.items()}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Trace:
        """The inverse of `save`."""
        with np.load(path, allow_pickle=False) as arrays:
            state = {name.removeprefix(_STATE): arrays[name] for name in arrays if name.startswith(_STATE)}
            return cls(arrays[STEMS], state)


@dataclass(frozen=True)
class StemParity:
    """SDR of one stem against the true stem in dB, for the reference and for the bundle."""

    source: str
    reference_usdr: float
    usdr: float
    reference_csdr: float
    csdr: float

    @property
    def dsdr(self) -> float:
        """The change furthest from zero, of uSDR and cSDR where it is known."""
        return furthest([self.usdr - self.reference_usdr, self.csdr - self.reference_csdr])


@dataclass(frozen=True)
class ClipParity:
    """A bundle against the reference on one clip.

    stems: those heard in the clip (silence has no SDR); empty when the true stems are unknown.
    """

    clip: str
    seconds: float
    snr_db: float
    max_abs_error: float
    state_max_abs_error: Mapping[str, float]
    stems: tuple[StemParity, ...]

    @property
    def worst_dsdr(self) -> float:
        """Change in SDR of the stem that changed most; NaN without true stems."""
        return furthest([stem.dsdr for stem in self.stems])


@dataclass(frozen=True)
class ParityReport:
    """The verdict on one bundle: all clips, the thresholds applied, and every failure."""

    runtime: str
    reference: str
    thresholds: Thresholds
    clips: tuple[ClipParity, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each threshold missed; empty when the bundle passed."""
        if not self.clips:
            return ("no clip was compared",)
        return tuple(failure for clip in self.clips for failure in _failures(clip, self.thresholds))

    @property
    def passed(self) -> bool:
        """True when no threshold was missed."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what JSON cannot hold (infinity, NaN) becomes null."""
        values = asdict(self) | {"passed": self.passed, "failures": list(self.failures)}
        return dict(json_safe(values))


def run_clip(session: Session, clip: Clip) -> Trace:
    """Stream one clip through a session from its initial state."""
    runner = StreamRunner(session)
    runner.reset()
    head = runner.feed(clip.mix)
    state = session.get_state()
    return Trace(np.concatenate([head, runner.flush()], axis=-1), state)


def compare(
    session: Session, clips: Iterable[Clip], references: Iterable[Trace], thresholds: Thresholds, reference: str
) -> ParityReport:
    """Run every clip through `session` and hold it against the trace of the reference, one pair at a time."""
    results = tuple(
        compare_clip(clip, run_clip(session, clip), trace, session.spec.sources)
        for clip, trace in zip(clips, references, strict=True)
    )
    return ParityReport(session.runtime, reference, thresholds, results)


def compare_clip(clip: Clip, found: Trace, reference: Trace, sources: Sequence[str]) -> ClipParity:
    """What a session made of a clip held against what the reference made of it. sources: names of the stems."""
    return ClipParity(
        clip=clip.name,
        seconds=clip.mix.shape[1] / clip.sample_rate,
        snr_db=snr(reference.stems, found.stems),
        max_abs_error=max_abs_error(reference.stems, found.stems),
        state_max_abs_error={slot: max_abs_error(value, found.state[slot]) for slot, value in reference.state.items()},
        stems=tuple(_compare_stems(clip, found, reference, sources)),
    )


def _compare_stems(clip: Clip, found: Trace, reference: Trace, sources: Sequence[str]) -> Iterator[StemParity]:
    if clip.stems is None:
        return
    before = csdr(clip.stems, reference.stems, clip.sample_rate)
    after = csdr(clip.stems, found.stems, clip.sample_rate)
    for index, source in enumerate(sources):
        true = clip.stems[index]
        if not true.any():
            continue
        yield StemParity(
            source=source,
            reference_usdr=usdr(true, reference.stems[index]),
            usdr=usdr(true, found.stems[index]),
            reference_csdr=float(before[index]),
            csdr=float(after[index]),
        )


def _failures(clip: ClipParity, thresholds: Thresholds) -> Iterator[str]:
    if thresholds.snr_db is None and (thresholds.dsdr_db is None or not clip.stems):
        yield f"{clip.clip}: nothing to judge by, neither true stems nor a threshold for SNR"
    if not math.isfinite(clip.max_abs_error):
        yield f"{clip.clip}: the stems hold NaN or infinity"
    for slot, error in clip.state_max_abs_error.items():
        if not math.isfinite(error):
            yield f"{clip.clip}: the state slot '{slot}' holds NaN or infinity"
    # Written so that NaN fails: not (NaN >= limit).
    if thresholds.snr_db is not None and not clip.snr_db >= thresholds.snr_db:
        yield f"{clip.clip}: SNR {clip.snr_db:.1f} dB, expected at least {thresholds.snr_db:g} dB"
    if thresholds.dsdr_db is not None:
        for stem in clip.stems:
            if not abs(stem.dsdr) <= thresholds.dsdr_db:
                change = f"{stem.source} changed by {stem.dsdr:+.3f} dB SDR"
                yield f"{clip.clip}: {change}, allowed {thresholds.dsdr_db:g} dB"
