"""Hops to overlapping frames and back: the only places where samples are buffered."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.models.block import State, StreamBlock


class Framing(StreamBlock):
    """Hops [batch, time, channels, hop] to frames [batch, time, channels, window].

    Frame t holds the samples [(t + 1) * hop - window, (t + 1) * hop); zeros come before the first sample.
    The slot `context` [batch, channels, window - hop] is the left context; a hop as long as the window has none.

        hop      0    1    2    3          window = 2 hops
        frame 0 .0
        frame 1  0    1
        frame 2       1    2
    """

    def __init__(self, window_length: int, hop_length: int, channels: int) -> None:
        super().__init__()
        self.window_length, self.hop_length, self.channels = window_length, hop_length, channels

    def initial_state(self, like: Tensor) -> State:
        overlap = self.window_length - self.hop_length
        return {"context": like.new_zeros(like.shape[0], self.channels, overlap)} if overlap else {}

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not state:
            return x, {}
        samples = torch.cat([state["context"], x.transpose(1, 2).flatten(2)], dim=-1)
        frames = samples.unfold(-1, self.window_length, self.hop_length).transpose(1, 2)
        return frames, {"context": samples[..., x.shape[1] * self.hop_length :]}

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not state:
            return x, {}
        frame = torch.cat([state["context"], x], dim=-1)
        return frame, {"context": frame[..., self.hop_length :]}


class OverlapAdd(StreamBlock):
    """Frames [batch, time, sources, channels, window] to hops [batch, time, sources, channels, hop].

    A hop is complete, and leaves, once the last frame that covers it has been added, so the output lags the
    input by window - hop samples. The slot `tail` [batch, sources, channels, window - hop] holds what is begun.
    """

    def __init__(self, window_length: int, hop_length: int, sources: int, channels: int) -> None:
        super().__init__()
        self.window_length, self.hop_length = window_length, hop_length
        self.sources, self.channels = sources, channels

    def initial_state(self, like: Tensor) -> State:
        overlap = self.window_length - self.hop_length
        return {"tail": like.new_zeros(like.shape[0], self.sources, self.channels, overlap)} if overlap else {}

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not state:
            return x, {}
        frames, later = x.shape[1], self.window_length // self.hop_length - 1
        tail = torch.unflatten(state["tail"], -1, (later, self.hop_length)).movedim(-2, 1)
        total = F.pad(tail, (0, 0, 0, 0, 0, 0, 0, frames))
        for offset, part in enumerate(torch.split(x, self.hop_length, dim=-1)):
            total = total + F.pad(part, (0, 0, 0, 0, 0, 0, offset, later - offset))
        return total[:, :frames], {"tail": total[:, frames:].movedim(1, -2).flatten(-2)}

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not state:
            return x, {}
        overlap = self.window_length - self.hop_length
        begun, new = state["tail"] + x[..., :overlap], x[..., overlap:]
        done, open_still = begun[..., : self.hop_length], begun[..., self.hop_length :]
        # Half overlap leaves nothing open, and converters do not like parts of length zero.
        tail = torch.cat([open_still, new], dim=-1) if overlap > self.hop_length else new
        return done, {"tail": tail}
