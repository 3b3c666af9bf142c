"""`ddtasnet-run`: what it writes, what it says, and that bad input and interruptions leave nothing half-done."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ddtasnet_edge.runtimes
from ddtasnet_edge import bundle as bundles
from ddtasnet_edge.audio_read import read_audio
from ddtasnet_edge.bundle import Bundle, Manifest, record_files, write_manifest
from ddtasnet_edge.cli import main
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, Slot, StreamSpec

RATE = 44100
GAINS = {"drums": 1.0, "bass": 0.5, "other": -0.25, "vocals": 2.0}
HOP, DELAY = 128, 96


def spec(channels: int = 2) -> StreamSpec:
    return StreamSpec(RATE, channels, tuple(GAINS), 256, HOP, DELAY, (Slot("past", (channels, DELAY)),))


class DelaySession(Session):
    """Each stem is the delayed mix times a gain. All are multiples of 1/4, so the stems are exact."""

    runtime = "delay 1.0"
    fails_after = 10**9
    failure: type[BaseException] = KeyboardInterrupt

    def __init__(self, stream: StreamSpec) -> None:
        super().__init__(stream)
        self._steps = 0
        self._past = stream.initial_state()["past"]

    def _run(self, hop: FloatArray) -> FloatArray:
        self._steps += 1
        if self._steps > self.fails_after:
            raise self.failure
        joined = np.concatenate([self._past, hop], axis=1)
        self._past = joined[:, HOP:]
        return np.stack([gain * joined[:, :HOP] for gain in GAINS.values()]).astype(np.float32)

    def _read_state(self) -> Mapping[str, FloatArray]:
        return {"past": self._past}

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._past = np.array(state["past"])

    def _close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def delay_session(monkeypatch):
    """Every bundle opens as a DelaySession."""
    monkeypatch.setattr(DelaySession, "fails_after", DelaySession.fails_after)

    def open_session(bundle: Bundle, num_threads: int = 1) -> Session:
        assert num_threads == 1
        return DelaySession(bundle.manifest.spec)

    monkeypatch.setattr(ddtasnet_edge.runtimes, "open_session", open_session)


def make_bundle(folder: Path, status: str = bundles.VERIFIED, stream: StreamSpec | None = None) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    manifest = Manifest(
        target="onnx",
        recipe="float32",
        model={"weights": "random"},
        spec=stream or spec(),
        graph={},
        files=record_files(folder, ("model.onnx",)),
        tools={},
        licence={},
        status=status,
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def bundle(tmp_path) -> Path:
    return make_bundle(tmp_path / "delay.edge")


def music(samples: int, channels: int = 2) -> np.ndarray:
    """Seeded 8-bit noise in [-0.5, 0.5], exact in every format: float32 [channels, samples]."""
    return (np.random.default_rng(0).integers(-64, 65, (channels, samples)) / 128).astype(np.float32)


@pytest.fixture
def song(tmp_path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(100_000).T, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def wide_terminal(monkeypatch):
    """Wide enough for a table with the long paths of a test."""
    monkeypatch.setenv("COLUMNS", "300")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def error_line(capsys) -> str:
    """The one line on stderr; nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    return err


