"""A peer as a session: it takes the state as arguments and returns it, and its caller carries it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, StreamSpec


class PeerSession(Session):
    """Calls the runtime as its documentation shows first, and hands what came out of one hop to the next.

    Nothing is bound or preallocated: what that costs is part of the comparison.
    """

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        self._state: list[Any] = []
        self._write_state(spec.initial_state())

    def _run(self, hop: FloatArray) -> FloatArray:
        stems, *self._state = self._infer([self._own(np.ascontiguousarray(hop[None])), *self._state])
        found: FloatArray = np.asarray(stems)[0]
        return found

    def _read_state(self) -> Mapping[str, FloatArray]:
        return {slot.name: np.asarray(value) for slot, value in zip(self.spec.slots, self._state, strict=True)}

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._state = [self._own(state[slot.name].copy()) for slot in self.spec.slots]

    def _own(self, array: FloatArray) -> Any:
        """An array as the runtime wants it."""
        return array

    @abstractmethod
    def _infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """`mix` and the state, in the order of the spec, to `stems` and the new state in that order."""
