"""The music that recipes are calibrated on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddtasnet_edge.clips import AS_RECORDED, Clip, MusdbFormat, default_clip, hash_clips
from ddtasnet_edge.compiler import describe_calibration
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.quantize import FLOAT32, INT8, quantizer_for
from ddtasnet_edge.quantize.calibration import PARTS, SECONDS, SONGS, calibration_clips
from ddtasnet_edge.quantize.calibration_study import first_seconds, lengths, rows, study_calibration
from ddtasnet_edge.quantize.listen import Listener
from tests.bundles import RATE, write_wav
from tests.small import noise, small_config


def music_clip(seconds: float, gain: float = 0.2) -> Clip:
    return Clip("noise", gain * noise(2, round(seconds * RATE)).numpy(), None, RATE, "noise")


class TestCalibrationClips:
    def test_the_default_set_is_real_music_and_the_same_every_time(self) -> None:
        first, second = calibration_clips(AS_RECORDED), calibration_clips(AS_RECORDED)
        assert describe_calibration(first) == describe_calibration(second)
        song, *remixes = first
        np.testing.assert_array_equal(song.mix, default_clip().mix)
        assert len(remixes) == PARTS - 1
        for index, remix in enumerate(remixes):
            assert remix.mix.dtype == np.float32
            assert remix.mix.shape == song.mix.shape
            assert not any(np.allclose(remix.mix, other.mix, atol=0.01) for other in first[: index + 1])
        assert describe_calibration(first)["seconds"] > 6.0 * PARTS

    def test_it_fits_models_of_other_channels_and_sources(self) -> None:
        form = MusdbFormat(RATE, channels=1, sources=("voice", "rest"))
        assert {clip.mix.shape[0] for clip in calibration_clips(form)} == {1}

    def test_a_folder_gives_a_seeded_choice(self, tmp_path: Path) -> None:
        for index in range(SONGS + 3):
            write_wav(tmp_path / f"{index:02}.wav", music_clip(SECONDS + 0.5, 0.01 * (index + 1)).mix)
        first, second = calibration_clips(AS_RECORDED, tmp_path), calibration_clips(AS_RECORDED, tmp_path)
        assert hash_clips(first) == hash_clips(second)
        assert len({clip.name for clip in first}) == SONGS
        assert [clip.name for clip in first] != [f"{index:02}.wav" for index in range(SONGS)], "not the first ones"
        assert {clip.mix.shape[1] for clip in first} == {round(SECONDS * RATE)}

    def test_another_song_gives_another_hash(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", music_clip(1.5).mix)
        before = describe_calibration(calibration_clips(AS_RECORDED, tmp_path))
        write_wav(tmp_path / "a.wav", music_clip(1.5, 0.3).mix)
        after = describe_calibration(calibration_clips(AS_RECORDED, tmp_path))
        assert before["clips"] == after["clips"]
        assert before["sha256"] != after["sha256"]

    def test_too_little_music_is_refused(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", music_clip(0.5).mix)
        with pytest.raises(AudioError, match=r"no calibration music in .*: a.wav lasts 0\.50 s, expected at least 1 s"):
            calibration_clips(AS_RECORDED, tmp_path)

    def test_silence_is_refused(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", np.zeros((2, 2 * RATE), np.float32))
        with pytest.raises(AudioError, match=r"a.wav is silent, its peak is 0\.0e\+00; give songs"):
            calibration_clips(AS_RECORDED, tmp_path)

    def test_what_says_nothing_is_named_and_left_out(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "good.wav", music_clip(1.5).mix)
        write_wav(tmp_path / "short.wav", music_clip(0.5).mix)
        write_wav(tmp_path / "silent.wav", np.zeros((2, 2 * RATE), np.float32))
        write_wav(tmp_path / "loud.wav", np.clip(music_clip(1.5, 5.0).mix, -1.0, 1.0))
        remarks: list[str] = []
        found = calibration_clips(AS_RECORDED, tmp_path, remarks.append)
        assert [clip.name for clip in found] == ["good.wav", "loud.wav"]
        said = "\n".join(remarks)
        assert "calibration leaves out short.wav: it lasts 0.50 s, expected at least 1 s" in said
        assert "calibration leaves out silent.wav: it is silent" in said
        assert "calibration hears clipping in loud.wav" in said
        assert "good.wav" not in said

    def test_music_of_another_rate_is_resampled(self, tmp_path: Path) -> None:
        import soundfile

        soundfile.write(tmp_path / "a.wav", music_clip(2.0).mix.T[: 2 * 22050], 22050)
        (clip,) = calibration_clips(AS_RECORDED, tmp_path)
        assert clip.sample_rate == RATE
        assert clip.mix.shape[1] == 2 * RATE

    def test_more_parts_go_on_where_fewer_end(self) -> None:
        few, many = calibration_clips(AS_RECORDED, parts=2), calibration_clips(AS_RECORDED, parts=3)
        assert (len(few), len(many)) == (2, 3)
        assert hash_clips(few) == hash_clips(many[:2])


class TestCalibrationStudy:
    music = (music_clip(1.5), music_clip(2.0, 0.4))

    def test_lengths_double_up_to_all_of_it(self) -> None:
        assert lengths(self.music) == [1.0, 2.0, 3.5]

    def test_the_first_seconds_are_of_as_many_clips_as_it_takes(self) -> None:
        assert [clip.mix.shape[1] for clip in first_seconds(self.music, 1.0)] == [RATE]
        cut = first_seconds(self.music, 2.0)
        assert [clip.mix.shape[1] for clip in cut] == [round(1.5 * RATE), round(0.5 * RATE)]
        np.testing.assert_array_equal(cut[1].mix, self.music[1].mix[:, : round(0.5 * RATE)])

    def test_ranges_that_have_seen_too_little_clip(self) -> None:
        model = create_model(small_config(sample_rate=1000)).eval()
        loud, quiet = (
            Clip("noise", gain * noise(2, 1500).numpy(), gain * noise(4, 2, 1500).numpy(), 1000, "noise")
            for gain in (0.5, 0.001)
        )
        heard: list[str] = []
        listener, arithmetic = Listener(model, [loud]), quantizer_for("onnx").ARITHMETIC
        found = study_calibration(model, listener, arithmetic, [INT8, FLOAT32], [quiet, loud], heard.append)
        assert [(each.seconds, each.recipe) for each in found] == [
            (seconds, name) for seconds in (1.0, 2.0, 3.0) for name in ("static_wi8_ai8", "float32")
        ]
        assert heard[0] == "calibrating on 1 s"
        static, plain = found[::2], found[1::2]
        assert static[0].snr_db + 10.0 < static[2].snr_db < 80.0
        assert all(each.snr_db == np.inf and each.worst_dsdr == 0.0 for each in plain)
        assert rows(found)[0][:2] == ("1", "static_wi8_ai8")
