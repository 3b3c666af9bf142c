"""Material for the tests of the evaluation: separators without a network, and folders of short songs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.evaluation.separator import Separator
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, Slot, StreamSpec
from ddtasnet_edge.stream import StreamRunner
from tests.small import small_config

RATE = 8000


def spec(sample_rate: int = RATE, hop: int = 100, latency: int = 0, channels: int = 2) -> StreamSpec:
    """A stream of the four sources with one slot, `memory`."""
    return StreamSpec(sample_rate, channels, MUSDB_SOURCES, hop + latency, hop, latency, (Slot("memory", (2,)),))


class FakeSession(Session):
    """Delays the mix by the latency and lets `rule` make stems of it.

    rule(mix [channels, hop], index of the hop, memory [2]) -> stems [sources, channels, hop]; it may change memory.
    """

    runtime = "fake 1.0"

    def __init__(self, form: StreamSpec, rule: Callable[[FloatArray, int, FloatArray], FloatArray]) -> None:
        super().__init__(form)
        self._rule = rule
        self._write_state(form.initial_state())

    def _run(self, hop: FloatArray) -> FloatArray:
        held = np.concatenate([self._held, hop], axis=1)
        self._held = held[:, hop.shape[1] :]
        stems = self._rule(held[:, : hop.shape[1]], self._index, self._memory)
        self._index += 1
        return np.asarray(stems, dtype=np.float32)

    def _read_state(self) -> Mapping[str, FloatArray]:
        return {"memory": self._memory}

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._memory = np.array(state["memory"])
        self._held = np.zeros((self.spec.channels, self.spec.algorithmic_latency), dtype=np.float32)
        self._index = 0

    def _close(self) -> None:
        pass


def quarters(mix: FloatArray, _index: int, _memory: FloatArray) -> FloatArray:
    """A quarter of the mix for every source."""
    return np.stack([mix / 4] * len(MUSDB_SOURCES))


def fake_separator(
    rule: Callable[[FloatArray, int, FloatArray], FloatArray] = quarters, form: StreamSpec | None = None
) -> Separator:
    """A separator that follows a rule."""
    return Separator("fake", "random", "a rule", StreamRunner(FakeSession(form or spec(), rule)))


def make_stems(seconds: float, seed: int = 0, rate: int = RATE, channels: int = 2) -> FloatArray:
    """Four stems [4, channels, n] in four bands, so that a mask can tell them apart; 16 bit hold them exactly."""
    count = round(seconds * rate)
    noise = np.random.default_rng(seed).standard_normal((len(MUSDB_SOURCES), channels, count))
    spectrum = np.fft.rfft(noise)
    bins = np.arange(spectrum.shape[-1]) * 4 // spectrum.shape[-1]
    spectrum[np.broadcast_to(bins, spectrum.shape) != np.arange(4)[:, None, None]] = 0.0
    stems = np.fft.irfft(spectrum, count)
    return (np.round(stems / np.abs(stems).max() * 8000) / 32768).astype(np.float32)


def write_song(folder: Path, stems: FloatArray, rate: int = RATE) -> Path:
    """One song as ddtasnet-songs keeps it."""
    folder.mkdir(parents=True)
    for source, stem in zip(MUSDB_SOURCES, stems, strict=True):
        soundfile.write(folder / f"{source}.flac", stem.T, rate, subtype="PCM_16")
    return folder


def write_songs(root: Path, count: int = 2, seconds: float = 2.0) -> Path:
    """`<root>/test/song-0` and so on; returns root."""
    for index in range(count):
        write_song(root / "test" / f"song-{index}", make_stems(seconds, seed=index))
    return root


def damage(folder: Path) -> None:
    """Make a song unreadable."""
    (folder / "bass.flac").write_bytes(b"no audio")


def write_config(folder: Path) -> Path:
    """A configuration file of a very small model."""
    path = folder / "little.json"
    path.write_text(json.dumps(small_config(sample_rate=RATE).to_dict()))
    return path
