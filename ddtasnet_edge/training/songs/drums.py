"""Drum parts: a pattern per song, varied bar by bar, with ghost notes, fills, crashes and a percussion layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ddtasnet_edge.training.songs.form import Bar, Form
from ddtasnet_edge.training.songs.score import STEP, Note, Part, chance, humanise, randomness

# Kits of the General MIDI sound font: standard, room, power, electronic, TR-808, jazz, brush.
KITS = (0, 8, 16, 24, 25, 32, 40)

KICKS, SNARES, SIDE_STICK, CLAP = (35, 36), (38, 40), 37, 39
CLOSED_HAT, PEDAL_HAT, OPEN_HAT = 42, 44, 46
RIDES, TOMS, CRASHES = (51, 59, 53), (50, 48, 47, 45, 43, 41), (49, 57, 55, 52)
SHAKERS = (54, 69, 70, 82)
PERCUSSION = ((60, 61), (62, 63, 64), (65, 66), (67, 68), (56,), (75,), (76, 77), (54,), (70,), (82,))

# A hit is X (accent), x (plain) or o (ghost); a dot is a rest. One sign per sixteenth.
_VELOCITIES = {"X": 116, "x": 92, "o": 44}


@dataclass(frozen=True)
class Style:
    """One bar of a groove."""

    kick: str
    snare: str
    cymbal: str


STYLES: dict[str, tuple[Style, ...]] = {
    "4/4": (
        Style("X.......X.x.....", "....X.......X...", "X.x.X.x.X.x.X.x."),  # rock
        Style("X.....x.X.......", "....X.......X...", "X.x.X.x.X.x.X.x."),
        Style("X..x..x...X..x..", "....X..o.o..X..o", "XxxxXxxxXxxxXxxx"),  # funk
        Style("X...X...X...X...", "....x.......x...", "..X...X...X...X."),  # four on the floor
        Style("X...X...X...X...", "....X.......X...", "xxXxxxXxxxXxxxXx"),  # disco
        Style("X.....x...x.....", "........X.......", "X.x.x.x.X.x.x.x."),  # half time
        Style("X.x.......xx....", "....X..o.o..X..o", "X.x.X.x.X.x.X.x."),  # break
        Style("X...X...X...X...", "oxooXoooxoooXoxo", "................"),  # train
        Style("o...o...o...o...", "......o.....o..o", "X...X.x.X...X.x."),  # jazz
        Style("X..x...xX..x...x", "x..x..x...x.x...", "X.xxX.xxX.xxX.xx"),  # latin
        Style("X......x..X.....", "........X.......", "xxxxxxxxxxxxxxxx"),  # trap
        Style("........X.......", "........x.......", "X.x.X.x.X.x.X.x."),  # one drop
        Style("X.....x.X.....x.", "X...X...X...X...", "X.x.X.x.X.x.X.x."),  # soul
        Style("X.x.X.x.X.x.X.x.", "....X.......X...", "X...X...X...X..."),  # double kick
    ),
    "3/4": (
        Style("X...........", "....x...x...", "X.x.X.x.X.x."),
        Style("X.....x.....", "........X...", "X.x.X.x.X.x."),
        Style("o.......o...", "......o.....", "X...X.x.X..."),
        Style("X...X...X...", "....X..o....", "XxxxXxxxXxxx"),
    ),
    "6/8": (
        Style("X.........x.", "......X.....", "X.x.x.X.x.x."),
        Style("X...x.....x.", "......X...o.", "X.x.x.X.x.x."),
        Style("X..x..X..x..", "......X.....", "X..xx.X..xx."),
        Style("X.....x.....", "......X..o.o", "X...x.X...x."),
    ),
}


@dataclass(frozen=True)
class _Drummer:
    """The choices that hold for a whole song."""

    style: Style
    kick: int
    snare: int
    cymbal: int
    loud_cymbal: int
    openness: float
    restlessness: float
    percussion: tuple[tuple[int, str], ...]


def drum_parts(form: Form) -> tuple[Part, ...]:
    """The drum kit of a song, one part, silent where the form says so."""
    rng = randomness(form.seed, "drums")
    drummer = _draw_drummer(form, rng)
    notes = [note for bar in form.playing("drums") for note in _bar(form, bar, drummer, rng)]
    return (Part(int(rng.choice(KITS)), humanise(notes, rng), percussion=True),)


def euclid(hits: int, steps: int) -> str:
    """`hits` spread over `steps` as evenly as whole steps allow (E. Bjorklund's rhythms, Toussaint 2005)."""
    return "".join("x" if index * hits % steps < hits else "." for index in range(steps))


def _draw_drummer(form: Form, rng: np.random.Generator) -> _Drummer:
    styles = STYLES[form.meter.name]
    snare = int(rng.choice((*SNARES, *SNARES, SIDE_STICK, CLAP)))
    cymbal = int(rng.choice((CLOSED_HAT, CLOSED_HAT, CLOSED_HAT, PEDAL_HAT, *RIDES, *SHAKERS)))
    layers = tuple(
        (int(rng.choice(PERCUSSION[rng.integers(len(PERCUSSION))])), _rotated_euclid(form.meter.steps, rng))
        for _ in range(rng.choice((0, 0, 0, 1, 2, 3)))
    )
    return _Drummer(
        style=styles[rng.integers(len(styles))],
        kick=int(rng.choice(KICKS)),
        snare=snare,
        cymbal=cymbal,
        loud_cymbal=int(rng.choice((cymbal, *RIDES, OPEN_HAT, CRASHES[0]))),
        openness=float(rng.uniform(0.0, 0.25)),
        restlessness=float(rng.uniform(0.0, 0.12)),
        percussion=layers,
    )


def _rotated_euclid(steps: int, rng: np.random.Generator) -> str:
    rhythm = euclid(int(rng.integers(2, steps * 3 // 4)), steps)
    shift = int(rng.integers(steps))
    return rhythm[shift:] + rhythm[:shift]


def _bar(form: Form, bar: Bar, drummer: _Drummer, rng: np.random.Generator) -> Iterator[Note]:
    energy = bar.section.energy
    steps = form.meter.steps
    groove_steps = steps - int(rng.choice((2, 4, 4, 6, 8, steps))) if bar.fill and chance(rng, 0.85) else steps
    cymbal = drummer.loud_cymbal if energy > 0.8 else drummer.cymbal
    lines = [(drummer.kick, drummer.style.kick), (cymbal, drummer.style.cymbal), *drummer.percussion]
    # Quiet sections often go without the snare.
    if energy > 0.3 or chance(rng, 0.3):
        lines.append((drummer.snare, drummer.style.snare))
    for pitch, line in lines:
        for step, sign in enumerate(_varied(line, drummer.restlessness, rng)[:groove_steps]):
            if sign != ".":
                played = OPEN_HAT if pitch == CLOSED_HAT and chance(rng, drummer.openness * (step % 4 == 2)) else pitch
                yield _hit(bar, step, played, _VELOCITIES[sign] * (0.72 + 0.3 * energy))
    yield from _fill(form, bar, groove_steps, drummer, rng)
    if bar.opens and chance(rng, 0.3 + 0.6 * energy):
        yield _hit(bar, 0, int(rng.choice(CRASHES)), 110 * (0.7 + 0.3 * energy))


def _varied(line: str, restlessness: float, rng: np.random.Generator) -> str:
    """A line with a few plain hits left out and a few soft ones put in; accents stay."""
    if "x" not in line and "X" not in line:
        return line
    leave, put = rng.random(len(line)) < restlessness, rng.random(len(line)) < restlessness / 2
    swaps = zip(line, leave, put, strict=True)
    return "".join("." if s in "xo" and out else "o" if s == "." and new else s for s, out, new in swaps)


def _fill(form: Form, bar: Bar, begin: int, drummer: _Drummer, rng: np.random.Generator) -> Iterator[Note]:
    """From `begin` to the end of the bar: a roll, or a run down the toms, growing louder."""
    steps = form.meter.steps
    if begin >= steps:
        return
    density, descending = rng.uniform(0.5, 1.0), chance(rng, 0.7)
    for step in range(begin, steps):
        if not chance(rng, density):
            continue
        place = (step - begin) / (steps - begin)
        toms = TOMS[int(place * len(TOMS))] if descending else int(rng.choice(TOMS))
        pitch = drummer.snare if chance(rng, 0.35) else toms
        yield _hit(bar, step, pitch, 70 + 45 * place)
        if chance(rng, 0.12):  # a drag: the same drum once more, a thirty-second later
            yield _hit(bar, step + 0.5, pitch, 60 + 40 * place)


def _hit(bar: Bar, step: float, pitch: int, velocity: float) -> Note:
    return Note(bar.start + step * STEP, STEP, pitch, int(np.clip(velocity, 1, 127)))
