"""Calibration: consecutive hops of real music, each with the state that the hops before it left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ddtasnet_edge.clips import Clip, ClipFormat, MusdbFormat, default_clip, folder_clips
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.spec import MIX, FloatArray, slot_tensor_names

SEED = 0
# From a folder: so many songs, so many seconds of each. Half a minute of music is about 2700 hops of 512.
SONGS, SECONDS = 8, 4.0
# Of the default clip: the song as it is, and this many remixes of its stems at other levels. With one, a stem that
# hardly sounds changed by 0.107 dB on LiteRT (20 test songs); with three no stem of any song does by 0.1 dB.
REMIXES = 3
REMIX_GAINS_DB = (-12.0, 6.0)


class Feeds:
    """Graph inputs hop after hop, by tensor name; may be iterated more than once.

    Never zero state after the first hop of a clip and never shuffled: activations of a recurrent network depend
    on its past, and ranges taken from fresh states are too narrow. The float model itself carries the state.
    """

    def __init__(self, model: DDTasNet, clips: Sequence[Clip]) -> None:
        self._model, self._clips = model, clips
        self._hop = model.spec().hop_length

    def __len__(self) -> int:
        return sum(clip.mix.shape[1] // self._hop for clip in self._clips)

    def __iter__(self) -> Iterator[dict[str, FloatArray]]:
        for clip in self._clips:
            state = {name: torch.from_numpy(value) for name, value in self._model.spec().initial_state().items()}
            for index in range(clip.mix.shape[1] // self._hop):
                hop = np.ascontiguousarray(clip.mix[None, :, index * self._hop : (index + 1) * self._hop])
                yield {MIX: hop} | {slot_tensor_names(name)[0]: value.numpy() for name, value in state.items()}
                with torch.inference_mode():
                    _, state = self._model.step(torch.from_numpy(hop), state)


def calibration_clips(form: ClipFormat, folder: Path | None = None) -> list[Clip]:
    """The calibration set: a seeded choice, the same every time.

    folder: songs or a MUSDB18 root (its training set); without one, the default clip and a remix of its stems.
    Raises AudioError when the music is shorter than a second.
    """
    found = _from_default_clip(form) if folder is None else folder_clips(folder, form, excerpt=SECONDS, choose=_some)
    clips = list(found)
    seconds = sum(clip.mix.shape[1] for clip in clips) / form.sample_rate
    if seconds < 1.0:
        raise AudioError(f"calibration music lasts {seconds:.2f} s, expected at least 1 s; give longer songs")
    return clips


def _some(count: int) -> list[int]:
    """Indices of the songs to calibrate on, in their order."""
    return sorted(np.random.default_rng(SEED).permutation(count)[:SONGS].tolist())


def _from_default_clip(form: ClipFormat) -> Iterator[Clip]:
    clip = default_clip(MusdbFormat(form.sample_rate, form.channels))
    assert clip.stems is not None, "the default clip has stems"
    yield replace(clip, stems=None)
    generator = np.random.default_rng(SEED)
    for index in range(REMIXES):
        gains = 10.0 ** (generator.uniform(*REMIX_GAINS_DB, size=len(clip.stems)) / 20.0)
        mix = np.einsum("s,scn->cn", gains, clip.stems).astype(np.float32)
        yield replace(clip, name=f"{clip.name} (remix {index + 1})", mix=mix, stems=None)