class TestStems:
    def test_they_are_aligned_with_the_song_and_as_long(self, bundle, song, tmp_path):
        assert run(bundle, song, "--out", tmp_path / "stems") == 0
        for source, gain in GAINS.items():
            stem = read_audio(tmp_path / "stems" / f"{source}.wav", RATE, 2)
            np.testing.assert_array_equal(stem, gain * music(100_000))

    def test_flac(self, bundle, song, tmp_path):
        assert run(bundle, song, "--out", tmp_path / "stems", "--format", "flac") == 0
        bass = read_audio(tmp_path / "stems" / "bass.flac", RATE, 2)
        # 24 bits, scaled by 2^23 - 1.
        np.testing.assert_allclose(bass, 0.5 * music(100_000), rtol=0.0, atol=2.0**-22)
        assert sorted(path.name for path in (tmp_path / "stems").iterdir()) == sorted(f"{s}.flac" for s in GAINS)

    @pytest.mark.parametrize(("samples", "rate"), [(1, RATE), (HOP, RATE), (HOP - DELAY, RATE), (100_000, 192000)])
    def test_any_length_and_rate(self, bundle, tmp_path, samples, rate):
        soundfile.write(tmp_path / "a.wav", music(samples).T, rate)
        assert run(bundle, tmp_path / "a.wav", "--out", tmp_path / "stems") == 0
        assert read_audio(tmp_path / "stems" / "other.wav", RATE, 2).shape == (2, round(samples * RATE / rate))

    def test_mp3(self, bundle, tmp_path):
        soundfile.write(tmp_path / "a.mp3", music(RATE).T, RATE)
        assert run(bundle, tmp_path / "a.mp3", "--out", tmp_path / "stems") == 0
        decoded = read_audio(tmp_path / "a.mp3", RATE, 2)
        np.testing.assert_array_equal(read_audio(tmp_path / "stems" / "drums.wav", RATE, 2), decoded)

    def test_a_mono_model(self, song, tmp_path):
        mono = make_bundle(tmp_path / "mono.edge", stream=spec(channels=1))
        assert run(mono, song, "--out", tmp_path / "stems") == 0
        assert soundfile.info(tmp_path / "stems" / "drums.wav").channels == 1

    def test_memory_does_not_grow_with_the_song(self, bundle, tmp_path):
        with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 2) as file:
            for _ in range(40):
                file.write(music(RATE).T)
        run(bundle, tmp_path / "long.wav", "--out", tmp_path / "first", "--quiet")  # imports everything
        tracemalloc.start()
        assert run(bundle, tmp_path / "long.wav", "--out", tmp_path / "stems", "--quiet") == 0
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # 40 s of four stems are 56 MB; one second of song and stems, each held twice at most, is 3.5 MB.
        assert peak < 8e6


class TestReport:
    @pytest.mark.usefixtures("wide_terminal")
    def test_table_and_folder(self, bundle, song, tmp_path, capsys):
        assert run(bundle, song, "--out", tmp_path / "stems") == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert out.splitlines()[-1] == str(tmp_path / "stems")
        for shown in ("2.27 s", "RTF", "delay.edge, delay 1.0", "drums.wav, bass.wav, other.wav, vocals.wav"):
            assert shown in out

    def test_quiet_prints_the_folder_only(self, bundle, song, tmp_path, capsys):
        assert run(bundle, song, "--out", tmp_path / "stems", "--quiet") == 0
        assert capsys.readouterr() == (f"{tmp_path / 'stems'}\n", "")

    @pytest.mark.usefixtures("wide_terminal")
    def test_json(self, bundle, tmp_path, capsys):
        soundfile.write(tmp_path / "mono.wav", music(48000, channels=1).T, 48000)
        report = tmp_path / "report.json"
        arguments = [bundle, tmp_path / "mono.wav", "--out", tmp_path / "stems", "--format", "flac", "--json"]
        assert run(*arguments, report) == 0
        written = json.loads(report.read_text())
        assert written["duration"] == 1.0
        assert written["rtf"] == pytest.approx(written["wall_time"])
        assert written["stems"] == [str(tmp_path / "stems" / f"{source}.flac") for source in GAINS]
        assert written["notes"][:2] == [
            "mono file: both channels carry the same signal",
            "resampled from 48000 Hz to 44100 Hz",
        ]
        assert written["notes"][-1].startswith("vocals peaks at 1.")
        table = capsys.readouterr().out
        assert all(note in table for note in written["notes"])

        assert run(*arguments, "-", "--force") == 0
        assert json.loads(capsys.readouterr().out)["stems"] == written["stems"]

    def test_a_failed_bundle_is_warned_of_in_one_line(self, song, tmp_path, capsys):
        failed = make_bundle(tmp_path / "failed.edge", status=bundles.FAILED)
        assert run(failed, song, "--out", tmp_path / "stems", "--quiet") == 0
        out, err = capsys.readouterr()
        assert err.count("\n") == 1
        assert err.startswith(f"warning: {failed} failed its parity check")
        assert out == f"{tmp_path / 'stems'}\n"

    def test_help_has_examples(self, capsys):
        with pytest.raises(SystemExit) as done:
            run("--help")
        assert done.value.code == 0
        assert "ddtasnet-run build/small" in capsys.readouterr().out

    def test_out_is_required(self, bundle, song, capsys):
        with pytest.raises(SystemExit) as done:
            run(bundle, song)
        assert done.value.code == 2
        assert "--out" in capsys.readouterr().err


