"""Skip attention over the recent past."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddtasnet_edge.models.block import State, StreamBlock

# Added to the score of an empty slot. Finite, so that no runtime meets inf - inf, and far below any real score.
MASKED_SCORE = -1e9
# Queries handled at once by `scan`: bounds its memory to block * (block + frames) scores however long the clip.
SCAN_BLOCK = 256


class SkipAttention(StreamBlock):
    """x + softmax(q k' / sqrt(units)) v over the last `frames` frames, own frame included.

    The published block attends to the whole clip; a stream sees only its left context. Shapes
    [batch, time, units] -> the same. Slots: `keys` and `values` [batch, frames - 1, units], and `valid`
    [batch, frames - 1], 1 where a past frame is stored. Empty slots are masked out, not scored as zero.
    """

    def __init__(self, units: int, frames: int) -> None:
        super().__init__()
        self.units, self.frames = units, frames
        self.query_key_value = nn.Linear(units, 3 * units)

    def initial_state(self, like: Tensor) -> State:
        past = (like.shape[0], self.frames - 1)
        return {
            "keys": like.new_zeros(*past, self.units),
            "values": like.new_zeros(*past, self.units),
            "valid": like.new_zeros(past),
        }

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        keys = torch.cat([state["keys"], key], dim=1)
        values = torch.cat([state["values"], value], dim=1)
        valid = torch.cat([state["valid"], x.new_ones(x.shape[:2])], dim=1)
        attended = [
            self._attend(part, keys[:, start:], values[:, start:], valid[:, start:])
            for start, part in zip(range(0, x.shape[1], SCAN_BLOCK), query.split(SCAN_BLOCK, dim=1), strict=True)
        ]
        last = x.shape[1]
        return x + torch.cat(attended, dim=1), {
            "keys": keys[:, last:],
            "values": values[:, last:],
            "valid": valid[:, last:],
        }

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Query i sees the keys i ... i + frames - 1 of those given."""
        queries = query.shape[1]
        reach = queries + self.frames - 1
        keys, values, valid = keys[:, :reach], values[:, :reach], valid[:, :reach]
        offset = torch.arange(reach, device=query.device) - torch.arange(queries, device=query.device)[:, None]
        inside = ((offset >= 0) & (offset < self.frames)).to(query.dtype)
        scores = torch.bmm(query, keys.transpose(1, 2)) / math.sqrt(self.units)
        scores = scores + (1.0 - inside * valid[:, None]) * MASKED_SCORE
        return torch.bmm(F.softmax(scores, dim=-1), values)

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        query, key, value = self.project(x)
        keys = torch.cat([state["keys"], key], dim=1)
        values = torch.cat([state["values"], value], dim=1)
        valid = torch.cat([state["valid"], torch.ones_like(state["valid"][:, :1])], dim=1)
        scores = torch.bmm(query / math.sqrt(self.units), keys.transpose(1, 2))
        scores = scores + ((1.0 - valid) * MASKED_SCORE).unsqueeze(1)
        attended = torch.bmm(F.softmax(scores, dim=-1), values).squeeze(1)
        return x + attended, {"keys": keys[:, 1:], "values": values[:, 1:], "valid": valid[:, 1:]}

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value [batch, 1, units] of one frame."""
        return torch.chunk(self.query_key_value(x).unsqueeze(1), 3, dim=-1)
