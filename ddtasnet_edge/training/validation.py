"""How well a model separates the validation tracks."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import torch

from ddtasnet_edge.metrics import usdr
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.training.material import Material

# Seconds taken from the middle of each track: enough to rank checkpoints, and whole MUSDB tracks would take minutes.
SECONDS = 16


def validate(model: DDTasNet, music: Material, device: torch.device) -> dict[str, float]:
    """Mean uSDR in dB of each source over the tracks in which it is heard, each as one stream.

    A source that no track holds has NaN.
    """
    config = model.config
    scores: dict[str, list[float]] = {source: [] for source in config.sources}
    for index, track in enumerate(music.tracks):
        length = min(track.shape[-1], SECONDS * config.sample_rate)
        start = (track.shape[-1] - length) // 2
        stems = np.stack([music.read(index, source, start, length) for source in range(len(config.sources))])
        with torch.inference_mode():
            estimates = model(torch.from_numpy(stems.sum(axis=0)[None]).to(device))[0].float().cpu().numpy()
        for source, stem, estimate in zip(config.sources, stems, estimates, strict=True):
            if stem.any():  # silence has no SDR
                scores[source].append(usdr(stem, estimate))
    return {source: fmean(values) if values else math.nan for source, values in scores.items()}
