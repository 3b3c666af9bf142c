"""The step as a graph: state in and out as named tensors. What is traced, exported and compared."""

from __future__ import annotations

from torch import Tensor, nn

from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.spec import MIX, STEMS, slot_tensor_names


class StepGraph(nn.Module):
    """`model.update` with one keyword per graph input and one dictionary entry per graph output.

    Inputs `mix` [1, channels, hop] and `<slot>_in`; outputs `stems` [1, sources, channels, hop] and
    `<slot>_out`, of a ring its new row, in the order of the StreamSpec. Names, not positions, pair the two.
    """

    def __init__(self, model: DDTasNet) -> None:
        super().__init__()
        self.model = model
        self.slots = tuple(slot.name for slot in model.spec().slots)

    def forward(self, **tensors: Tensor) -> dict[str, Tensor]:
        state = {slot: tensors[slot_tensor_names(slot)[0]] for slot in self.slots}
        stems, new_state = self.model.update(tensors[MIX], state)
        return {STEMS: stems} | {slot_tensor_names(slot)[1]: new_state[slot] for slot in self.slots}
