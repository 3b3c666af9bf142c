"""Songs on disk and `ddtasnet-songs`: whole or absent, the same from the same seed, one line for what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError, ConfigError, EdgeError, MissingDependencyError
from ddtasnet_edge.song_folder import read_song, song_folders
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs import cli, make
from ddtasnet_edge.training.songs.composition import Composition
from ddtasnet_edge.training.songs.info import INFO, read_info
from ddtasnet_edge.training.songs.make import (
    SEEDS_PER_SPLIT,
    SPLITS,
    make_songs,
    song_seed,
)

FILES = sorted([*(f"{source}.flac" for source in MUSDB_SOURCES), INFO])


def missing_tools() -> str:
    """What is not installed, or nothing."""
    try:
        make.require_song_tools()
    except MissingDependencyError as error:
        return str(error)
    return ""


MISSING = missing_tools()
needs_tools = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def fake_stems(composition: Composition, seconds: float) -> FloatArray:
    """Noise on the 16-bit grid in place of music."""
    rng = np.random.default_rng(composition.form.seed)
    shape = (4, 2, round(seconds * 44100))
    return (rng.integers(-8000, 8000, shape) / 32768).astype(np.float32)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs without any tool: composed as always, but noise."""
    monkeypatch.setattr(make, "make_stems", fake_stems)
    monkeypatch.setattr(make, "require_song_tools", lambda: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command says."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_splits_share_no_seed() -> None:
    ranges = sorted((song_seed(split, 0), song_seed(split, SEEDS_PER_SPLIT - 1)) for split in SPLITS)
    assert set(SPLITS) == {"train", "validation", "test"}
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))
    with pytest.raises(ConfigError, match="1000000000 is outside of a split"):
        song_seed("train", SEEDS_PER_SPLIT)
    with pytest.raises(ConfigError, match=r"unknown split 'tset'.*test"):
        song_seed("tset", 0)


@pytest.mark.usefixtures("quick")
def test_a_song_is_a_folder_of_stems_and_facts(tmp_path: Path) -> None:
    report = make_songs(tmp_path, "train", 2, 1.5)
    assert (report.made, report.kept) == (2, 0)
    home = tmp_path / "train"
    assert sorted(path.name for path in home.iterdir()) == ["train-00000", "train-00001"]
    for index, path in enumerate(sorted(home.iterdir())):
        assert sorted(file.name for file in path.iterdir()) == FILES
        assert soundfile.info(path / "bass.flac").subtype == "PCM_16"
        info = read_info(path)
        assert (info.name, info.seed, info.seconds, info.sample_rate) == (path.name, index, 1.5, 44100)
        assert info.sections[0][1] == 0


@pytest.mark.usefixtures("quick")
def test_reading_gives_the_very_samples_and_their_sum(tmp_path: Path) -> None:
    make_songs(tmp_path, "test", 1, 1.0)
    clip = read_song(tmp_path / "test" / "test-00000")
    composition = make.compose(song_seed("test", 0), 1.0)
    assert clip.stems is not None
    assert np.array_equal(clip.stems, fake_stems(composition, 1.0))
    assert np.array_equal(clip.mix, clip.stems.sum(axis=0))
    assert (clip.name, clip.sample_rate) == ("test-00000", 44100)


@pytest.mark.usefixtures("quick")
def test_whole_songs_are_kept_and_missing_ones_are_made(tmp_path: Path) -> None:
    make_songs(tmp_path, "train", 3, 1.0)
    before = contents(tmp_path)
    shutil.rmtree(tmp_path / "train" / "train-00001")
    kept = (tmp_path / "train" / "train-00000" / "bass.flac").stat().st_mtime_ns
    report = make_songs(tmp_path, "train", 3, 1.0)
    assert (report.made, report.kept) == (1, 2)
    assert contents(tmp_path) == before
    assert (tmp_path / "train" / "train-00000" / "bass.flac").stat().st_mtime_ns == kept


@pytest.mark.usefixtures("quick")
def test_a_song_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(4, "no room: ")

    monkeypatch.setattr(soundfile, "write", fail)
    with pytest.raises(AudioError, match=r"cannot write .*train-00000.*free space"):
        make_songs(tmp_path, "train", 1, 1.0)
    assert list((tmp_path / "train").iterdir()) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("field", "value"), [("seconds", 9.0), ("generator", 0)])
