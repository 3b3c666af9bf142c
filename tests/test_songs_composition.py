"""What every composition keeps to, whatever its seed: its key, its bars, its ranges, its silences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.training.songs import bass, drums, harmony
from ddtasnet_edge.training.songs.chords import MODES, Chord, Key
from ddtasnet_edge.training.songs.composition import VOICE_RANGES, Composition, compose
from ddtasnet_edge.training.songs.form import TEMPI, Form, draw_form
from ddtasnet_edge.training.songs.score import METERS, Note, humanise, randomness

SEEDS = st.integers(0, 3 * 10**9)
KEYS = st.builds(Key, st.integers(0, 11), st.sampled_from(list(MODES)))
# The notes of a player start early or late by 0.03 quarter notes at most as standard deviation (harmony doubles);
# six of them hold for every note that a test run will ever see.
LOOSENESS = 6 * 0.03


def notes(composition: Composition, stem: str) -> list[Note]:
    """All notes of an instrumental stem."""
    return [note for part in composition.parts[stem] for note in part.notes]


def holds(form: Form, stem: str, note: Note) -> bool:
    """Does a note begin in a bar in which its stem plays?"""
    quarters = form.meter.quarters
    starts = [bar.start for bar in form.playing(stem)]
    return any(start - LOOSENESS <= note.start < start + quarters + LOOSENESS for start in starts)


@given(seed=SEEDS, seconds=st.floats(1.0, 60.0))
def test_bars_follow_each_other_and_fill_the_song(seed: int, seconds: float) -> None:
    form = draw_form(seed, seconds)
    assert [bar.start for bar in form.bars] == [index * form.meter.quarters for index in range(len(form.bars))]
    end = len(form.bars) * form.meter.quarters * 60.0 / form.tempo
    assert seconds - 1e-9 <= end < seconds + form.meter.quarters * 60.0 / form.tempo
    assert TEMPI[0] <= form.tempo <= TEMPI[1]


@given(seed=SEEDS)
def test_every_section_opens_and_closes_once_and_somebody_plays_in_it(seed: int) -> None:
    form = draw_form(seed, 60.0)
    assert form.bars[0].opens
    for bar, following in pairwise(form.bars):
        assert bar.closes == following.opens
        assert (bar.section is following.section) != following.opens
    assert all(bar.section.stems and bar.section.stems <= set(MUSDB_SOURCES) for bar in form.bars)
    assert all(bar.fill for bar in form.bars if bar.closes)


@given(seed=SEEDS)
def test_time_runs_forward_and_keeps_to_the_beat_with_swing(seed: int) -> None:
    form = draw_form(seed, 16.0)
    times = [form.seconds(step / 8) for step in range(200)]
    assert all(early < late for early, late in pairwise(times))
    for beat in range(20):
        assert form.seconds(beat) == pytest.approx(beat * 60.0 / form.tempo)


@given(seed=SEEDS)
def test_tonal_parts_stay_in_the_key_and_in_their_ranges(seed: int) -> None:
    composition = compose(seed, 16.0)
    pitch_classes = composition.form.key.pitch_classes
    for note in [*notes(composition, "bass"), *notes(composition, "other"), *composition.tune]:
        assert note.pitch % 12 in pitch_classes
    assert all(bass.LOW <= note.pitch <= bass.HIGH for note in notes(composition, "bass"))
    assert all(harmony.LOW <= note.pitch <= harmony.HIGH for note in notes(composition, "other"))
    lowest, highest = VOICE_RANGES[0][0], VOICE_RANGES[-1][1]
    assert all(lowest <= note.pitch <= highest for note in composition.tune)


@given(seed=SEEDS)
def test_every_note_can_be_played_and_lies_where_its_stem_plays(seed: int) -> None:
    composition = compose(seed, 16.0)
    for stem in composition.parts:
        for note in notes(composition, stem):
            assert note.start >= 0
            assert note.duration > 0
            assert 1 <= note.velocity <= 127
            assert holds(composition.form, stem, note)
    assert all(holds(composition.form, "vocals", note) for note in composition.tune)


@given(seed=SEEDS)
def test_a_stem_that_plays_has_notes(seed: int) -> None:
    composition = compose(seed, 30.0)
    for stem in ("bass", "other"):
        assert bool(notes(composition, stem)) == bool(composition.form.playing(stem))
    assert bool(composition.tune) == bool(composition.form.playing("vocals"))


@given(seed=SEEDS)
def test_the_tune_is_sung_one_note_at_a_time(seed: int) -> None:
    tune = compose(seed, 30.0).tune
    assert all(note.end <= following.start + 1e-9 for note, following in pairwise(tune))


@given(seed=SEEDS)
def test_parts_fit_into_the_channels_of_a_midi_file(seed: int) -> None:
    composition = compose(seed, 16.0)
    assert all(part.percussion for part in composition.parts["drums"])
    assert not any(part.percussion for part in (*composition.parts["bass"], *composition.parts["other"]))
    for parts in composition.parts.values():
        assert 1 <= len(parts) <= 15
        assert all(0 <= value <= 127 for part in parts for value in (part.program, part.pan, part.volume))


@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_song(seed: int) -> None:
    assert compose(seed, 16.0) == compose(seed, 16.0)


def test_songs_differ() -> None:
    songs = [compose(seed, 16.0).form for seed in range(200)]
    assert {form.meter.name for form in songs} == set(METERS)
    assert {form.key.mode for form in songs} == set(MODES)
    assert {form.key.tonic for form in songs} == set(range(12))
    assert len({form.tempo for form in songs}) > 150
    assert any(form.swing > 0.5 for form in songs)
    for stem in MUSDB_SOURCES:  # every stem is missing somewhere, in a section and in a whole song
        assert any(0 < len(form.playing(stem)) < len(form.bars) for form in songs)
        assert any(not form.playing(stem) for form in songs)


def test_purposes_have_random_numbers_of_their_own() -> None:
    drawn = {randomness(seed, purpose).random() for seed in (0, 1) for purpose in ("drums", "bass")}
    assert len(drawn) == 4


@pytest.mark.parametrize("meter", METERS)
def test_grooves_are_one_bar_long(meter: str) -> None:
    steps = METERS[meter].steps
    for style in drums.STYLES[meter]:
        assert {len(style.kick), len(style.snare), len(style.cymbal)} == {steps}
        assert set(style.kick + style.snare + style.cymbal) <= set("Xxo.")


@given(st.integers(1, 16).flatmap(lambda steps: st.tuples(st.integers(1, steps), st.just(steps))))
def test_euclid_spreads_hits_evenly(numbers: tuple[int, int]) -> None:
    hits, steps = numbers
    rhythm = drums.euclid(hits, steps)
    assert len(rhythm) == steps
    places = [index for index, sign in enumerate(rhythm) if sign == "x"]
    assert len(places) == hits
    gaps = [late - early for early, late in pairwise([*places, places[0] + steps])]
    assert max(gaps) - min(gaps) <= 1


@given(KEYS, st.integers(-7, 80))
def test_seven_degrees_make_an_octave_and_degrees_rise(key: Key, degree: int) -> None:
    assert key.pitch(degree + 7) == key.pitch(degree) + 12
    assert key.pitch(degree + 1) > key.pitch(degree)


@given(KEYS, st.integers(0, 6))
def test_a_voicing_holds_every_chord_tone_and_nothing_else(key: Key, root: int) -> None:
    chord = Chord(root, (0, 2, 4))
    expected = {key.pitch(root + step) % 12 for step in (0, 2, 4)}
    assert {pitch % 12 for pitch in chord.voicing(key, 48, 60)} == expected


def test_humanise_moves_notes_a_little_and_never_before_the_start() -> None:
    straight = [Note(0.25 * index, 0.25, 60, 120) for index in range(1000)]
    played = humanise(straight, np.random.default_rng(0))
    moves = [after.start - before.start for before, after in zip(straight, played, strict=True)]
    # The standard deviation of 1000 draws lies within a tenth of 0.012 with overwhelming probability.
    assert np.std(moves) == pytest.approx(0.012, rel=0.1)
    assert min(note.start for note in played) >= 0
    assert max(note.velocity for note in played) == 127
