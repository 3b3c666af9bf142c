"""Convolutional block attention (CBAM) with causal pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddtasnet_edge.models.block import State, StreamBlock

# Initial bias of both gates: 0.88 open. Half open, as they would be, they take three quarters of the signal.
OPEN = 2.0
# Frames handled at once by `scan`: the running mean of a block is one triangular matrix product.
SCAN_BLOCK = 256


class CBAM(StreamBlock):
    """A gate per channel, then a gate per frame, on features [batch, time, units].

    Woo et al. 2018 pool over the whole map; here the channel gate pools a running mean of the past
    (cumulative at first, then exponential: a new frame weighs max(1 / (t + 1), pooling_rate)), and the
    temporal gate is a causal convolution over the mean of the channel-gated features.
    Slots: `mean` [batch, units], `age` [batch, 1] in frames (it stops counting where it no longer matters),
    `recent` [batch, taps - 1], the last means of the gated features.
    """

    def __init__(self, units: int, reduction: int, taps: int, pooling_rate: float) -> None:
        super().__init__()
        self.units, self.taps, self.pooling_rate = units, taps, pooling_rate
        self.squeeze = nn.Linear(units, max(units // reduction, 1))
        self.excite = nn.Linear(max(units // reduction, 1), units)
        self.temporal = nn.Linear(taps, 1)
        for gate in (self.excite, self.temporal):
            nn.init.constant_(gate.bias, OPEN)

    def initial_state(self, like: Tensor) -> State:
        batch = like.shape[0]
        return {
            "mean": like.new_zeros(batch, self.units),
            "age": like.new_zeros(batch, 1),
            "recent": like.new_zeros(batch, self.taps - 1),
        }

    def _channel_gate(self, mean: Tensor) -> Tensor:
        # The extra axis changes nothing but the pattern linear-relu-linear: OpenVINO 2026.4 fuses it and crashes
        # on more than one row when it runs with one thread in float32.
        hidden = F.relu(self.squeeze(mean).unsqueeze(1)).squeeze(1)
        return torch.sigmoid(self.excite(hidden))

    def _new_frame_weight(self, age: Tensor) -> Tensor:
        return (1.0 / (age + 1.0)).clamp(min=self.pooling_rate)

    def _next_age(self, age: Tensor) -> Tensor:
        # A float32 counter would stop at 2**24 frames by itself; past 1 / rate the weight is constant anyway.
        return (age + 1.0).clamp(max=1.0 / self.pooling_rate)

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mean, age, means = state["mean"], state["age"], []
        for part in torch.split(x, SCAN_BLOCK, dim=1):
            block, age = self._running_mean(part, mean, age)
            means.append(block)
            mean = block[:, -1]
        gated = x * self._channel_gate(torch.cat(means, dim=1))
        pooled = torch.cat([state["recent"], gated.mean(dim=-1)], dim=1)
        gate = torch.sigmoid(self.temporal(pooled.unfold(1, self.taps, 1)))
        return gated * gate, {"mean": mean, "age": age, "recent": pooled[:, x.shape[1] :]}

    def _running_mean(self, x: Tensor, mean: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """Running means [batch, time, units] after each frame of `x`, and the age after the last.

        m[t] = (1 - w[t]) m[t-1] + w[t] x[t] unrolled: x[j] enters m[t] with w[j] * prod(1 - w[i], j < i <= t).
        """
        frames = x.shape[1]
        limit = 1.0 / self.pooling_rate
        ages = (age + torch.arange(frames, device=x.device, dtype=x.dtype)).clamp(max=limit)
        weight = self._new_frame_weight(ages)
        # The very first frame has weight 1 and forgets a mean that is zero anyway: log(0) is never needed.
        kept = torch.log((1.0 - weight).clamp(min=torch.finfo(x.dtype).tiny))
        decay = torch.cumsum(torch.cat([torch.zeros_like(kept[:, :1]), kept[:, 1:]], dim=1), dim=1)
        carry = torch.exp(decay[:, :, None] - decay[:, None, :]).tril() * weight[:, None, :]
        before = torch.exp(decay) * (1.0 - weight[:, :1])
        means = carry @ x + before[:, :, None] * mean[:, None, :]
        return means, self._next_age(ages[:, -1:])

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mean = state["mean"] + self._new_frame_weight(state["age"]) * (x - state["mean"])
        gated = x * self._channel_gate(mean)
        pooled = torch.cat([state["recent"], gated.mean(dim=-1, keepdim=True)], dim=1)
        gate = torch.sigmoid(self.temporal(pooled))
        return gated * gate, {"mean": mean, "age": self._next_age(state["age"]), "recent": pooled[:, 1:]}
