"""The matrix products of a model while it streams: seen by name, and computed otherwise if one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ddtasnet_edge.models.block import State
from ddtasnet_edge.models.ddtasnet import DDTasNet

#: layer, input [rows, ..., inputs], weight [outputs, inputs], bias [outputs] or None -> output [rows, ..., outputs]
Product = Callable[[str, Tensor, Tensor, "Tensor | None"], Tensor]


class ProductsAs(TorchFunctionMode):
    """While it is entered, every product with a weight of `model` is computed by `product`."""

    def __init__(self, model: DDTasNet, product: Product) -> None:
        super().__init__()
        self._names = {id(weight): name for name, weight in model.named_parameters() if weight.ndim == 2}
        self._product = product

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and not kwargs:
            x, weight, *bias = args
            name = self._names.get(id(weight))
            if name is not None:
                return self._product(name, x, weight, bias[0] if bias else None)
        return func(*args, **(kwargs or {}))


def stream_hops(model: DDTasNet, mix: Tensor, product: Product | None = None) -> Iterator[tuple[Tensor, State]]:
    """Stems [clips, sources, channels, hop] and state after each hop of clips [clips, channels, n], all side by side.

    Each clip has a state of its own. product: how to compute the products, None for plain float. A clip's last,
    unfinished hop is left out.
    """
    state = model.initial_state(mix)
    hop = model.config.hop_length
    with torch.inference_mode():
        for index in range(mix.shape[-1] // hop):
            samples = mix[..., index * hop : (index + 1) * hop]
            if product is None:
                stems, state = model.step(samples, state)
            else:
                with ProductsAs(model, product):
                    stems, state = model.step(samples, state)
            yield stems, state


def side_by_side(mixes: Sequence[np.ndarray[Any, Any]]) -> list[Tensor]:
    """Mixes [channels, n] stacked to [clips, channels, n], clips of one length in one tensor."""
    lengths = sorted({mix.shape[1] for mix in mixes})
    return [torch.from_numpy(np.stack([mix for mix in mixes if mix.shape[1] == length])) for length in lengths]
