"""Which matrix product in a graph is which layer of the model.

Converters rename, transpose and fold weights, each in its own way; the values survive. A product is therefore
recognised by its weight, up to transposition, and every report can speak of layers whatever the target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.models.ddtasnet import DDTasNet


class Layers:
    """The matrix weights of a model by their values: every two-dimensional parameter and buffer."""

    def __init__(self, model: DDTasNet) -> None:
        weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._names: Mapping[bytes, str] = {
            _fingerprint(weight.detach().numpy()): name for name, weight in weights.items() if weight.ndim == 2
        }

    @property
    def names(self) -> frozenset[str]:
        """Every layer that a graph must hold, such as `fusion.rnn.weight_hh_l0`."""
        return frozenset(self._names.values())

    def name_of(self, weight: NDArray[np.generic]) -> str | None:
        """The layer with this weight, or with its transpose; None for a constant that is no layer."""
        matrix = weight.reshape([size for size in weight.shape if size != 1] or [1])
        if matrix.ndim == 1:
            matrix = matrix[None]
        if matrix.ndim != 2 or matrix.dtype != np.float32:
            return None
        return self._names.get(_fingerprint(matrix)) or self._names.get(_fingerprint(matrix.T))


def _fingerprint(matrix: NDArray[np.generic]) -> bytes:
    shape = repr(matrix.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(matrix).tobytes()).digest()
