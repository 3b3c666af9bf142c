"""Which matrix product in a graph is which layer of the model.

A layer is a learned matrix. The constant matrices of the DFT are none: they are buffers, which the model rebuilds, and
no recipe touches their products.

Converters rename, transpose and fold weights, each in its own way; the values survive. A product is therefore
recognised by its weight, up to transposition, and every report can speak of layers whatever the target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.models.ddtasnet import DDTasNet


class Layers:
    """The matrix weights of a model by their values: every two-dimensional parameter."""

    def __init__(self, model: DDTasNet) -> None:
        self._names: dict[bytes, list[str]] = {}
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                self._names.setdefault(_fingerprint(weight.detach().numpy()), []).append(name)

    @property
    def names(self) -> frozenset[str]:
        """Every layer that a graph must hold, such as `fusion.rnn.weight_hh_l0`."""
        return frozenset(name for names in self._names.values() for name in names)

    def naming(self) -> Callable[[NDArray[np.generic]], str | None]:
        """A function for one pass over a graph: weight -> its layer, None for a constant that is no layer.

        Layers of equal weight (zeros, say) are handed out one after the other, in the order of the model.
        """
        left = {fingerprint: list(names) for fingerprint, names in self._names.items()}

        def name_of(weight: NDArray[np.generic]) -> str | None:
            names = next((left[key] for key in _fingerprints(weight) if key in left), [])
            return names.pop(0) if names else None

        return name_of


def _fingerprints(weight: NDArray[np.generic]) -> tuple[bytes, ...]:
    """Of a stored weight and of its transpose, axes of size one left out; none for what cannot be a layer."""
    matrix = weight.reshape([size for size in weight.shape if size != 1] or [1])
    if matrix.ndim == 1:
        matrix = matrix[None]
    if matrix.ndim != 2 or matrix.dtype != np.float32:
        return ()
    return _fingerprint(matrix), _fingerprint(matrix.T)


def _fingerprint(matrix: NDArray[np.generic]) -> bytes:
    shape = repr(matrix.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(matrix).tobytes()).digest()
