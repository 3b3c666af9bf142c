"""From a composition to its mixed stems: who plays each part, the voice, and the mix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.composition import Composition
from ddtasnet_edge.training.songs.electronic import play_machine, play_synth_bass
from ddtasnet_edge.training.songs.form import Form
from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.mixing import mix_down
from ddtasnet_edge.training.songs.render import render
from ddtasnet_edge.training.songs.score import Note, Part, randomness
from ddtasnet_edge.training.songs.vocals import sing

Electronic = Callable[[list[Note], Form, int, np.random.Generator], FloatArray]


def make_stems(composition: Composition, seconds: float) -> FloatArray:
    """The mixed stems of a composition: float32 [sources, 2, samples]; their sum is the mix."""
    form, samples = composition.form, round(seconds * SAMPLE_RATE)
    return mix_down(
        {
            "drums": _play(composition.parts["drums"], form, samples, play_machine),
            "bass": _play(composition.parts["bass"], form, samples, play_synth_bass),
            "other": render(composition.parts["other"], form, samples),
            "vocals": sing(composition.tune, form, samples),
        },
        form.seed,
    )


def _play(parts: tuple[Part, ...], form: Form, samples: int, electronic: Electronic) -> FloatArray:
    """Drums or bass from the sound font, now and then computed instead or on top."""
    rng = randomness(form.seed, electronic.__name__)
    kind = str(rng.choice(("sampled", "computed", "layered"), p=(0.65, 0.2, 0.15)))
    sampled = render(parts, form, samples) if kind != "computed" else np.zeros((2, samples), dtype=np.float32)
    if kind == "sampled":
        return sampled
    computed = electronic([note for part in parts for note in part.notes], form, samples, rng)
    return _unit(sampled) + _unit(computed) * np.float32(rng.uniform(0.3, 1.2))


def _unit(stem: FloatArray) -> FloatArray:
    """A stem scaled to an RMS of one; silence stays silence."""
    level = float(np.sqrt(np.mean(stem.astype(np.float64) ** 2)))
    return stem / np.float32(level) if level > 0.0 else stem
