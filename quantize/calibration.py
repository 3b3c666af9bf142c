"""Calibration: consecutive hops of real music, each with the state that the hops before it left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.spec import MIX, FloatArray, slot_tensor_names


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

    @torch.inference_mode()
    def __iter__(self) -> Iterator[dict[str, FloatArray]]:
        for clip in self._clips:
            state = {name: torch.from_numpy(value) for name, value in self._model.spec().initial_state().items()}
            for index in range(clip.mix.shape[1] // self._hop):
                hop = np.ascontiguousarray(clip.mix[None, :, index * self._hop : (index + 1) * self._hop])
                yield {MIX: hop} | {slot_tensor_names(name)[0]: value.numpy() for name, value in state.items()}
                _, state = self._model.step(torch.from_numpy(hop), state)
