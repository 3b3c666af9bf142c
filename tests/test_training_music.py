"""What training hears: decoding, random passages, and the loss on them."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.clips import AS_RECORDED, Clip
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError, ConfigError, EdgeError
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training import material
from ddtasnet_edge.training.augment import Batch, _shelf, make_batch
from ddtasnet_edge.training.loss import RESOLUTIONS, separation_loss
from ddtasnet_edge.training.material import Material, Track, gather, musdb_split, song_tracks
from ddtasnet_edge.training.settings import Augmentation, TrainSettings
from tests.songbook import SECONDS, stems, write_song, write_songs

PLAIN = Augmentation(together=1.0, gain=0.0, swap=0.0, invert=0.0, mute=0.0, varispeed=0.0, shelf=0.0)
LENGTH = 8192


def clip(samples: FloatArray, rate: int = 44100) -> Clip:
    return Clip("a", samples.sum(axis=0), samples, rate, "made for a test")


def material_of(*tracks: FloatArray) -> Material:
    coded = tuple(np.rint(track * material.PCM).astype(np.int16) for track in tracks)
    return Material(tuple(map(str, range(len(tracks)))), coded, 44100)


@pytest.fixture(scope="module")
def two_songs() -> Material:
    return material_of(0.3 * stems(1), 0.3 * stems(2))


class TestGathering:
    def test_stems_come_back_as_they_were(self, tmp_path: Path) -> None:
        song = write_song(tmp_path / "songs" / "train" / "train-00000", 3)
        found = gather(song_tracks(tmp_path / "songs", "train", AS_RECORDED), tmp_path / "kept", AS_RECORDED, True)
        decoded = soundfile.read(song / "bass.flac", dtype="float32")[0].T
        assert np.abs(found.read(0, 1, 100, 500) - decoded[:, 100:600]).max() <= 1.0 / 32768
        assert found.seconds == pytest.approx(SECONDS)

    def test_reading_beyond_the_end_gives_zeros(self, two_songs: Material) -> None:
        length = two_songs.tracks[0].shape[-1]
        tail = two_songs.read(0, 1, length - 10, 30)
        assert tail[:, :10].any()
        assert not tail[:, 10:].any()

    def test_music_is_decoded_once(self, tmp_path: Path) -> None:
        reads: list[str] = []

        def read() -> Clip:
            reads.append("read")
            return clip(stems(1))

        for _ in range(2):
            gather([Track("a", read)], tmp_path, AS_RECORDED, True)
        assert reads == ["read"]

    def test_one_corrupt_track_is_skipped_named_and_counted(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        songs = write_songs(tmp_path / "songs")
        (songs / "train" / "train-00001" / "other.flac").write_bytes(b"no music")
        found = gather(song_tracks(songs, "train", AS_RECORDED), tmp_path / "kept", AS_RECORDED, True)
        assert found.names == ("train-00000", "train-00002")
        said = capsys.readouterr().err
        assert "skipped train-00001: " in said
        assert "skipped 1 of 3 tracks: train-00001" in said

    def test_none_readable_is_an_error(self, tmp_path: Path) -> None:
        songs = write_songs(tmp_path / "songs", train=1)
        (songs / "train" / "train-00000" / "drums.flac").unlink()
        with pytest.raises(AudioError, match="none of 1 tracks can be read"):
            gather(song_tracks(songs, "train", AS_RECORDED), tmp_path / "kept", AS_RECORDED, True)

    def test_no_songs_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match=r"no songs in .*train; make some: ddtasnet-songs --out"):
            song_tracks(tmp_path, "train", AS_RECORDED)

    def test_another_rate_and_mono_are_converted_and_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        songs = write_songs(tmp_path / "songs", train=2)
        for source in MUSDB_SOURCES:
            path = songs / "train" / "train-00000" / f"{source}.flac"
            path.unlink()
            soundfile.write(path, np.full((22050, 1), 0.25), 22050)
        found = gather(song_tracks(songs, "train", AS_RECORDED), tmp_path / "kept", AS_RECORDED, True)
        assert found.tracks[0].shape == (4, 2, 44100)
        assert np.allclose(found.read(0, 2, 20000, 100), 0.25, atol=1e-3)
        said = capsys.readouterr().err
        assert "1 of 2 tracks: resampled from 22050 Hz to 44100 Hz" in said
        assert "1 of 2 tracks: mono file: both channels carry the same signal" in said

    def test_stems_with_nan_are_skipped(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        songs = write_songs(tmp_path / "songs", train=2)
        (songs / "train" / "train-00000" / "bass.flac").unlink()
        soundfile.write(songs / "train" / "train-00000" / "bass.wav", np.full((100, 2), np.nan), 44100, subtype="FLOAT")
        found = gather(song_tracks(songs, "train", AS_RECORDED), tmp_path / "kept", AS_RECORDED, True)
        assert found.names == ("train-00001",)
        assert "NaN" in capsys.readouterr().err

    def test_other_music_of_the_same_name_is_decoded_anew(self, tmp_path: Path) -> None:
        """Two folders that share one cache, and one folder in which the songs were made again."""
        kept, places = tmp_path / "kept", [tmp_path / "one", tmp_path / "two"]
        for seed, place in enumerate(places):
            write_song(place / "train" / "song", seed)
        write_song(places[0] / "validation" / "song", 2)
        found = [gather(song_tracks(place, "train", AS_RECORDED), kept, AS_RECORDED, True) for place in places]
        found.append(gather(song_tracks(places[0], "validation", AS_RECORDED), kept, AS_RECORDED, True))
        shutil.rmtree(places[0] / "train" / "song")
        write_song(places[0] / "train" / "song", 3)
        found.append(gather(song_tracks(places[0], "train", AS_RECORDED), kept, AS_RECORDED, True))
        assert len({each.tracks[0].tobytes() for each in found}) == 4
        assert len({each.digest() for each in found}) == 4, "a run must not be resumed on other music"

    def test_a_damaged_copy_is_decoded_anew(self, tmp_path: Path) -> None:
        write_song(tmp_path / "songs" / "train" / "song", 1)
        tracks = song_tracks(tmp_path / "songs", "train", AS_RECORDED)
        whole = gather(tracks, tmp_path / "kept", AS_RECORDED, True).tracks[0].copy()
        (copy,) = (tmp_path / "kept").rglob("*.npy")
        for damage in (copy.read_bytes()[:5000], b""):
            copy.unlink()
            copy.write_bytes(damage)
            assert np.array_equal(gather(tracks, tmp_path / "kept", AS_RECORDED, True).tracks[0], whole)

    def test_stems_of_unequal_length_are_skipped(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        songs = write_songs(tmp_path / "songs", train=2)
        short = songs / "train" / "train-00000" / "vocals.flac"
        soundfile.write(short, np.zeros((1000, 2)), 44100)
        found = gather(song_tracks(songs, "train", AS_RECORDED), tmp_path / "kept", AS_RECORDED, True)
        assert found.names == ("train-00001",)
        assert "'vocals': 1000} samples, expected one length" in capsys.readouterr().err

    def test_a_full_disk_is_one_line_and_leaves_nothing_half(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, *_: object, **__: object) -> None:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", full)
        with pytest.raises(EdgeError, match="No space left on device; free space or choose another place"):
            gather([Track("a", lambda: clip(stems(1)))], tmp_path, AS_RECORDED, True)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_musdb_holds_the_usual_tracks_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ["A - One", "Leaf - Summerghost", "Young Griffo - Pennies"]
        monkeypatch.setattr(material, "musdb_places", lambda *_: dict.fromkeys(names, tmp_path))
        train, validation = musdb_split(tmp_path, AS_RECORDED)
        assert [track.name for track in train] == ["A - One"]
        assert [track.name for track in validation] == names[1:]

    def test_another_collection_holds_every_tenth_track_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [f"{index:02d}" for index in range(21)]
        monkeypatch.setattr(material, "musdb_places", lambda *_: dict.fromkeys(names, tmp_path))
        train, validation = musdb_split(tmp_path, AS_RECORDED)
        assert [track.name for track in validation] == ["00", "10", "20"]
        assert len(train) == 18

    def test_one_track_is_not_enough_to_train_and_validate(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(material, "musdb_places", lambda *_: {"Leaf - Summerghost": tmp_path})
        with pytest.raises(AudioError, match=r"has 1 training track, expected at least 2"):
            musdb_split(tmp_path, AS_RECORDED)


class TestPassages:
    @given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6))
    def test_a_batch_is_its_mix_within_full_scale(self, two_songs: Material, seed: int, index: int) -> None:
        batch = make_batch(two_songs, Augmentation(), seed, index, 2, LENGTH)
        assert batch.stems.shape == (2, 4, 2, LENGTH)
        assert batch.mix.dtype == batch.stems.dtype == np.float32
        assert np.isfinite(batch.stems).all()
        assert np.allclose(batch.mix, batch.stems.sum(axis=1), atol=1e-6)
        assert np.abs(batch.mix).max() <= 1.0 + 1e-5

    def test_a_batch_depends_on_its_number_alone(self, two_songs: Material) -> None:
        def stems_of(index: int) -> FloatArray:
            made: Batch = make_batch(two_songs, Augmentation(), 5, index, 2, LENGTH)
            return made.stems

        later = stems_of(9)
        assert np.array_equal(stems_of(9), later)
        assert not np.array_equal(stems_of(8), later)

    def test_without_augmentation_passages_are_cut_from_the_songs(self, two_songs: Material) -> None:
        for passage in make_batch(two_songs, PLAIN, 0, 0, 6, LENGTH).stems:
            found = [
                np.allclose(passage, track[..., start : start + LENGTH] / material.PCM, atol=1e-6)
                for track in two_songs.tracks
                for start in self._starts(passage, track)
            ]
            assert any(found), "all four stems of one song, from one moment"

    @staticmethod
    def _starts(passage: FloatArray, track: np.ndarray) -> list[int]:
        head = np.rint(passage[2, 0, :8] * material.PCM).astype(np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(track[2, 0], 8)
        return [int(start) for start in np.flatnonzero((windows == head).all(axis=1))]

    def test_remixing_takes_every_stem_from_a_place_of_its_own(self) -> None:
        ramp = np.linspace(0.1, 0.9, 40 * LENGTH, dtype=np.float32)
        # The first sample of a passage tells where it was cut.
        track = np.broadcast_to(ramp, (4, 2, ramp.size))
        remixed = make_batch(material_of(track), dataclasses.replace(PLAIN, together=0.0), 0, 0, 8, 64).stems
        together = make_batch(material_of(track), PLAIN, 0, 0, 8, 64).stems
        assert all(len(set(passage[:, 0, 0].tolist())) == 4 for passage in remixed)
        assert all(len(set(passage[:, 0, 0].tolist())) == 1 for passage in together)

    def test_gain_stays_in_range_and_polarity_and_channels_change(self) -> None:
        constant = np.broadcast_to(np.array([0.1, 0.05], np.float32)[None, :, None], (4, 2, LENGTH))
        how = dataclasses.replace(PLAIN, gain=6.0, swap=0.5, invert=0.5)
        first = make_batch(material_of(constant), how, 0, 0, 16, 64).stems[..., 0].reshape(-1, 2)
        loudest = 20 * np.log10(np.abs(first).max(axis=1) / 0.1)
        assert loudest.min() < -3.0
        assert loudest.max() > 3.0
        assert np.abs(loudest).max() <= 6.01
        assert 0.2 < (first[:, 0] < 0).mean() < 0.8
        assert 0.2 < (np.abs(first[:, 0]) < np.abs(first[:, 1])).mean() < 0.8

    def test_muting_silences_whole_stems(self, two_songs: Material) -> None:
        silent = dataclasses.replace(PLAIN, mute=1.0)
        assert not make_batch(two_songs, silent, 0, 0, 2, LENGTH).stems.any()

    def test_varispeed_changes_the_pitch_of_all_stems_alike(self) -> None:
        time = np.arange(4 * LENGTH) / 44100
        tone = np.broadcast_to(0.2 * np.sin(2 * np.pi * 1000 * time), (4, 2, time.size)).astype(np.float32)
        how = dataclasses.replace(PLAIN, varispeed=1.0, semitones=3.0)
        passages = make_batch(material_of(tone), how, 0, 0, 8, 2 * LENGTH).stems[:, :, 0, :LENGTH]
        peaks = np.abs(np.fft.rfft(passages * np.hanning(LENGTH))).argmax(axis=-1) * 44100 / LENGTH
        assert (peaks == peaks[:, :1]).all()
        assert peaks.min() >= 1000 * 2 ** (-3.2 / 12)
        assert peaks.max() <= 1000 * 2 ** (3.2 / 12)
        assert np.ptp(peaks) > 100.0

    @pytest.mark.parametrize(("side", "bass", "treble"), [(1, 0.0, 6.0), (-1, 6.0, 0.0)])
    def test_a_shelf_has_its_gain_on_its_side_only(self, side: int, bass: float, treble: float) -> None:
        impulse = np.zeros((1, 65536), np.float32)
        impulse[0, 0] = 1.0
        response = 20 * np.log10(np.abs(np.fft.rfft(_shelf(impulse, 1000.0 / 44100, 6.0, side)[0])))
        assert response[1] == pytest.approx(bass, abs=0.05)
        assert response[-2] == pytest.approx(treble, abs=0.05)

    def test_tracks_shorter_than_a_passage_end_in_silence(self) -> None:
        short = material_of(stems(1, 0.05))
        passage = make_batch(short, PLAIN, 0, 0, 1, LENGTH).stems[0]
        assert passage[:, :, : short.tracks[0].shape[-1]].any()
        assert not passage[:, :, short.tracks[0].shape[-1] :].any()


class TestLoss:
    def test_the_stems_themselves_have_none(self) -> None:
        sound = torch.randn(2, 4, 2, LENGTH)
        assert all(separation_loss(sound, sound, 0.5, step) == 0.0 for step in range(3))

    def test_steps_take_the_resolutions_in_turn(self) -> None:
        torch.manual_seed(0)
        sound, other = torch.randn(2, 1, 4, 2, LENGTH)
        losses = [float(separation_loss(sound, other, 1.0, step)) for step in range(2 * len(RESOLUTIONS))]
        assert losses[:3] == losses[3:]
        assert len(set(losses[:3])) == len(RESOLUTIONS)

    def test_without_a_weight_it_is_the_mean_absolute_error(self) -> None:
        sound = torch.randn(1, 4, 2, LENGTH)
        assert separation_loss(sound + 0.25, sound, 0.0, 0) == pytest.approx(0.25, rel=1e-5)

    def test_silence_has_a_finite_gradient(self) -> None:
        estimate = torch.zeros(1, 4, 2, LENGTH, requires_grad=True)
        separation_loss(estimate, torch.zeros(1, 4, 2, LENGTH), 1.0, 0).backward()
        assert estimate.grad is not None
        assert estimate.grad.isfinite().all()

    def test_a_segment_shorter_than_every_resolution(self) -> None:
        sound = torch.randn(1, 4, 2, RESOLUTIONS[0] - 1)
        assert separation_loss(sound + 1.0, sound, 1.0, 0) == pytest.approx(1.0, rel=1e-5)


class TestSettings:
    def test_the_rate_rises_and_falls(self) -> None:
        settings = TrainSettings(steps=1000, warmup=100, learning_rate=0.01, final_rate=0.1)
        rates = [settings.rate_at(step, 0.0) for step in range(1001)]
        assert rates[0] == pytest.approx(0.01 / 100, rel=0.01)
        assert rates[:100] == sorted(rates[:100])
        assert rates[100:] == sorted(rates[100:], reverse=True)
        assert rates[-1] == pytest.approx(0.001)

    def test_minutes_count_seconds(self) -> None:
        settings = TrainSettings(minutes=2.0)
        assert settings.progress(10**6, 60.0) == 0.5
        assert settings.progress(0, 1000.0) == 1.0

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({}, "either steps or minutes"),
            ({"steps": 1, "minutes": 1.0}, "either steps or minutes"),
            ({"minutes": 0.0}, "minutes is 0.0: expected more than 0"),
            ({"minutes": math.inf}, "minutes is inf"),
            ({"steps": 0}, "steps is 0: expected at least 1"),
            ({"steps": 1, "batch": 0}, "batch is 0"),
            ({"steps": 1, "learning_rate": -1.0}, r"learning_rate is -1.0: .*try 0.001"),
            ({"steps": 1, "precision": "float16"}, "precision is 'float16': expected one of float32, bfloat16"),
        ],
    )
    def test_unusable_settings(self, changes: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            TrainSettings(**changes)  # type: ignore[arg-type]