class TestBadInput:
    def test_songs(self, bundle, tmp_path, capsys):
        (tmp_path / "text.wav").write_text("words, not samples")
        soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
        soundfile.write(tmp_path / "seven.wav", np.zeros((10, 7)), RATE)
        broken = music(RATE).T.copy()
        broken[RATE // 2] = np.nan
        soundfile.write(tmp_path / "nan.wav", broken, RATE, subtype="FLOAT")
        for name, reason in {
            "nothing.wav": "No such file",
            ".": "directory",
            "text.wav": "expected audio",
            "empty.wav": "no audio samples",
            "seven.wav": "7 channels, the model takes 2",
            "nan.wav": "NaN or infinity at 0.500 s",
        }.items():
            assert run(bundle, tmp_path / name, "--out", tmp_path / "stems") == 2
            assert reason in error_line(capsys)
            assert not (tmp_path / "stems").exists()

    def test_bundles(self, song, tmp_path, capsys):
        assert run(tmp_path / "nothing.edge", song, "--out", tmp_path / "stems") == 2
        assert "no bundle at" in error_line(capsys)
        damaged = make_bundle(tmp_path / "damaged.edge")
        (damaged / "model.onnx").write_bytes(b"grapH")
        assert run(damaged, song, "--out", tmp_path / "stems") == 2
        assert "sha256" in error_line(capsys)

    def test_existing_stems_need_force(self, bundle, song, tmp_path, capsys):
        out = tmp_path / "stems"
        out.mkdir()
        (out / "bass.wav").write_text("precious")
        assert run(bundle, song, "--out", out) == 2
        assert "bass.wav exists already; choose another --out or replace it with --force" in error_line(capsys)
        assert (out / "bass.wav").read_text() == "precious"
        assert run(bundle, song, "--out", out, "--force") == 0
        assert read_audio(out / "bass.wav", RATE, 2).shape == (2, 100_000)

    def test_unwritable_folder(self, bundle, song, capsys):
        assert run(bundle, song, "--out", song / "stems") == 2
        assert "cannot write" in error_line(capsys)

    def test_disk_full(self, bundle, song, tmp_path, capsys, monkeypatch):
        def no_space(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(soundfile.SoundFile, "write", no_space)
        assert run(bundle, song, "--out", tmp_path / "stems") == 2
        assert "No space left on device; free space or choose another place" in error_line(capsys)
        assert not (tmp_path / "stems").exists()

    def test_debug_shows_where(self, bundle, tmp_path, capsys):
        assert run(bundle, tmp_path / "nothing.wav", "--out", tmp_path / "stems", "--debug") == 2
        assert "Traceback" in capsys.readouterr().err


class TestInterruption:
    # 100000 samples in one-second blocks: before the first write, between writes, in the flush.
    @pytest.mark.parametrize("steps", [0, 300, 500, 781])
    def test_ctrl_c_leaves_no_stems(self, bundle, song, tmp_path, capsys, monkeypatch, steps):
        monkeypatch.setattr(DelaySession, "fails_after", steps)
        before = sorted(tmp_path.rglob("*"))
        assert run(bundle, song, "--out", tmp_path / "stems") == 130
        assert "interrupted" in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before

    def test_ctrl_c_with_force_keeps_the_old_stems(self, bundle, song, tmp_path, monkeypatch):
        assert run(bundle, song, "--out", tmp_path / "stems") == 0
        before = {path: path.read_bytes() for path in (tmp_path / "stems").iterdir()}
        monkeypatch.setattr(DelaySession, "fails_after", 300)
        assert run(bundle, song, "--out", tmp_path / "stems", "--force") == 130
        assert {path: path.read_bytes() for path in (tmp_path / "stems").iterdir()} == before
