"""What quantized products do to the stems of some clips, told stem by stem and in numbers that add up."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.quantize.layer import QuantizedLayer
from ddtasnet_edge.quantize.products import Product, stream_hops
from ddtasnet_edge.quantize.simulate import Arithmetic, simulated
from ddtasnet_edge.spec import FloatArray


@dataclass(frozen=True, eq=False)
class Effect:
    """What a change of the arithmetic does, against the float model.

    snr_db: of all stems together. noise and growth [clips, sources], float64: energy of the difference from float,
    and by how much the squared error against the true stem grew, both as shares of that error in float; NaN where the
    true stem is silent.
    """

    snr_db: float
    noise: NDArray[np.float64]
    growth: NDArray[np.float64]

    @property
    def dsdr(self) -> NDArray[np.float64]:
        """Change of uSDR in dB, [clips, sources]."""
        return dsdr_of(self.growth)

    @property
    def worst_dsdr(self) -> float:
        """That of the stem of a clip that changed most."""
        return worst(self.growth)


def together(effects: Sequence[Effect]) -> NDArray[np.float64]:
    """The growth to expect of several changes at once, [clips, sources].

    Noises of different layers do not know each other, so their energies add up. What the growth of one has beyond
    its noise is noise that happens to point towards the true stem or away from it; on other music it points
    elsewhere, so these parts add up as lengths at right angles do, and always to the worse.
    """
    noise = sum(effect.noise for effect in effects)
    chance = sum((effect.growth - effect.noise) ** 2 for effect in effects)
    return np.asarray(noise + np.sqrt(chance))


def dsdr_of(growth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of uSDR in dB for a growth of the squared error; an error that would be negative is all but none."""
    return np.asarray(-10.0 * np.log10(np.maximum(1.0 + growth, 1e-3)))


def worst(growth: NDArray[np.float64]) -> float:
    """The change of uSDR furthest from zero, in dB; NaN when every stem is silent."""
    known = dsdr_of(growth[~np.isnan(growth)])
    return float(known[np.abs(known).argmax()]) if known.size else math.nan


class Listener:
    """Plays clips side by side through the model and compares with what the float model makes of them."""

    def __init__(self, model: DDTasNet, clips: Sequence[Clip]) -> None:
        """clips: with true stems, cut to the length of the shortest. Raises AudioError for less than a second."""
        length = min(clip.mix.shape[1] for clip in clips)
        if length < model.config.sample_rate:
            raise AudioError(f"a clip lasts {length / model.config.sample_rate:.2f} s, expected at least 1 s each")
        self._model = model
        self._mix = torch.from_numpy(np.stack([clip.mix[:, :length] for clip in clips]))
        self._float = self._play(None)
        self._true = np.stack([_stems(clip)[..., : self._float.shape[-1]] for clip in clips])
        self._error = _energy(self._float - self._true)

    def hear(self, variants: Sequence[Mapping[str, QuantizedLayer]], arithmetic: Arithmetic) -> list[Effect]:
        """Each variant with its layers quantized as a runtime of that arithmetic computes them, all at once."""
        clips = len(self._mix)
        products = [simulated(layers, arithmetic, clips) for layers in variants]
        touched = set().union(*variants)
        stems = self._play(_apart(products, touched, clips), len(variants))
        return [self._effect(stems[index * clips : (index + 1) * clips]) for index in range(len(variants))]

    def _effect(self, stems: FloatArray) -> Effect:
        heard = np.where(_energy(self._true) > 0.0, np.maximum(self._error, np.finfo(np.float64).tiny), np.nan)
        noise, signal = _energy(stems - self._float), float(_energy(self._float).sum())
        total = float(noise.sum())
        snr_db = 10.0 * math.log10(signal / total) if total and signal else math.inf
        return Effect(snr_db, noise / heard, (_energy(stems - self._true) - self._error) / heard)

    def _play(self, product: Product | None, variants: int = 1) -> FloatArray:
        """Stems [variants * clips, sources, channels, n], aligned with the mix."""
        mix = self._mix.repeat(variants, 1, 1)
        stems = torch.cat([hop for hop, _ in stream_hops(self._model, mix, product)], dim=-1)
        found: FloatArray = stems.numpy()[..., self._model.spec().algorithmic_latency :]
        return found


def _apart(products: Sequence[Product], touched: Collection[str], clips: int) -> Product:
    """One product for all variants of all clips: rows are streams, in each the variants, in each the clips."""

    def product(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if name not in touched:
            return F.linear(x, weight, bias)
        variants = torch.unflatten(x, 0, (-1, len(products), clips)).unbind(1)
        results = [
            torch.unflatten(compute(name, rows.flatten(0, 1), weight, bias), 0, (-1, clips))
            for compute, rows in zip(products, variants, strict=True)
        ]
        return torch.stack(results, dim=1).flatten(0, 2)

    return product


def _stems(clip: Clip) -> FloatArray:
    assert clip.stems is not None, "a clip to be judged by comes with its stems"
    return clip.stems


def _energy(samples: FloatArray) -> NDArray[np.float64]:
    return np.asarray(np.square(samples, dtype=np.float64).sum(axis=(-2, -1)))
