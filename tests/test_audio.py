"""Audio in: what is decoded, matched and refused. Audio out: whole stems or none."""

from __future__ import annotations

import errno
import resource
import socket
import sys
import tracemalloc
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.subtitles.stream  # PyAV imports this late, and cannot where a test hides it
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge import audio_write
from ddtasnet_edge.audio_read import open_audio, read_audio
from ddtasnet_edge.audio_write import writing_stems
from ddtasnet_edge.errors import AudioError, EdgeError, MissingDependencyError

RATE = 44100
#: What both decoders read; m4a is for PyAV alone, ogg is cut without a trace there.
BOTH = ("wav", "flac", "mp3")
DECODED = [*(("av", kind) for kind in (*BOTH, "m4a")), *(("soundfile", kind) for kind in (*BOTH, "ogg"))]


@pytest.fixture(params=["av", "soundfile"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What decodes; libsndfile where PyAV cannot be imported."""
    name: str = request.param
    if name == "soundfile":
        monkeypatch.setitem(sys.modules, "av", None)
    return name


def decoded(*kinds: str) -> pytest.MarkDecorator:
    """Run a test for these kinds of files with each decoder that reads them."""
    chosen = [pair for pair in DECODED if pair[1] in kinds]
    return pytest.mark.parametrize(("decoder", "kind"), chosen, indirect=["decoder"])


def noise(samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Noise below about 3 kHz, so that a lossy codec keeps it, peaking near 0.5: float32 [channels, samples]."""
    white = np.random.default_rng(seed).standard_normal((channels, samples))
    smooth = np.stack([np.convolve(row, np.hanning(24), "same") for row in white])
    return (0.5 * smooth / np.abs(smooth).max()).astype(np.float32)


def encode(path: Path, codec: str, samples: np.ndarray, rate: int = RATE) -> Path:
    """Encode float32 [channels, n] at 256 kbit/s with PyAV."""
    layout = "stereo" if len(samples) == 2 else "mono"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 256000
        for start in range(0, samples.shape[1], 1024):
            block = np.ascontiguousarray(samples[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return path


def song(folder: Path, kind: str, samples: np.ndarray) -> Path:
    """The same music as wav, flac, ogg, mp3 or m4a."""
    path = folder / f"song.{kind}"
    if kind in ("mp3", "m4a"):
        return encode(path, {"mp3": "libmp3lame", "m4a": "aac"}[kind], samples)
    return write(path, samples, subtype={"ogg": "VORBIS"}.get(kind, "PCM_24"))


def refusal(path: Path, channels: int = 2) -> str:
    """The one line a file is refused with, at the start or while it is read."""
    with pytest.raises(EdgeError) as caught:
        read_audio(path, RATE, channels)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.usefixtures("decoder")
class TestDecoding:
    @pytest.mark.parametrize(
        ("subtype", "dtype", "full_scale"),
        [("PCM_16", np.int16, 2**15), ("PCM_24", np.int32, 2**31), ("PCM_32", np.int32, 2**31)],
    )
    def test_integers_are_scaled_by_full_scale(self, tmp_path, subtype, dtype, full_scale):
        limits = np.iinfo(dtype)
        values = np.array([[limits.min, -(2**10), 0], [0, 2**10, 2 ** (limits.bits - 2)]], dtype=dtype)
        read = read_audio(write(tmp_path / "a.wav", values, subtype=subtype), RATE, 2)
        expected = values.astype(np.float64) / full_scale
        # A 24-bit file drops the lowest 8 of 32 bits.
        np.testing.assert_allclose(read, expected, rtol=0.0, atol=2.0**-23 if subtype == "PCM_24" else 0.0)
        assert read.dtype == np.float32

    def test_eight_bits_are_unsigned(self, tmp_path):
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setparams((1, 1, RATE, 3, "NONE", ""))
            file.writeframes(bytes([0, 128, 192]))
        np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", RATE, 1), [[-1.0, 0.0, 0.5]])

    @pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
    def test_floats_are_kept_beyond_full_scale(self, tmp_path, subtype):
        samples = 3.0 * noise(5000)
        np.testing.assert_array_equal(read_audio(write(tmp_path / "a.wav", samples, subtype=subtype), RATE, 2), samples)

    def test_flac(self, tmp_path):
        samples = noise(50000)
        # Half a step of 24 bits, and the writer scales by 2^23 - 1.
        np.testing.assert_allclose(
            read_audio(song(tmp_path, "flac", samples), RATE, 2), samples, rtol=0.0, atol=2.0**-22
        )

    @decoded("mp3", "m4a")
    def test_lossy_codecs_keep_samples_in_place(self, tmp_path, kind):
        samples = noise(2 * RATE)
        read = read_audio(song(tmp_path, kind, samples), RATE, 2)
        # An encoder pads its last frame; mp3 says by how much, PyAV's m4a does not.
        assert 0 <= read.shape[1] - samples.shape[1] <= 1024

        def snr(shift: int) -> float:
            error = np.roll(read[:, : samples.shape[1]], shift, axis=1) - samples
            return 10.0 * float(np.log10(np.square(samples).sum() / np.square(error).sum()))

        # 35 dB measured; one sample off this noise has 15 dB.
        assert snr(0) > 25.0 > max(snr(-1), snr(1))

    def test_tags_that_are_not_utf8_do_no_harm(self, tmp_path):
        path, samples = tmp_path / "a.wav", noise(100)
        with soundfile.SoundFile(path, "w", RATE, 2, subtype="FLOAT") as file:
            file.title = "cafe"
            file.write(samples.T)
        path.write_bytes(path.read_bytes().replace(b"cafe", b"caf\xe9"))
        np.testing.assert_array_equal(read_audio(path, RATE, 2), samples)

    def test_what_follows_the_last_frame_of_an_mp3_is_ignored(self, tmp_path):
        path = song(tmp_path, "mp3", noise(RATE))
        path.write_bytes(path.read_bytes() + b"APETAGEX" + np.random.default_rng(1).bytes(2000))
        assert read_audio(path, RATE, 2).shape[1] >= RATE

    @pytest.mark.parametrize("name", ["AC:DC - live.wav", "-i.wav", "100%d.wav", "http:song.wav"])
    def test_file_names_are_only_names(self, tmp_path, monkeypatch, name):
        samples = noise(100)
        write(tmp_path / name, samples)
        monkeypatch.chdir(tmp_path)
        np.testing.assert_array_equal(read_audio(name, RATE, 2), samples)

    def test_a_playlist_fetches_nothing(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            path = tmp_path / "song.m3u8"
            path.write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{server.getsockname()[1]}/a.mp3\n#EXT-X-ENDLIST\n")
            refusal(path)
            with pytest.raises(BlockingIOError):
                server.accept()


@pytest.mark.usefixtures("decoder")
class TestMatching:
    def test_mono_is_mixed_up_and_says_so(self, tmp_path):
        samples = noise(1000, channels=1)
        source = open_audio(write(tmp_path / "a.wav", samples), RATE, 2)
        assert source.notes == ("mono file: both channels carry the same signal",)
        np.testing.assert_array_equal(np.concatenate(list(source), axis=1), np.repeat(samples, 2, axis=0))

    def test_stereo_is_averaged_for_a_mono_model_and_says_so(self, tmp_path):
        samples = noise(1000)
        source = open_audio(write(tmp_path / "a.wav", samples), RATE, 1)
        assert source.notes == ("stereo file: the model is mono, both channels are averaged",)
        np.testing.assert_array_equal(next(iter(source)), samples.mean(axis=0, keepdims=True))

    def test_a_file_that_fits_has_no_notes(self, tmp_path):
        assert open_audio(write(tmp_path / "a.wav", noise(10)), RATE, 2).notes == ()

    @pytest.mark.parametrize(("channels", "wanted"), [(7, 2), (2, 4), (3, 1)])
    def test_other_channel_counts_are_refused(self, tmp_path, channels, wanted):
        message = refusal(write(tmp_path / "a.wav", noise(10, channels)), wanted)
        assert f"has {channels} channels, the model takes {wanted}" in message

    @pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
    @pytest.mark.parametrize("length", [40, 12345, 100000])
    def test_resampled_length(self, tmp_path, rate, length):
        source = open_audio(write(tmp_path / "a.wav", noise(length), rate), RATE, 2)
        assert source.notes == (f"resampled from {rate} Hz to {RATE} Hz",)
        total = sum(block.shape[1] for block in source)
        assert abs(total - length * RATE / rate) <= 0.5

    def test_resampling_keeps_a_tone_in_place(self, tmp_path):
        def tone(rate: int, seconds: float) -> np.ndarray:
            return 0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(round(rate * seconds)) / rate)[None]

        read = read_audio(write(tmp_path / "a.wav", tone(192000, 2.0), 192000), RATE, 1)
        middle = slice(RATE // 10, -RATE // 10)  # the filter rings where the tone starts and ends
        # soxr calls HQ 20 bits: 1e-6 of full scale.
        np.testing.assert_allclose(read[:, middle], tone(RATE, 2.0)[:, middle], rtol=0.0, atol=1e-6)

    def test_blocks_of_one_second_make_up_the_file(self, tmp_path):
        path = write(tmp_path / "a.wav", noise(5 * 48000 + 7), 48000)
        blocks = list(open_audio(path, RATE, 2))
        assert [block.shape[1] for block in blocks[:-1]] == [RATE] * (len(blocks) - 1)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), read_audio(path, RATE, 2))

    def test_resampling_does_not_depend_on_the_frames_of_the_codec(self, tmp_path):
        samples = (2**15 * noise(100000)).astype(np.int16)
        wav, flac = (write(tmp_path / name, samples, 48000, "PCM_16") for name in ("a.wav", "a.flac"))
        np.testing.assert_array_equal(read_audio(wav, RATE, 2), read_audio(flac, RATE, 2))

    @given(start=st.integers(0, 2999), length=st.integers(1, 4000))
    def test_a_window_is_a_slice_of_the_whole(self, tmp_path_factory, start, length):
        path = tmp_path_factory.getbasetemp() / "window.wav"
        if not path.exists():
            write(path, noise(3000), rate=1000)
        window = read_audio(path, 1000, 2, start=start / 1000, seconds=length / 1000)
        np.testing.assert_array_equal(window, read_audio(path, 1000, 2)[:, start : start + length])

    def test_memory_does_not_grow_with_the_song(self, tmp_path):
        path = write(tmp_path / "a.wav", np.tile(noise(RATE), 60), subtype="PCM_16")
        tracemalloc.start()
        seconds = sum(block.shape[1] for block in open_audio(path, RATE, 2)) // RATE
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds == 60
        # The song is 21 MB as float32; four blocks of a second, held and joined, are 1.4 MB.
        assert peak < 2e6


@pytest.mark.usefixtures("decoder")
class TestBadInput:
    def test_missing_file(self, tmp_path):
        assert "No such file" in refusal(tmp_path / "nothing.wav")

    def test_folder(self, tmp_path):
        assert "directory" in refusal(tmp_path)

    def test_text_named_wav(self, tmp_path):
        path = tmp_path / "text.wav"
        path.write_text("these are words, not samples\n" * 100)
        assert "expected audio" in refusal(path)

    def test_empty_file(self, tmp_path):
        path = tmp_path / "empty.wav"
        path.touch()
        assert "expected audio" in refusal(path)

    @pytest.mark.parametrize("decoder", ["av"], indirect=True)
    def test_video_without_sound(self, tmp_path):
        path = tmp_path / "silent.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8))))
            container.mux(stream.encode(None))
        assert "has 0 audio streams" in refusal(path)

    def test_stream_that_is_not_there(self, tmp_path):
        path = write(tmp_path / "a.wav", noise(10))
        with pytest.raises(AudioError, match="has 1 audio streams, at least 5 expected"):
            open_audio(path, RATE, 2, stream=4)

    def test_no_samples(self, tmp_path):
        assert "no audio samples" in refusal(write(tmp_path / "a.wav", noise(1)[:, :0]))

    @pytest.mark.parametrize("rate", [8000, 44100, 48000])
    def test_one_sample_is_enough(self, tmp_path, rate):
        read = read_audio(write(tmp_path / "a.wav", np.full((2, 1), 0.25), rate), RATE, 2)
        assert read.shape == (2, round(RATE / rate))
        assert np.isfinite(read).all()

    def test_less_than_one_sample_at_the_rate_of_the_model(self, tmp_path):
        assert "shorter than one sample" in refusal(write(tmp_path / "a.wav", np.full((2, 1), 0.25), 192000))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    def test_not_finite(self, tmp_path, value):
        samples = noise(2 * RATE).astype(np.float64)
        samples[1, RATE + RATE // 2] = value
        assert "NaN or infinity at 1.500 s" in refusal(write(tmp_path / "a.wav", samples, subtype="DOUBLE"))

    @decoded("wav", "flac", "mp3", "m4a", "ogg")
    @pytest.mark.parametrize("kept", [0.3, 0.9])
    def test_cut_short(self, tmp_path, kind, kept):
        path = song(tmp_path, kind, noise(4 * RATE))
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data))])
        refusal(path)

    def test_wav_without_its_last_samples(self, tmp_path):
        path = write(tmp_path / "a.wav", noise(1000))
        data = path.read_bytes()
        path.write_bytes(data[:-16])
        assert f"has {len(data) - 16} bytes, declares {len(data)}" in refusal(path)

    def test_wav_that_counts_its_first_eight_bytes(self, tmp_path):
        samples = noise(1000)
        path = write(tmp_path / "a.wav", samples)
        data = bytearray(path.read_bytes())
        data[4:8] = len(data).to_bytes(4, "little")
        path.write_bytes(data)
        np.testing.assert_array_equal(read_audio(path, RATE, 2), samples)

    @decoded("flac", "mp3", "m4a", "ogg")
    def test_damaged_in_the_middle(self, tmp_path, kind):
        path = song(tmp_path, kind, noise(4 * RATE))
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4000] = np.random.default_rng(1).bytes(4000)
        path.write_bytes(data)
        assert "copy it again" in refusal(path)

    @pytest.mark.parametrize("decoder", ["soundfile"], indirect=True)
    def test_ogg_without_one_of_its_pages(self, tmp_path):
        path = song(tmp_path, "ogg", noise(4 * RATE))
        data = path.read_bytes()
        starts = [index for index in range(len(data)) if data.startswith(b"OggS", index)]
        middle = len(starts) // 2
        path.write_bytes(data[: starts[middle]] + data[starts[middle + 1] :])
        assert f"is damaged or cut at byte {starts[middle]} of {path.stat().st_size}; copy it again" in refusal(path)

    def test_wav_from_a_pipe_declares_no_size(self, tmp_path):
        samples = noise(1000)
        path = write(tmp_path / "a.wav", samples)
        data = bytearray(path.read_bytes())
        position = data.index(b"data") + 4
        data[4:8] = data[position : position + 4] = b"\xff" * 4
        path.write_bytes(data)
        np.testing.assert_array_equal(read_audio(path, RATE, 2), samples)

    @pytest.mark.parametrize("decoder", ["av"], indirect=True)
    def test_format_that_changes_on_the_way(self, tmp_path):
        first = encode(tmp_path / "stereo.aac", "aac", noise(RATE))
        second = encode(tmp_path / "mono.aac", "aac", noise(22050, channels=1), 22050)
        first.write_bytes(first.read_bytes() + second.read_bytes())
        assert "changes from 44100 Hz, 2 channels to 22050 Hz, 1 channels" in refusal(first)

    def test_window_behind_the_end(self, tmp_path):
        path = write(tmp_path / "a.wav", noise(RATE))
        with pytest.raises(AudioError, match=r"ends at 1\.00 s; nothing to read from 2\.00 s on"):
            read_audio(path, RATE, 2, start=2.0)


