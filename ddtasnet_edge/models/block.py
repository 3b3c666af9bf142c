"""The faces of every streaming block: `scan` over a sequence, `step` over one frame, `update` in a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class StreamBlock(nn.Module, ABC):
    """A causal layer whose memory is data.

    The contract, which one test function runs for every block: `forward(x)` on a sequence equals the `step`s
    over its frames, one after the other, and equals `scan` over any split of it into segments with the state
    carried across. Both faces are pure: they read `state`, return a new one and change nothing.

    Shapes: a sequence is [batch, time, ...], a frame [batch, ...]; batch comes first in every slot too.

    rings: slots [batch, rows, ...] of which a frame makes one row only, the newest; the oldest falls out.
    """

    rings: tuple[str, ...] = ()

    @abstractmethod
    def initial_state(self, like: Tensor) -> State:
        """The state before the first frame; batch size, dtype and device are those of `like`."""

    @abstractmethod
    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Process a sequence [batch, time, ...] that continues from `state`."""

    @abstractmethod
    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one frame [batch, ...]; of `rings`, in whatever order their rows lie, return the new row alone.

        This is what a graph computes: who runs it writes one row per hop instead of all of them.
        """

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one frame [batch, ...]."""
        y, new = self.update(x, state)
        return y, pushed(state, new)

    def forward(self, x: Tensor) -> Tensor:
        """Process a whole sequence [batch, time, ...] from the initial state."""
        return self.scan(x, self.initial_state(x))[0]


def pushed(state: State, new: State) -> State:
    """The state after an update: rows of rings behind those that are there, the oldest gone, all else replaced."""
    return {
        slot: value if value.shape == state[slot].shape else torch.cat([state[slot][:, value.shape[1] :], value], dim=1)
        for slot, value in new.items()
    }


def nest(name: str, state: State) -> State:
    """Slot names of a sub-block as its parent names them."""
    return {f"{name}_{slot}": value for slot, value in state.items()}


def pick(name: str, state: State) -> State:
    """The slots of one sub-block out of its parent's state; the inverse of `nest`."""
    prefix = f"{name}_"
    return {slot.removeprefix(prefix): value for slot, value in state.items() if slot.startswith(prefix)}
