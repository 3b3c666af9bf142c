"""Music with known stems: the default clip, both MUSDB18 layouts, folders of songs."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from ddtasnet_edge import clips
from ddtasnet_edge.clips import MusdbFormat, default_clip, folder_clips, hash_clips, musdb_clips
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.errors import AudioError, ConfigError, MissingDependencyError
from ddtasnet_edge.metrics import snr

RATE = 44100
PARTS = ("mixture", *MUSDB_SOURCES)


def tones(length: int) -> dict[str, np.ndarray]:
    """Four stems, a tone each, and their sum: name -> float32 [2, length]."""
    time = np.arange(length) / RATE
    stems = {
        name: np.stack([gain * np.sin(2 * np.pi * pitch * time) for gain in (0.1, 0.2)]).astype(np.float32)
        for name, pitch in zip(MUSDB_SOURCES, (110.0, 220.0, 550.0, 990.0), strict=True)
    }
    return {"mixture": sum(stems.values()), **stems}


def write_hq(folder: Path, parts: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, samples in parts.items():
        soundfile.write(folder / f"{name}.wav", samples.T, RATE, subtype="FLOAT")


def write_stem_mp4(path: Path, parts: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=256000) for _ in PARTS]
        for start in range(0, parts["mixture"].shape[1], 1024):
            for name, stream in zip(PARTS, streams, strict=True):
                block = np.ascontiguousarray(parts[name][:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def hq(tmp_path_factory) -> Path:
    """A MUSDB18-HQ folder with two tracks for training and one for testing."""
    root = tmp_path_factory.mktemp("hq")
    for name, length in (("train/B - Two", 2 * RATE), ("train/A - One", 1001), ("test/C - Three", 3 * RATE)):
        write_hq(root / name, tones(length))
    return root


class TestDefaultClip:
    def test_it_is_real_music_with_its_stems(self):
        clip = default_clip()
        assert clip.name == "The Easton Ellises - Falcon 69"
        assert "CC BY-NC-SA" in clip.note
        assert clip.mix.shape == (2, 268288)
        assert clip.stems.shape == (4, 2, 268288)
        assert clip.mix.dtype == clip.stems.dtype == np.float32

    def test_streams_line_up_sample_for_sample(self):
        clip = default_clip()
        # The first second holds the coder's run-in where the excerpt was cut; behind it the lossy streams add up to
        # the lossy mix with 22 dB, and one sample aside with 14 dB.
        body = slice(RATE, -RATE)
        total = clip.stems.sum(axis=0)
        by_shift = {shift: snr(clip.mix[:, body], np.roll(total, shift, axis=1)[:, body]) for shift in range(-3, 4)}
        assert max(by_shift, key=by_shift.get) == 0
        assert by_shift[0] > 20.0

    def test_sources_come_in_the_order_of_the_model(self):
        clip = default_clip()
        turned = default_clip(MusdbFormat(sources=("vocals", "drums")))
        np.testing.assert_array_equal(turned.stems, clip.stems[[3, 0]])

    def test_it_fits_the_model(self):
        clip = default_clip(MusdbFormat(sample_rate=22050, channels=1, sources=("bass",)))
        assert clip.mix.shape == (1, 134144)
        assert clip.stems.shape == (1, 1, 134144)
        assert clip.sample_rate == 22050

    def test_a_stem_that_musdb_does_not_have(self):
        guitar = MusdbFormat(sources=("drums", "basss"))
        with pytest.raises(ConfigError, match=r"no stem 'basss'.*did you mean 'bass'"):
            default_clip(guitar)
        assert default_clip(guitar, with_stems=False).stems is None

    def test_without_stempeg(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'ddtasnet-edge\[eval\]'"):
            default_clip()


class TestMusdb:
    def test_hq_layout(self, hq):
        first, second = musdb_clips(hq, subset="train")
        assert (first.name, second.name) == ("A - One", "B - Two")
        parts = tones(2 * RATE)
        np.testing.assert_array_equal(second.mix, parts["mixture"])
        np.testing.assert_array_equal(second.stems, [parts[name] for name in MUSDB_SOURCES])

    def test_stem_mp4_layout(self, tmp_path):
        parts = tones(2 * RATE)
        write_stem_mp4(tmp_path / "test" / "A - One.stem.mp4", parts)
        (clip,) = musdb_clips(tmp_path)
        assert clip.name == "A - One"
        for name, stem in zip(MUSDB_SOURCES, clip.stems, strict=True):
            # AAC keeps these tones with 60 dB, but for its run-in and run-out; any other stem is at -3 dB.
            middle = slice(4096, 2 * RATE - 4096)
            assert snr(parts[name][:, middle], stem[:, middle]) > 30.0

    def test_tracks_of_both_layouts_in_the_order_of_their_names(self, tmp_path):
        for name in "FBDAEC":
            write_hq(tmp_path / "test" / name, {"mixture": tones(10)["mixture"]})
        write_stem_mp4(tmp_path / "test" / "BB.stem.mp4", tones(RATE))
        found = [clip.name for clip in musdb_clips(tmp_path, with_stems=False)]
        assert found == ["A", "B", "BB", "C", "D", "E", "F"]

    def test_chosen_tracks_in_the_order_given(self, hq):
        names = ["B - Two", "A - One"]
        assert [clip.name for clip in musdb_clips(hq, subset="train", tracks=names)] == names

    def test_excerpt_is_the_centre(self, hq):
        (clip,) = musdb_clips(hq, excerpt=0.5)
        begin = (3 * RATE - RATE // 2) // 2
        parts = tones(3 * RATE)
        np.testing.assert_array_equal(clip.mix, parts["mixture"][:, begin : begin + RATE // 2])
        np.testing.assert_array_equal(clip.stems[3], parts["vocals"][:, begin : begin + RATE // 2])

    def test_excerpt_longer_than_the_track_is_the_track(self, hq):
        (clip,) = musdb_clips(hq, excerpt=99.0)
        assert clip.mix.shape == (2, 3 * RATE)

    def test_without_stems(self, hq):
        (clip,) = musdb_clips(hq, MusdbFormat(sources=("kazoo",)), with_stems=False)
        assert clip.stems is None

    def test_one_track_is_read_at_a_time(self, hq, monkeypatch):
        read = []
        original = clips.read_audio
        monkeypatch.setattr(clips, "read_audio", lambda path, *a, **k: read.append(path) or original(path, *a, **k))
        stream = musdb_clips(hq, subset="train")
        assert read == []
        next(stream)
        assert {path.parent.name for path in read} == {"A - One"}

    def test_no_root(self, tmp_path):
        with pytest.raises(AudioError, match=r"no folder .*nowhere/test; a MUSDB18 root holds train and test"):
            musdb_clips(tmp_path / "nowhere")

    def test_no_tracks(self, tmp_path):
        (tmp_path / "test").mkdir()
        with pytest.raises(AudioError, match="holds no tracks"):
            musdb_clips(tmp_path)

    def test_unknown_subset(self, hq):
        with pytest.raises(ConfigError, match=r"unknown subset 'tests'.*did you mean 'test'"):
            musdb_clips(hq, subset="tests")

    def test_unknown_track(self, hq):
        with pytest.raises(AudioError, match=r"no track 'B - Too' among 2 .*; did you mean 'B - Two'"):
            musdb_clips(hq, subset="train", tracks=["A - One", "B - Too"])

    def test_unknown_source(self, hq):
        with pytest.raises(ConfigError, match="MUSDB18 has no stem 'kazoo'"):
            musdb_clips(hq, MusdbFormat(sources=("kazoo",)))

    @pytest.mark.parametrize("excerpt", [0.0, -1.0, float("nan")])
    def test_impossible_excerpt(self, hq, excerpt):
        with pytest.raises(ConfigError, match="expected more than 0"):
            musdb_clips(hq, excerpt=excerpt)

    def test_missing_stem_file(self, tmp_path):
        parts = tones(100)
        del parts["bass"]
        write_hq(tmp_path / "test" / "A", parts)
        with pytest.raises(AudioError, match=r"track 'A' has no bass\.wav"):
            list(musdb_clips(tmp_path))

    @pytest.mark.parametrize("length", [99, 101])
    def test_stems_of_unequal_length(self, tmp_path, length):
        write_hq(tmp_path / "test" / "A", {**tones(100), "other": np.zeros((2, length), dtype=np.float32)})
        with pytest.raises(AudioError, match=f"other has {length} samples, mixture has 100"):
            list(musdb_clips(tmp_path))

    def test_file_with_too_few_streams(self, tmp_path):
        path = tmp_path / "test" / "A.stem.mp4"
        write_stem_mp4(path, tones(RATE))
        with av.open(str(path)) as whole, av.open(str(tmp_path / "one.mp4"), "w") as single:
            stream = single.add_stream_from_template(whole.streams.audio[0])
            for packet in whole.demux(whole.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    single.mux(packet)
        (tmp_path / "one.mp4").replace(path)
        with pytest.raises(AudioError, match="has 1 audio streams, at least 2 expected"):
            list(musdb_clips(tmp_path))


class TestFolder:
    def test_songs_in_the_order_of_their_names(self, tmp_path):
        samples = tones(1000)["bass"]
        for name in ("b.wav", "a.FLAC", "c.wav"):
            soundfile.write(tmp_path / name, samples.T, RATE)
        (tmp_path / "cover.jpg").write_bytes(b"not music")
        (tmp_path / "more.wav").mkdir()
        found = list(folder_clips(tmp_path))
        assert [clip.name for clip in found] == ["a.FLAC", "b.wav", "c.wav"]
        assert all(clip.stems is None and clip.mix.shape == (2, 1000) for clip in found)

    def test_excerpt(self, tmp_path):
        samples = tones(1000)["bass"]
        soundfile.write(tmp_path / "a.wav", samples.T, RATE, subtype="FLOAT")
        (clip,) = folder_clips(tmp_path, excerpt=100 / RATE)
        np.testing.assert_array_equal(clip.mix, samples[:, 450:550])

    def test_a_musdb_root_gives_the_mixes_of_its_training_set(self, hq):
        found = list(folder_clips(hq, MusdbFormat(sources=("kazoo",))))
        assert [clip.name for clip in found] == ["A - One", "B - Two"]
        assert all(clip.stems is None for clip in found)
        np.testing.assert_array_equal(found[0].mix, tones(1001)["mixture"])

    def test_a_musdb_root_without_its_training_set(self, tmp_path):
        write_hq(tmp_path / "test" / "A", tones(100))
        with pytest.raises(AudioError, match=r"no folder .*train"):
            folder_clips(tmp_path)

    def test_nothing_that_is_audio(self, tmp_path):
        with pytest.raises(AudioError, match="found nothing"):
            folder_clips(tmp_path)
        (tmp_path / "cover.jpg").touch()
        with pytest.raises(AudioError, match=r"found cover\.jpg; expected \.wav, "):
            folder_clips(tmp_path)

    def test_not_a_folder(self, tmp_path):
        (tmp_path / "file").touch()
        for path in (tmp_path / "nowhere", tmp_path / "file"):
            with pytest.raises(AudioError, match="cannot read folder"):
                folder_clips(path)

    def test_a_damaged_song_is_not_skipped(self, tmp_path):
        (tmp_path / "a.wav").write_text("words")
        with pytest.raises(AudioError, match=r"a\.wav"):
            list(folder_clips(tmp_path))


class TestHash:
    def test_it_depends_on_every_part_and_on_nothing_else(self):
        parts = tones(100)
        clip = clips.Clip("a", parts["mixture"], np.stack([parts["bass"], parts["drums"]]), RATE, "note")
        louder = clip.mix.copy()
        louder[1, 99] += 1e-6
        changed = [
            [],
            [clip, clip],
            [replace(clip, name="b")],
            [replace(clip, sample_rate=48000)],
            [replace(clip, stems=None)],
            [replace(clip, mix=louder)],
            [replace(clip, mix=clip.mix.reshape(1, 200))],
            [replace(clip, stems=clip.stems[::-1])],
        ]
        same = hash_clips([replace(clip, mix=np.asfortranarray(clip.mix), note="elsewhere")])
        digests = [hash_clips([clip]), *map(hash_clips, changed)]
        assert same == digests[0]
        assert len(set(digests)) == len(digests)
        assert all(len(digest) == 64 for digest in digests)