def mp3_frames(path: Path) -> list[bytes]:
    """The frames of an mp3 that hold music, as PyAV finds them: without tag, and without the one with the length."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def bare_mp3(folder: Path, samples: np.ndarray) -> Path:
    """An mp3 that does not declare its length."""
    path = song(folder, "mp3", samples)
    path.write_bytes(b"".join(mp3_frames(path)))
    return path


class TestWithoutPyAV:
    """What differs on a device that has the base install."""

    @pytest.fixture(autouse=True)
    def without_av(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)

    @pytest.mark.parametrize("kind", ["mp3", "ogg"])
    def test_it_decodes_what_pyav_decodes(self, tmp_path, monkeypatch, kind):
        path = song(tmp_path, kind, noise(3 * RATE))
        ours = read_audio(path, RATE, 2)
        monkeypatch.delitem(sys.modules, "av")
        theirs = read_audio(path, RATE, 2)
        # Two decoders in float32: 6e-7 was seen.
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-5)

    def test_an_mp3_that_declares_no_length(self, tmp_path, monkeypatch):
        path = bare_mp3(tmp_path, noise(3 * RATE))
        ours = read_audio(path, RATE, 2)
        monkeypatch.delitem(sys.modules, "av")
        np.testing.assert_allclose(ours, read_audio(path, RATE, 2), rtol=0.0, atol=1e-5)

    def test_damage_in_an_mp3_that_declares_no_length(self, tmp_path):
        path = bare_mp3(tmp_path, noise(4 * RATE))
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 1000] = bytes(1000)
        path.write_bytes(data)
        assert "is damaged at 2.0" in refusal(path)

    def test_an_mp3_whose_length_is_guessed_too_short_is_not_cut(self, tmp_path):
        # libmpg123 guesses from the size of the first frames; behind these come some of an eighth of their size.
        large, small = song(tmp_path, "mp3", noise(RATE)), tmp_path / "small.mp3"
        soundfile.write(small, np.zeros((20 * RATE, 2)), RATE, bitrate_mode="CONSTANT", compression_level=0.99)
        path = tmp_path / "both.mp3"
        path.write_bytes(b"".join(mp3_frames(large)[:10] + mp3_frames(small)))
        with pytest.raises(MissingDependencyError, match=r"libsndfile takes its .* s for .* s; pip install"):
            read_audio(path, RATE, 2)

    @pytest.mark.parametrize("name", ["song.m4a", "song.stem.mp4", "song.aiff", "song.m3u8"])
    def test_other_formats_name_the_extra(self, tmp_path, name):
        path = tmp_path / name
        if name.endswith(".aiff"):
            write(path, noise(100))
        elif name.endswith(".m3u8"):
            path.write_text("#EXTM3U\n")
        else:
            encode(path, "aac", noise(RATE))
        with pytest.raises(MissingDependencyError) as caught:
            open_audio(path, RATE, 2)
        assert str(caught.value).endswith("pip install 'ddtasnet-edge[media]'")

    def test_native_libraries_say_nothing_of_their_own(self, tmp_path, capfd):
        path = song(tmp_path, "mp3", noise(4 * RATE))
        path.write_bytes(path.read_bytes()[:60000])
        refusal(path)
        assert capfd.readouterr().err == ""

    def test_flac_that_declares_no_length(self, tmp_path):
        """As written into a pipe; libsndfile cannot read it, and must not take it for an empty one."""
        path = song(tmp_path, "flac", noise(RATE))
        data = bytearray(path.read_bytes())
        data[21] &= 0xF0
        data[22:26] = bytes(4)
        path.write_bytes(data)
        assert "pip install" in refusal(path)


SOURCES = ("drums", "vocals")


def stems_of(length: int, peak: float = 0.5) -> np.ndarray:
    """Two stereo stems, float32 [2, 2, length]."""
    return peak / 0.5 * noise(2 * 2 * length, channels=1).reshape(2, 2, length)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file can grow beyond `limit` bytes, which the system reports like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_stems(
    folder: Path, stems: np.ndarray, suffix: str = "wav", sources: Sequence[str] = SOURCES, **kwargs
) -> None:
    with writing_stems(folder, sources, RATE, 2, suffix, **kwargs) as writer:
        writer.write(stems)


class TestWriting:
    @pytest.mark.parametrize(("suffix", "subtype", "step"), [("wav", "FLOAT", 0.0), ("flac", "PCM_24", 2.0**-22)])
    def test_round_trip(self, tmp_path, suffix, subtype, step):
        out, stems = tmp_path / "deep" / "stems", stems_of(5000)
        with writing_stems(out, SOURCES, RATE, 2, suffix) as writer:
            for start, stop in [(0, 0), (0, 1), (1, 3000), (3000, 5000)]:
                writer.write(stems[..., start:stop])
            assert not any((out / f"{source}.{suffix}").exists() for source in SOURCES)
        assert writer.notes == ()
        assert sorted(path.name for path in out.iterdir()) == sorted(f"{source}.{suffix}" for source in SOURCES)
        for source, stem in zip(SOURCES, stems, strict=True):
            assert soundfile.info(out / f"{source}.{suffix}").subtype == subtype
            # flac: half a step of 24 bits, scaled by 2^23 - 1.
            read = read_audio(out / f"{source}.{suffix}", RATE, 2)
            np.testing.assert_allclose(read, stem, rtol=0.0, atol=step)

    def test_wav_keeps_what_exceeds_full_scale_and_flac_says_that_it_clips(self, tmp_path):
        stems = stems_of(100, peak=2.0)
        stems[0] *= 0.25
        with writing_stems(tmp_path, SOURCES, RATE, 2, "flac") as flac:
            flac.write(stems)
        with writing_stems(tmp_path, SOURCES, RATE, 2) as wav:
            wav.write(stems)
        assert wav.notes == ()
        assert len(flac.notes) == 1
        assert flac.notes[0].startswith(f"vocals peaks at {np.abs(stems[1]).max():.2f}")
        np.testing.assert_array_equal(read_audio(tmp_path / "vocals.wav", RATE, 2), stems[1])
        np.testing.assert_allclose(
            read_audio(tmp_path / "vocals.flac", RATE, 2), stems[1].clip(-1.0, 1.0), rtol=0.0, atol=2.0**-22
        )

    def test_existing_stems_are_kept_unless_replaced(self, tmp_path):
        (tmp_path / "vocals.wav").write_text("precious")
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(AudioError, match=r"vocals\.wav exists already.*--force"):
            write_stems(tmp_path, stems_of(10))
        assert (tmp_path / "vocals.wav").read_text() == "precious"
        write_stems(tmp_path, stems_of(10), replace=True)
        assert read_audio(tmp_path / "vocals.wav", RATE, 2).shape == (2, 10)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["drums.wav", "notes.txt", "vocals.wav"]

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, AudioError, ZeroDivisionError])
    def test_an_interruption_leaves_nothing_behind(self, tmp_path, interruption):
        def interrupted(folder: Path) -> None:
            with writing_stems(folder, SOURCES, RATE, 2, replace=True) as writer:
                writer.write(stems_of(1000))
                raise interruption

        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "drums.wav").write_text("precious")
        for folder in ("new", "old"):
            with pytest.raises(interruption):
                interrupted(tmp_path / folder)
        assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["old", "old/drums.wav"]
        assert (tmp_path / "old" / "drums.wav").read_text() == "precious"

    @pytest.mark.parametrize("suffix", ["wav", "flac"])
    def test_disk_full_while_writing(self, tmp_path, suffix):
        out = tmp_path / "stems"
        with full_disk(50_000), pytest.raises(AudioError, match=r"cannot write .*drums.*; free space or choose"):
            write_stems(out, stems_of(50_000), suffix)
        assert not out.exists()

    def test_disk_full_while_closing(self, tmp_path):
        # flac holds back its last block until the end, and libsndfile does not say that it failed.
        out, stems = tmp_path / "stems", stems_of(4000)
        with full_disk(5_000), pytest.raises(AudioError, match=r"cannot write .*drums\.flac"):
            write_stems(out, stems, "flac")
        assert not out.exists()

    def test_no_space_left(self, tmp_path, monkeypatch):
        def no_space(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(soundfile.SoundFile, "write", no_space)
        with pytest.raises(AudioError, match="No space left on device; free space or choose another place"):
            write_stems(tmp_path / "stems", stems_of(10))
        assert list(tmp_path.iterdir()) == []

    def test_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        for folder in (tmp_path / "file", tmp_path / "file" / "stems"):
            with pytest.raises(AudioError, match="cannot write"):
                write_stems(folder, stems_of(10))

    def test_a_source_name_cannot_leave_the_folder(self, tmp_path):
        with pytest.raises(AudioError, match=r"source '\.\./escaped' cannot name a file"):
            write_stems(tmp_path / "stems", stems_of(10), sources=("drums", "../escaped"))
        assert list(tmp_path.iterdir()) == []

    def test_a_wav_does_not_outgrow_its_counter(self, tmp_path, monkeypatch):
        monkeypatch.setattr(audio_write, "_WAV_BYTES", 8 * 1000)
        write_stems(tmp_path / "fits", stems_of(1000))
        write_stems(tmp_path / "flac", stems_of(1001), "flac")
        with pytest.raises(AudioError, match="4 GiB of a wav file; use --format flac"):
            write_stems(tmp_path / "too_long", stems_of(1001))
        assert not (tmp_path / "too_long").exists()
