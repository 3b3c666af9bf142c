"""What a device has: the base install and one runtime. Everything else cannot be imported here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.spec import FloatArray
from tests.bundles import Workshop

#: Distributions with a module of another name, or with more than one.
MODULES = {
    "ai-edge-litert": ("ai_edge_litert",),
    "cffi": ("cffi", "_cffi_backend"),
    "soundfile": ("soundfile", "_soundfile", "_soundfile_data"),
    "typing-extensions": ("typing_extensions",),
    "protobuf": ("google",),
    "backports.strenum": ("backports",),
    "ml-dtypes": ("ml_dtypes",),
}
#: The three of the base install, the interpreter, and what these bring.
INSTALLED = (
    *("numpy", "soundfile", "cffi", "pycparser", "soxr"),
    *("ai-edge-litert", "backports.strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm", "typing-extensions"),
)
# Finds nothing that is not part of Python, of this package or of the list.
HIDE_THE_REST = """
import sys
class OnlyInstalled:
    finders = tuple(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {allowed!r}:
            found = (finder.find_spec(name, path, target) for finder in self.finders)
            return next((spec for spec in found if spec is not None), None)
sys.meta_path[:] = [OnlyInstalled()]
from {module} import main
sys.exit(main(sys.argv[1:]))
"""


def run_light(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a device would."""
    own = {name for distribution in INSTALLED for name in MODULES.get(distribution, (distribution,))}
    allowed = {"ddtasnet_edge", *own, *sys.stdlib_module_names, *sys.builtin_module_names}
    code = HIDE_THE_REST.format(allowed=allowed, module=module)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def bundle(tiny: Workshop) -> str:
    return str(tiny.bundle("tflite", "float32").path)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_a_song_is_separated(bundle: str, song: FloatArray, tmp_path: Path, kind: str) -> None:
    path, out = tmp_path / f"song.{kind}", tmp_path / "stems"
    soundfile.write(path, song.T, 48000)
    done = run_light("ddtasnet_edge.cli", bundle, str(path), "--out", str(out), "--quiet")
    assert done.returncode == 0, done.stderr
    assert sorted(stem.name for stem in out.iterdir()) == sorted(f"{source}.wav" for source in MUSDB_SOURCES)
    assert all(np.abs(soundfile.read(stem)[0]).max() > 0 for stem in out.iterdir())


def test_what_it_cannot_read_is_one_line_with_the_extra(bundle: str, tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    path.write_bytes(b"\0\0\0\x18ftypM4A " + bytes(200))
    done = run_light("ddtasnet_edge.cli", bundle, str(path), "--out", str(tmp_path / "stems"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("needs PyAV, which is not installed; pip install 'ddtasnet-edge[media]'")


def test_a_bundle_is_timed(bundle: str) -> None:
    done = run_light("ddtasnet_edge.benchmarks.cli", bundle, "--hops", "3")
    assert done.returncode == 0, done.stderr
    assert "noise, because" in done.stdout
