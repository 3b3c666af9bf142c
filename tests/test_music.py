"""Choosing music with known stems: what is found, how it is read, and the options of the commands."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddtasnet_edge import clips, song_folder
from ddtasnet_edge.clips import AS_RECORDED, DEFAULT_NOTE, DEFAULT_TRACK, MUSDB_NOTE, MusdbFormat, default_clip
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError, ConfigError, MissingDependencyError
from ddtasnet_edge.evaluation import cli as evaluation_cli
from ddtasnet_edge.export import cli as export_cli
from ddtasnet_edge.music import MusicChoice, find_music, has_stems
from ddtasnet_edge.song_folder import SONG_NOTE
from tests.evaluation import RATE, make_stems, write_song, write_songs

LITTLE = MusdbFormat(sample_rate=RATE)
KAZOO = replace(LITTLE, sources=("kazoo",))
MIDDLE = slice(RATE * 3 // 4, RATE * 5 // 4)


def write_musdb(root: Path, count: int = 2, seconds: float = 2.0) -> Path:
    """The songs of `write_songs` as MUSDB18-HQ has them; returns root."""
    for index in range(count):
        folder, stems = root / "test" / f"song-{index}", make_stems(seconds, seed=index)
        folder.mkdir(parents=True)
        for name, samples in zip(("mixture", *MUSDB_SOURCES), (stems.sum(axis=0), *stems), strict=True):
            soundfile.write(folder / f"{name}.wav", samples.T, RATE, subtype="FLOAT")
    return root


def choose_musdb(root: Path) -> MusicChoice:
    return MusicChoice(musdb=write_musdb(root))


def choose_songs(root: Path) -> MusicChoice:
    return MusicChoice(songs=write_songs(root))


each_folder = pytest.mark.parametrize("choose", [choose_musdb, choose_songs])
Choose = Callable[[Path], MusicChoice]


class TestFolders:
    @each_folder
    def test_tracks_are_read_by_name_in_the_order_of_the_model(self, choose: Choose, tmp_path: Path) -> None:
        found = find_music(replace(LITTLE, sources=("vocals", "drums")), choose(tmp_path))
        assert list(found.tracks) == ["song-0", "song-1"]
        clip, stems = found.tracks["song-1"](), make_stems(2.0, seed=1)
        assert clip.name == "song-1"
        np.testing.assert_array_equal(clip.stems, stems[[3, 0]])
        np.testing.assert_array_equal(clip.mix, stems.sum(axis=0))

    @each_folder
    def test_an_excerpt_is_from_the_middle(self, choose: Choose, tmp_path: Path) -> None:
        choice = replace(choose(tmp_path), tracks=["song-0"], excerpt=0.5)
        (read,) = find_music(LITTLE, choice).tracks.values()
        stems = make_stems(2.0)
        np.testing.assert_array_equal(read().stems, stems[..., MIDDLE])
        np.testing.assert_array_equal(read().mix, stems.sum(axis=0)[..., MIDDLE])

    @each_folder
    def test_an_excerpt_longer_than_the_track_is_the_track(self, choose: Choose, tmp_path: Path) -> None:
        read = find_music(LITTLE, replace(choose(tmp_path), excerpt=99.0)).tracks["song-0"]
        np.testing.assert_array_equal(read().stems, make_stems(2.0))

    @each_folder
    def test_without_stems_any_model_gets_the_same_mixes(self, choose: Choose, tmp_path: Path) -> None:
        choice = replace(choose(tmp_path), excerpt=0.5)
        clip = find_music(KAZOO, choice, with_stems=False).tracks["song-1"]()
        assert clip.stems is None
        np.testing.assert_array_equal(clip.mix, make_stems(2.0, seed=1).sum(axis=0)[..., MIDDLE])

    @each_folder
    def test_one_track_is_read_at_a_time(self, choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read, original = [], clips.read_audio
        for module in (clips, song_folder):
            monkeypatch.setattr(
                module, "read_audio", lambda path, *a, **k: read.append(path) or original(path, *a, **k)
            )
        found = find_music(LITTLE, choose(tmp_path))
        assert read == []
        found.tracks["song-1"]()
        assert {path.parent.name for path in read} == {"song-1"}

    @each_folder
    def test_an_unknown_track(self, choose: Choose, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match=r"no track 'song-9' among 2 in .*test; did you mean 'song-"):
            find_music(LITTLE, replace(choose(tmp_path), tracks=["song-0", "song-9"]))

    @each_folder
    def test_another_split(self, choose: Choose, tmp_path: Path) -> None:
        choice = replace(choose(tmp_path), split="train")
        with pytest.raises(AudioError, match=r"no (folder|songs in) .*train"):
            find_music(LITTLE, choice)
        (tmp_path / "test").rename(tmp_path / "train")
        found = find_music(LITTLE, choice)
        assert (found.split, list(found.tracks)) == ("train", ["song-0", "song-1"])

    def test_songs_come_at_the_rate_and_in_the_channels_of_the_model(self, tmp_path: Path) -> None:
        write_song(tmp_path / "test" / "mono", make_stems(1.0, channels=1))
        clip = find_music(AS_RECORDED, MusicChoice(songs=tmp_path)).tracks["mono"]()
        assert clip.mix.shape == (2, 44100)
        np.testing.assert_array_equal(clip.mix[0], clip.mix[1])

    def test_stems_of_unequal_length(self, tmp_path: Path) -> None:
        song = write_song(tmp_path / "test" / "a", make_stems(1.0))
        (song / "bass.flac").write_bytes((write_song(tmp_path / "b", make_stems(0.5)) / "bass.flac").read_bytes())
        read = find_music(LITTLE, MusicChoice(songs=tmp_path)).tracks["a"]
        with pytest.raises(AudioError, match=r"'bass': 4000.*expected one length"):
            read()

    def test_the_note_says_where_it_comes_from(self, tmp_path: Path) -> None:
        for choice, note in ((choose_musdb(tmp_path / "a"), MUSDB_NOTE), (choose_songs(tmp_path / "b"), SONG_NOTE)):
            assert find_music(LITTLE, choice).note == note


class TestDefaultClip:
    def test_nothing_given_is_the_real_excerpt(self) -> None:
        found = find_music(AS_RECORDED, MusicChoice())
        assert list(found.tracks) == [DEFAULT_TRACK]
        assert (found.note, found.split) == (DEFAULT_NOTE, "test")

    def test_an_excerpt_with_and_without_stems(self) -> None:
        whole, choice = default_clip(), MusicChoice(excerpt=0.5)
        start = (whole.mix.shape[1] - 22050) // 2
        middle = slice(start, start + 22050)
        clip = find_music(AS_RECORDED, choice).tracks[DEFAULT_TRACK]()
        np.testing.assert_array_equal(clip.mix, whole.mix[:, middle])
        np.testing.assert_array_equal(clip.stems, whole.stems[..., middle])
        bare = find_music(replace(AS_RECORDED, sources=("kazoo",)), choice, with_stems=False).tracks[DEFAULT_TRACK]()
        np.testing.assert_array_equal(bare.mix, clip.mix)
        assert bare.stems is None

    def test_without_stempeg_it_is_missed_at_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'ddtasnet-edge\[eval\]'"):
            find_music(AS_RECORDED, MusicChoice())
        assert len(find_music(LITTLE, choose_songs(tmp_path)).tracks) == 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            (MusicChoice(songs=Path("nowhere")), "no songs in nowhere/test; make some: ddtasnet-songs --out nowhere"),
            (MusicChoice(musdb=Path("nowhere")), "no folder nowhere/test"),
            (MusicChoice(tracks=["Falcon"]), "no track 'Falcon' among 1 in the default clip"),
        ],
    )
    @pytest.mark.parametrize("with_stems", [True, False])
    def test_nothing_found(self, choice: MusicChoice, message: str, with_stems: bool) -> None:
        with pytest.raises(AudioError, match=message):
            find_music(AS_RECORDED, choice, with_stems=with_stems)

    @pytest.mark.parametrize(
        ("form", "choice", "message"),
        [
            (LITTLE, MusicChoice(excerpt=0.0), "excerpt is 0.0 s"),
            (LITTLE, MusicChoice(songs=Path("a"), excerpt=-1.0), "excerpt is -1.0 s"),
            (LITTLE, MusicChoice(musdb=Path("a"), split="tests"), "unknown subset 'tests'.*did you mean 'test'"),
            (
                replace(LITTLE, sources=("drums", "piano")),
                MusicChoice(),
                "the model separates 'piano', the music has drums",
            ),
        ],
    )
    def test_impossible_choices(self, form: MusdbFormat, choice: MusicChoice, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            find_music(form, choice)

    def test_two_folders(self) -> None:
        with pytest.raises(ConfigError, match="both --musdb and --songs are given, expected one of them"):
            MusicChoice(musdb=Path("a"), songs=Path("b"))


@pytest.mark.parametrize(
    ("sources", "known"), [(MUSDB_SOURCES, True), (("vocals",), True), (("vocals", "rest"), False)]
)
def test_which_models_have_true_stems(sources: tuple[str, ...], known: bool) -> None:
    assert has_stems(replace(LITTLE, sources=sources)) == known


def test_commands_explain_the_options_in_the_same_words() -> None:
    """All but the name of one: --split was --subset in ddtasnet-export from the start."""
    pages = [module._parser().format_help() for module in (export_cli, evaluation_cli)]
    groups = [re.search(r"^music to \w+ on(.*?)\n\n", page, flags=re.DOTALL | re.MULTILINE) for page in pages]
    exporting, evaluating = (group.group(1).replace("--subset SPLIT", "--split SPLIT ") for group in groups)
    assert exporting == evaluating
    assert all(option in exporting for option in ("--musdb", "--songs", "--split", "--tracks", "--excerpt"))
