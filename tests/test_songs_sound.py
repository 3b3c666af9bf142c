"""Effects, mixing, singing and rendering: what goes in may be anything, what comes out is whole and finite."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import AudioError, MissingDependencyError
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs import effects, electronic, render, vocals
from ddtasnet_edge.training.songs.composition import compose
from ddtasnet_edge.training.songs.make import require_song_tools
from ddtasnet_edge.training.songs.mixing import mix_down, to_pcm
from ddtasnet_edge.training.songs.score import Note, Part, randomness
from ddtasnet_edge.training.songs.speech import BINS, Syllable, vocoder

SEEDS = st.integers(0, 3 * 10**9)
# One step of 16 bit, the grid on which mixed stems lie.
STEP = 1 / 32768


def installed() -> str:
    """What is missing to make songs, or nothing."""
    try:
        require_song_tools()
    except MissingDependencyError as error:
        return str(error)
    return ""


MISSING = installed()
needs_tools = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def noise(seed: int, samples: int = 8000) -> FloatArray:
    return np.random.default_rng(seed).normal(0.0, 0.1, (2, samples)).astype(np.float32)


def tone(frequency: float, samples: int = 44100) -> FloatArray:
    wave = np.sin(2 * np.pi * frequency * np.arange(samples) / render.SAMPLE_RATE)
    return np.stack([wave, wave]).astype(np.float32)


def power(signal: FloatArray) -> float:
    return float(np.mean(signal.astype(np.float64) ** 2))


@settings(max_examples=25)
@given(seed=SEEDS, silent=st.sets(st.sampled_from(MUSDB_SOURCES)), scale=st.sampled_from((1e-4, 1.0, 50.0)))
def test_stems_and_their_sum_stay_below_full_scale_on_the_16_bit_grid(
    seed: int, silent: set[str], scale: float
) -> None:
    dry = {
        source: np.zeros((2, 8000), np.float32) if source in silent else noise(index) * np.float32(scale)
        for index, source in enumerate(MUSDB_SOURCES)
    }
    stems = mix_down(dry, seed)
    assert stems.shape == (4, 2, 8000)
    assert stems.dtype == np.float32
    assert np.isfinite(stems).all()
    assert max(np.abs(stems).max(), np.abs(stems.sum(axis=0)).max()) < 1.0
    assert np.array_equal(stems, np.round(stems / STEP) * STEP)
    for source, stem in zip(MUSDB_SOURCES, stems, strict=True):
        assert bool(np.any(stem)) == (source not in silent)
        assert np.array_equal(to_pcm(stem).astype(np.float32) * np.float32(STEP), stem)


def test_mixes_differ_in_loudness_and_the_same_seed_gives_the_same_mix() -> None:
    dry = {source: noise(index) for index, source in enumerate(MUSDB_SOURCES)}
    mixes = [mix_down(dry, seed) for seed in range(12)]
    assert np.array_equal(mixes[3], mix_down(dry, 3))
    levels = [10 * np.log10(power(stems.sum(axis=0))) for stems in mixes]
    assert max(levels) - min(levels) > 6.0  # dB; peaks are drawn from a range of 13.5 dB


def test_mixing_leaves_the_dry_stems_alone() -> None:
    dry = {source: noise(index) for index, source in enumerate(MUSDB_SOURCES)}
    before = {source: stem.copy() for source, stem in dry.items()}
    mix_down(dry, 1)
    assert all(np.array_equal(dry[source], before[source]) for source in dry)


def test_an_equaliser_does_what_it_says() -> None:
    equaliser = effects.Equaliser(tilt=-3.0, bells=(), highpass=20.0, lowpass=20_000.0)
    gains = [
        10 * np.log10(power(effects.equalise(tone(f), equaliser)) / power(tone(f))) for f in (500.0, 1000.0, 4000.0)
    ]
    # The cut ends of a one-second tone hold less than a thousandth of its power.
    assert gains == pytest.approx([3.0, 0.0, -6.0], abs=0.05)


@pytest.mark.parametrize("frequency", [50.0, 5000.0])
def test_an_equaliser_removes_what_it_does_not_pass(frequency: float) -> None:
    equaliser = effects.Equaliser(tilt=0.0, bells=(), highpass=200.0, lowpass=4000.0)
    assert power(effects.equalise(tone(frequency), equaliser)) < 1e-3 * power(tone(frequency))


def test_compression_turns_the_loud_part_down_and_leaves_silence() -> None:
    signal = np.concatenate([tone(200.0, 22050) * 0.05, tone(200.0, 22050)], axis=1)
    gain = effects.compression_gain(signal, 4.0, 0.01)
    assert gain[:20000] == pytest.approx(1.0)
    # The loud half has twice the mean power: 2 ** (0.5 * (1 / 4 - 1)).
    assert gain[25000:40000] == pytest.approx(2 ** (-0.375), rel=0.02)
    assert np.array_equal(effects.compression_gain(np.zeros((2, 100), np.float32), 4.0, 0.01), np.ones(100))


@given(seed=SEEDS)
@settings(max_examples=10)
def test_a_room_fades_away_and_never_sounds_before_its_source(seed: int) -> None:
    room = effects.draw_room(np.random.default_rng(seed))
    assert np.mean(np.sum(room.astype(np.float64) ** 2, axis=1)) == pytest.approx(1.0, rel=1e-5)
    assert power(room[:, -400:]) < 1e-3 * power(room)
    click = np.zeros((2, 4000), np.float32)
    click[:, 1000] = 1.0
    wet = effects.reverberate(click, room, 0.5)
    assert np.abs(wet[:, :1000]).max() < 1e-5  # rounding of a float32 transform
    assert np.allclose(effects.reverberate(click, room, 0.0), click)


def test_saturation_bends_peaks_and_keeps_silence() -> None:
    signal = noise(0)
    assert np.abs(effects.saturate(signal, 3.0)).max() < np.abs(signal).max()
    assert np.array_equal(effects.saturate(signal, 0.0), signal)
    assert not effects.saturate(np.zeros((2, 10), np.float32), 1.0).any()


def test_a_stretched_syllable_keeps_its_consonants_and_holds_its_vowel() -> None:
    syllable = Syllable(np.ones((30, BINS)), np.ones((30, BINS)), np.ones(30), begin=8, end=20)
    places = vocals.stretch(syllable, 200)
    assert len(places) == 200
    assert list(places[:8]) == list(range(8))
    assert list(places[-10:]) == list(range(20, 30))
    assert (np.diff(places) >= 0).all()
    assert len(vocals.stretch(syllable, 5)) == 5


def test_phrases_end_where_the_singer_breathes() -> None:
    words = [vocals.Sung("la", (start,), (60.0,), start + 0.5, 1.0) for start in (0.0, 0.5, 1.5, 2.0)]
    assert [[sung.times[0] for sung in phrase] for phrase in vocals.phrases(words)] == [[0.0, 0.5], [1.5, 2.0]]


@pytest.mark.parametrize("first", [-150, 0, 50, 950, 2000])
def test_what_is_laid_over_the_edge_of_a_stem_is_lost(first: int) -> None:
    stem, sound = np.zeros((2, 1000), np.float32), np.ones((2, 100), np.float32)
    effects.overlay(stem, sound, first)
    expected = [float(first <= sample < first + 100) for sample in range(1000)]
    assert stem[0].tolist() == stem[1].tolist() == expected


@given(seed=SEEDS)
@settings(max_examples=10)
def test_a_drum_machine_knows_every_drum_and_waits_for_its_notes(seed: int) -> None:
    form = compose(4, 8.0).form
    notes = [Note(2.0 + 0.25 * index, 0.25, pitch, 100) for index, pitch in enumerate(range(35, 83))]
    sound = electronic.play_machine(notes, form, 8 * render.SAMPLE_RATE, np.random.default_rng(seed))
    begin = round(form.seconds(2.0) * render.SAMPLE_RATE)
    assert np.isfinite(sound).all()
    assert not sound[:, :begin].any()
    assert sound[:, begin : begin + 2000].any()


@given(seed=SEEDS, pitch=st.integers(28, 55))
@settings(max_examples=10)
def test_a_synth_bass_has_the_pitch_of_its_notes(seed: int, pitch: int) -> None:
    form = compose(4, 8.0).form
    sound = electronic.play_synth_bass([Note(0.0, 8.0, pitch, 127)], form, 44100, np.random.default_rng(seed))
    assert np.isfinite(sound).all()
    spectrum = np.abs(np.fft.rfft(sound[0]))
    assert np.argmax(spectrum) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), abs=1)  # bins of 1 Hz


def test_a_song_without_a_tune_or_notes_is_silent() -> None:
    form = compose(0, 4.0).form
    assert not vocals.sing((), form, 1000).any()
    assert not render.render((Part(0, ()),), form, 1000).any()


def test_midi_files_keep_the_times_of_the_notes() -> None:
    mido = pytest.importorskip("mido", reason="the extra [train] is not installed")
    form = compose(4, 8.0).form
    part = Part(33, (Note(1.0, 0.5, 40, 90), Note(1.5, 0.5, 40, 80)), pan=20)
    kit = Part(8, (Note(0.0, 0.25, 36, 100),), percussion=True)
    file = render.midi_file((part, kit), form)
    assert [track[0].channel for track in file.tracks] == [0, 9]
    ticks = np.cumsum([message.time for message in file.tracks[0]])
    times = [mido.tick2second(tick, file.ticks_per_beat, 500_000) for tick in ticks]
    kinds = [message.type for message in file.tracks[0]]
    assert kinds[3:] == ["note_on", "note_off", "note_on", "note_off"]
    expected = [form.seconds(moment) for moment in (1.0, 1.5, 1.5, 2.0)]
    assert times[3:] == pytest.approx(expected, abs=0.001)  # two ticks of half a millisecond


def test_a_failing_program_is_one_line_with_its_last_words() -> None:
    with pytest.raises(AudioError, match=r"^ls failed with status \d+: .*no-such-file.*$"):
        render.run_program(["ls", "/no-such-file"])


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)  # noqa: ARG005
    with pytest.raises(MissingDependencyError, match=r"fluidsynth; sudo apt-get install fluidsynth$"):
        render.require_program("fluidsynth", "fluidsynth")


def test_a_missing_sound_font_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(render, "SOUND_FONTS", (tmp_path / "none.sf2",))
    with pytest.raises(MissingDependencyError, match=r"none\.sf2; sudo apt-get install fluid-soundfont-gm$"):
        render.find_sound_font()


def test_a_missing_python_package_names_the_extra() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'ddtasnet-edge\[train\]'"):
        require(("no_such_vocoder",), "making songs", "train")


@needs_tools
def test_the_voice_follows_its_tune() -> None:
    """Long single notes, sung; the fundamental that an independent estimator finds lies on them."""
    form = compose(3, 8.0).form
    tune = tuple(Note(4.0 * index, 3.0, pitch, 100) for index, pitch in enumerate((60, 64, 62)))
    words = [vocals.Sung("la", (form.seconds(n.start),), (float(n.pitch),), form.seconds(n.end), 1.0) for n in tune]
    syllables = vocals.learn(words, tune, randomness(1, "voice"))
    manner = vocals.Manner(portamento=0.05, vibrato=0.3, rate=5.5, breath=0.0, drift=0.05, scoop=0.5)
    for sung, note in zip(words, tune, strict=True):
        voice, first = vocals.sing_phrase([sung], syllables, manner, randomness(2, "phrase"))
        pitch, times = vocoder().harvest(voice, render.SAMPLE_RATE, f0_floor=80.0, f0_ceil=800.0)
        held = (times + first / render.SAMPLE_RATE > sung.times[0] + 0.2) & (pitch > 0)
        assert held.sum() > 50
        # Half a semitone would be the neighbouring note; vibrato and drift are symmetric.
        assert 69 + 12 * np.log2(np.median(pitch[held]) / 440) == pytest.approx(note.pitch, abs=0.3)


@needs_tools
def test_rendered_notes_have_their_pitch_and_their_time() -> None:
    form = compose(4, 8.0).form
    sound = render.render((Part(73, (Note(2.0, 2.0, 69, 100),)),), form, 4 * render.SAMPLE_RATE)  # a flute's A
    begin = int(form.seconds(2.0) * render.SAMPLE_RATE)
    assert sound.dtype == np.float32
    assert np.abs(sound[:, : begin - 500]).max() < 1e-4  # dither of the synthesiser stays below -80 dB
    spectrum = np.abs(np.fft.rfft(sound[0, begin : begin + 22050]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=6)  # bins of 2 Hz, a flute's vibrato
