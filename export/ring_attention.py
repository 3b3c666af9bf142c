"""A form of the skip attention that makes one row of its memory per hop and leaves the others where they are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.models.attention import MASKED_SCORE, SkipAttention
from ddtasnet_edge.models.block import State


class RingAttention(SkipAttention):
    """Attention does not ask in what order keys lie, so a new one may take the place of the oldest."""

    rings = ("keys", "values", "valid")

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        query, key, value = self.project(x)
        scores = torch.bmm(query / math.sqrt(self.units), torch.cat([state["keys"], key], dim=1).transpose(1, 2))
        scores = scores + F.pad((1.0 - state["valid"]) * MASKED_SCORE, (0, 1)).unsqueeze(1)
        attended = torch.bmm(F.softmax(scores, dim=-1), torch.cat([state["values"], value], dim=1)).squeeze(1)
        # One, whatever the input: converters do away with outputs that they see to be constant.
        valid = x[:, :1].clamp(1.0, 1.0)
        return x + attended, {"keys": key, "values": value, "valid": valid}
