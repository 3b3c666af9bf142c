"""A real bundle on the real aarch64 runtime, under qemu. Skipped where there is no qemu or no mirror within reach."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.emulation import debian
from ddtasnet_edge.benchmarks.emulation.boards import BOARDS
from ddtasnet_edge.benchmarks.emulation.counting import EMULATOR, InstructionCounter
from ddtasnet_edge.benchmarks.emulation.place import EMULATORS, EmulatedPlace, emulated_place
from ddtasnet_edge.benchmarks.emulation.sysroot import megabytes
from ddtasnet_edge.benchmarks.place_parity import parity_at
from ddtasnet_edge.benchmarks.remote.wheel import make_wheel
from ddtasnet_edge.errors import EdgeError
from tests.bundles import Workshop

TARGET = "tflite"
#: MB on disk of the light install with LiteRT, this package included.
LIGHT = 120


def within_reach() -> bool:
    try:
        with urllib.request.urlopen(f"{debian.MIRROR}/dists/{debian.SUITE}/InRelease", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedPlace]:
    if not any(map(shutil.which, EMULATORS)):
        pytest.skip("no qemu for aarch64: apt-get install qemu-user-static")
    if not within_reach():
        pytest.skip(f"{debian.MIRROR} is not within reach")
    wheel = make_wheel(tmp_path_factory.mktemp("wheel"))
    with emulated_place(BOARDS["rpi4"], [TARGET], wheel, tmp_path_factory.mktemp("cache"), print) as place:
        yield place


def test_a_bundle_on_the_board_sounds_as_it_does_here(board: EmulatedPlace, tiny: Workshop) -> None:
    bundles = [tiny.bundle(TARGET, recipe) for recipe in ("float32", "static_wi8_ai8")]
    report = parity_at(board, bundles, str(tiny.compiler.source.name), seconds=1.0, quiet=True)
    assert report.failures == ()
    assert [result.machine for result in report.results] == ["aarch64", "aarch64"]
    float32, int8 = (result.same_snr_db for result in report.results)
    assert float32 > 100.0
    assert int8 > 40.0


def test_the_light_install_is_light(board: EmulatedPlace) -> None:
    size = sum(map(megabytes, board.sites))
    assert size < LIGHT
    assert not any((site / name).exists() for site in board.sites for name in ("torch", "av", "onnxruntime"))


def test_what_fails_there_is_said_here(board: EmulatedPlace, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"rpi4, emulated .*: no bundle at .*nothing"):
        board.run("trace_worker", [str(tmp_path / "nothing"), "mix.npy", "trace.npz"])


def test_instructions_are_counted_the_same_twice(board: EmulatedPlace, tiny: Workshop) -> None:
    if not (shutil.which(EMULATOR) and shutil.which("cc")):
        pytest.skip(f"counting needs {EMULATOR} and a C compiler")
    bundle = tiny.bundle(TARGET, "float32")
    first, second = InstructionCounter(board).per_hop([bundle, bundle])
    assert first == pytest.approx(second, rel=0.01)
    # Every product multiplies each weight at least once, and no instruction of the core does more than 8 at a time.
    assert first > bundle.manifest.graph["weight_bytes"] / 4 / 8
