"""Causal DDTasNet: a time branch, a magnitude and a phase branch, fused by one recurrent network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddtasnet_edge.config import DDTasNetConfig
from ddtasnet_edge.models.attention import SkipAttention
from ddtasnet_edge.models.block import State, StreamBlock, nest, pick
from ddtasnet_edge.models.cbam import CBAM
from ddtasnet_edge.models.framing import Framing, OverlapAdd
from ddtasnet_edge.models.memory import make_memory
from ddtasnet_edge.models.spectral import SpectralCodec
from ddtasnet_edge.models.time_codec import TimeDecoder, TimeEncoder, start_as_filter_bank
from ddtasnet_edge.spec import Slot, StreamSpec

Run = Callable[[str, Tensor], Tensor]


class DDTasNet(StreamBlock):
    """Mix in, stems out, hop by hop.

    The contract: `forward(mix)` [batch, channels, length] -> [batch, sources, channels, length] equals the
    concatenation of `step(hop, state)` over the hops of the zero-padded mix, to 1e-5 relative, once the first
    `spec().algorithmic_latency` = window - hop samples of the steps are dropped.

    Data flow (units H, sources S, channels C; the magnitude and phase streams share every weight and are
    stacked along the batch, so the weights are read once):

        hop -> framing -+-> time encoder -> memory 1 -> attention -> CBAM -+            +-> memory 2 + skip -> mask
                        |                                                  +-> fusion --+
                        +-> DFT -> magnitude, phase -> (the same) ---------+   3H -> 3H +-> memory 2 + skip -> masks
        masked features -> time decoder + inverse DFT -> overlap-add -> stems

    What differs from the published block diagram, which is written for whole clips: framing and overlap-add
    look only back (framing.py), attention has a bounded left context (attention.py), CBAM pools causally
    (cbam.py), the features of the spectral branch are made safe for float and INT8 arithmetic (spectral.py),
    and the memories are GRUs by default (memory.py).
    """

    def __init__(self, config: DDTasNetConfig) -> None:
        super().__init__()
        self.config = config
        units, channels, sources = config.units, config.channels, len(config.sources)
        time_features, spectral_features = channels * config.bases, channels * config.bins

        self.mix = Framing(config.window_length, config.hop_length, channels)
        self.time_encoder = TimeEncoder(config.window_length, config.bases)
        self.spectral_codec = SpectralCodec(config.window_length, config.hop_length, config.sample_rate)

        self.time_memory1 = make_memory(config.cell, time_features, units)
        self.time_attention = SkipAttention(units, config.attention_frames)
        self.time_cbam = CBAM(units, config.cbam_reduction, config.cbam_taps, config.pooling_rate)
        self.spectral_memory1 = make_memory(config.cell, spectral_features, units)
        self.spectral_attention = SkipAttention(units, config.attention_frames)
        self.spectral_cbam = CBAM(units, config.cbam_reduction, config.cbam_taps, config.pooling_rate)

        self.fusion = make_memory(config.cell, 3 * units, 3 * units)

        self.time_memory2 = make_memory(config.cell, units, units)
        self.time_skip = nn.Linear(time_features, units)
        self.time_mask = nn.Linear(units, sources * time_features)
        self.spectral_memory2 = make_memory(config.cell, units, units)
        self.spectral_skip = nn.Linear(spectral_features, units)
        self.spectral_mask = nn.Linear(units, sources * spectral_features)

        self.time_decoder = TimeDecoder(config.window_length, config.bases)
        for mask in (self.time_mask, self.spectral_mask):
            # Nearly shut: masks at random only do harm, and the memories would learn to stand still to do less.
            nn.init.normal_(mask.weight, std=0.1 / math.sqrt(units))
            nn.init.zeros_(mask.bias)
        codec = self.spectral_codec
        start_as_filter_bank(self.time_encoder, self.time_decoder, codec.analysis_window, codec.synthesis_window)
        self.stems = OverlapAdd(config.window_length, config.hop_length, sources, channels)

    def spec(self) -> StreamSpec:
        """The stream contract of this model, with its slots in a fixed order."""
        config = self.config
        state = self.initial_state(torch.zeros(1))
        rings = {f"{name}_{slot}" for name, block in self._blocks() for slot in block.rings}
        return StreamSpec(
            sample_rate=config.sample_rate,
            channels=config.channels,
            sources=config.sources,
            window_length=config.window_length,
            hop_length=config.hop_length,
            algorithmic_latency=config.window_length - config.hop_length,
            slots=tuple(Slot(name, tuple(value.shape), ring=name in rings) for name, value in state.items()),
        )

    def initial_state(self, like: Tensor) -> State:
        stacked = torch.cat([like, like])
        state: State = {}
        for name, block in self._blocks():
            state |= nest(name, block.initial_state(stacked if name.startswith("spectral_") else like))
        return state

    def _blocks(self) -> list[tuple[str, StreamBlock]]:
        return [(name, block) for name, block in self.named_children() if isinstance(block, StreamBlock)]

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Hops [batch, time, channels, hop] to stems [batch, time, sources, channels, hop]."""
        return self._advance("scan", x, state)

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One hop [batch, channels, hop] to stems [batch, sources, channels, hop]."""
        return self._advance("update", x, state)

    def forward(self, mix: Tensor) -> Tensor:
        """A whole clip [batch, channels, length] to stems [batch, sources, channels, length], aligned with it."""
        batch, channels, length = mix.shape
        spec = self.spec()
        hops = spec.hops_for(length)
        if hops == 0:
            return mix.new_zeros(batch, len(spec.sources), channels, 0)
        padded = F.pad(mix, (0, hops * spec.hop_length - length))
        sequence = torch.unflatten(padded, -1, (hops, spec.hop_length)).transpose(1, 2)
        stems, _ = self.scan(sequence, self.initial_state(mix))
        samples = stems.movedim(1, -2).flatten(-2)
        return samples[..., spec.algorithmic_latency : spec.algorithmic_latency + length]

    def _advance(self, face: str, hops: Tensor, state: State) -> tuple[Tensor, State]:
        """Both faces in one place: everything between the stateful blocks works on any leading dimensions."""
        new_state: State = {}

        def run(name: str, x: Tensor) -> Tensor:
            block = getattr(self, name)
            y, block_state = getattr(block, face)(x, pick(name, state))
            new_state.update(nest(name, block_state))
            return cast(Tensor, y)

        fft = face == "scan"
        frames = run("mix", hops)
        basis, norm = self.time_encoder(frames)
        spectrum = self.spectral_codec.analyse(frames, fft=fft)
        time_input = basis.flatten(-2)
        spectral_input = torch.cat([spectrum.magnitude_feature.flatten(-2), spectrum.phase_feature.flatten(-2)], dim=0)

        time, spectral = self._fuse(
            run, self._branch(run, "time", time_input), self._branch(run, "spectral", spectral_input)
        )
        time = run("time_memory2", time) + self.time_skip(time_input)
        spectral = run("spectral_memory2", spectral) + self.spectral_skip(spectral_input)

        per_source = (len(self.config.sources), self.config.channels, -1)
        time_mask = self.time_mask(time).unflatten(-1, per_source)
        magnitude_mask, phase_mask = self.spectral_mask(spectral).unflatten(-1, per_source).chunk(2, dim=0)

        # Every stem gets its share of the mix and the network what it changes: memories that had to carry this
        # constant for the magnitudes, but not for the phases, would saturate.
        magnitude_mask = magnitude_mask + 1.0 / len(self.config.sources)

        stem_frames = self.time_decoder(time_mask * basis.unsqueeze(-3), norm) + self.spectral_codec.synthesise(
            magnitude_mask * spectrum.magnitude.unsqueeze(-3),
            self._stem_phase(phase_mask, spectrum.phase.unsqueeze(-3)),
            fft=fft,
        )
        stems = run("stems", stem_frames)
        return stems, {name: new_state[name] for name in state}

    def _stem_phase(self, mask: Tensor, phase: Tensor) -> Tensor:
        """The phase of every stem from that of the mix, as the configuration's `phase` has it; zero changes nothing."""
        return phase + mask if self.config.phase == "rotate" else phase * (1.0 + mask)

    def _branch(self, run: Run, branch: str, x: Tensor) -> Tensor:
        for block in ("memory1", "attention", "cbam"):
            x = run(f"{branch}_{block}", x)
        return x

    def _fuse(self, run: Run, time: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor]:
        """Hybrid fusion: one memory over all three streams, then split again (magnitude and phase stacked)."""
        magnitude, phase = spectral.chunk(2, dim=0)
        fused = run("fusion", torch.cat([time, magnitude, phase], dim=-1))
        time, magnitude, phase = fused.chunk(3, dim=-1)
        return time, torch.cat([magnitude, phase], dim=0)
