"""Real bundles for tests: every target and recipe of the `tiny` preset, each compiled once, when first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.clips import DEFAULT_TRACK, default_clip
from ddtasnet_edge.compiler import Compiler
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.quantize import INT4, recipe_named
from ddtasnet_edge.runtimes.parity import ParityReport
from ddtasnet_edge.spec import FloatArray

RATE = 44100
FIXED = ("float32", "static_wi8_ai8", "dynamic_wi8_afp32", "dynamic_wi4b64_wi8_afp32")
#: A recipe of one's own, with every precision in it, is judged by the thresholds of this name.
MIXED, MIXED_FILE = "mixed", Path(__file__).with_name("mixed.json")
# Four bits are too few for the half million weights of `tiny`, and its gate says so (README); here in dB what they cost
# at most when everything is computed as it should be.
FOUR_BITS_OF_TINY = 1.0
RECIPES_OF = {
    "torch": ("float32",),
    "onnx": (*FIXED, MIXED),
    "openvino": (*FIXED, MIXED),
    "tflite": (*FIXED, MIXED),
}
#: Written down, not derived from the registries, so that test_coverage_of_targets.py can compare the two.
EVERY = [(target, recipe) for target, recipes in RECIPES_OF.items() for recipe in recipes]
FLOAT = [(target, recipe) for target, recipe in EVERY if recipe == "float32"]
QUANTIZED = [(target, recipe) for target, recipe in EVERY if recipe != "float32"]


class Workshop:
    """A model and its bundles, by target and recipe."""

    def __init__(self, model: str | Path, music: MusicChoice, calibration: Path, out: Path) -> None:
        self.compiler = Compiler(model, music, calibration)
        self.out = out
        self._compiled = cache(self._compile)

    def bundle(self, target: str, recipe: str) -> Bundle:
        """The bundle, whether it passed or not."""
        return self._compiled(target, recipe)[0]

    def report(self, target: str, recipe: str) -> ParityReport:
        """Its parity on the verification music."""
        return self._compiled(target, recipe)[1]

    def _compile(self, target: str, recipe: str) -> tuple[Bundle, ParityReport]:
        name = str(MIXED_FILE) if recipe == MIXED else recipe
        drop = FOUR_BITS_OF_TINY if recipe in (INT4.name, MIXED) else None
        return self.compiler.compile(target, recipe_named(name), self.out, max_sdr_drop=drop)


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> MusicChoice:
    """A MUSDB18-HQ folder with 2.5 s of the default clip.

    The same music as by default, only less of it; every threshold stays as it is.
    """
    root, clip = tmp_path_factory.mktemp("musdb"), default_clip()
    assert clip.stems is not None
    track = root / "test" / DEFAULT_TRACK
    track.mkdir(parents=True)
    for name, samples in zip(("mixture", *MUSDB_SOURCES), (clip.mix, *clip.stems), strict=True):
        write_wav(track / f"{name}.wav", samples[:, RATE : RATE * 7 // 2])
    return MusicChoice(musdb=root)


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another 2 s of that clip's mix, to calibrate on."""
    folder = tmp_path_factory.mktemp("calibration")
    write_wav(folder / "song.wav", default_clip(with_stems=False).mix[:, 4 * RATE :])
    return folder


@pytest.fixture(scope="session")
def song() -> FloatArray:
    """One second of real music, float32 [2, 44100]."""
    return np.ascontiguousarray(default_clip(with_stems=False).mix[:, :RATE])


@pytest.fixture(scope="session")
def tiny(music: MusicChoice, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The `tiny` preset."""
    return Workshop("tiny", music, calibration, tmp_path_factory.mktemp("tiny"))


def write_wav(path: Path, samples: FloatArray) -> None:
    """Samples [channels, n] as 32-bit float wav: nothing is lost."""
    soundfile.write(path, samples.T, RATE, subtype="FLOAT")