def test_songs_of_another_kind_are_refused(tmp_path: Path, field: str, value: float) -> None:
    make_songs(tmp_path, "train", 1, 1.0)
    path = tmp_path / "train" / "train-00000" / INFO
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ConfigError, match=rf"train-00000 has .*{value:g}.*choose another --out or delete it"):
        make_songs(tmp_path, "train", 1, 1.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sections": []}', '{"sections": 3}'])
def test_damaged_facts_are_refused(tmp_path: Path, text: str) -> None:
    make_songs(tmp_path, "train", 1, 1.0)
    path = tmp_path / "train" / "train-00000"
    (path / INFO).write_text(text)
    with pytest.raises(AudioError, match=r"song\.json does not describe a song; delete"):
        read_info(path)


@pytest.mark.usefixtures("quick")
def test_a_damaged_stem_is_named(tmp_path: Path) -> None:
    make_songs(tmp_path, "train", 1, 1.0)
    path = tmp_path / "train" / "train-00000"
    soundfile.write(path / "other.flac", np.zeros((10, 2)), 44100)
    with pytest.raises(AudioError, match=r"stems of .*'other': 10, .* expected one length"):
        read_song(path)
    (path / "bass.flac").write_bytes(b"nothing")
    with pytest.raises(AudioError, match=r"bass\.flac"):
        read_song(path)
    (path / "drums.flac").unlink()
    with pytest.raises(AudioError, match=r"has no drums\.flac; make or copy the song again"):
        read_song(path)


def test_no_songs_is_said_with_the_command_that_makes_some(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no songs in .*train; make some: ddtasnet-songs --out"):
        song_folders(tmp_path, "train")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--count", "0", "count is 0: expected at least 1"),
        ("--seconds", "0.5", "seconds is 0.5: expected 1 to 300"),
        ("--seconds", "nan", "seconds is nan: expected 1 to 300"),
        ("--seconds", "301", "seconds is 301.0: expected 1 to 300"),
        ("--jobs", "0", "jobs is 0: expected at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    given = ["--out", str(tmp_path), "--split", "train", "--count", "1", "--seconds", "4", option, value]
    assert message in refused(given, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tool", ["fluidsynth", "espeak-ng"])
def test_a_missing_program_stops_the_command_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.setattr(make, "require", lambda *_: None)
    monkeypatch.setattr(make, "find_sound_font", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else name)
    said = refused(["--out", str(tmp_path), "--split", "train", "--count", "1", "--seconds", "4"], capsys)
    assert f"sudo apt-get install {tool}\n" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_the_command_reports_and_prints_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--out", str(tmp_path), "--split", "validation", "--count", "2", "--seconds", "1", "--jobs", "1"]
    assert cli.main(given) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'validation'}\n"
    assert shown.err == "2 songs made, 0 were there already\n"
    assert cli.main([*given, "--json", "-", "--quiet"]) == 0
    shown = capsys.readouterr()
    expected = {"folder": str(tmp_path), "split": "validation", "seconds": 1.0, "made": 0, "kept": 2}
    assert json.loads(shown.out) == expected
    assert shown.err == ""


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    given = ["--out", str(tmp_path / "file"), "--split", "train", "--count", "1", "--seconds", "1", "--jobs", "1"]
    assert "cannot write" in refused(given, capsys)


@needs_tools
def test_a_real_song_sounds_and_is_the_same_from_the_same_seed_in_any_number_of_processes(tmp_path: Path) -> None:
    one = make_songs(tmp_path / "one", "train", 2, 4.0, jobs=1)
    two = make_songs(tmp_path / "two", "train", 2, 4.0, jobs=2)
    assert one.made == two.made == 2
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    for clip in map(read_song, song_folders(tmp_path / "one", "train")):
        assert clip.stems is not None
        assert clip.stems.shape == (4, 2, 4 * 44100)
        assert np.isfinite(clip.stems).all()
        assert np.abs(clip.mix).max() < 1.0
        info = read_info(tmp_path / "one" / "train" / clip.name)
        playing = {stem for _, _, stems in info.sections for stem in stems}
        for source, stem in zip(MUSDB_SOURCES, clip.stems, strict=True):
            assert np.any(stem) == (source in playing)


@needs_tools
def test_after_ctrl_c_only_whole_songs_are_there(tmp_path: Path) -> None:
    # A shell that runs this in the background has its children ignore Ctrl-C, which Python would inherit.
    attend = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start = attend + "import sys; from ddtasnet_edge.training.songs.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "--out", str(tmp_path), "--split", "train"]
    with subprocess.Popen(
        [*command, "--count", "50", "--seconds", "4", "--jobs", "2"], stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        while not list(tmp_path.glob("train/train-*/song.json")) and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # a terminal signals the whole group
        _, said = process.communicate()
    assert process.returncode == 130, said.decode()
    left = list((tmp_path / "train").iterdir())
    assert 0 < len(left) < 50
    assert all(sorted(file.name for file in path.iterdir()) == FILES for path in left)


def test_a_killed_worker_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make, "require_song_tools", lambda: None)
    monkeypatch.setattr(make, "_leave_interrupts_to_the_parent", partial(os._exit, 9))
    with pytest.raises(EdgeError, match="was killed; free memory or give fewer --jobs"):
        make_songs(tmp_path, "train", 2, 1.0, jobs=2)
