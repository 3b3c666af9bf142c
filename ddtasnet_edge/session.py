"""What every runtime offers: one loaded bundle that advances a stream by one hop. Numpy in and out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.errors import StreamError
from ddtasnet_edge.spec import FloatArray, StreamSpec

# Far above any music (full scale is 1), far below where float32 arithmetic overflows and leaves NaN in the state.
LOUDEST = 1e6


class Session(ABC):
    """One stream on one runtime. The state lives inside, between steps; reset builds the initial state again.

    A subclass supplies `_run`, `_read_state`, `_write_state` and `_close`; the checks are here, once, and run
    before the runtime is called, so that a refused hop leaves the state untouched.
    """

    #: Name and version of the library that runs the graph, such as "onnxruntime 1.31.1".
    runtime: str

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._hop_shape = (spec.channels, spec.hop_length)
        self._closed = False

    def step(self, hop: FloatArray) -> FloatArray:
        """Advance by one hop.

        hop: float32 [channels, hop]. Returns stems, float32 [sources, channels, hop], in an array that belongs
        to the session and that the next step overwrites. Raises StreamError on a wrong shape, dtype, NaN or
        infinity.
        """
        self._require_open()
        check_samples(hop, self._hop_shape)
        return self._run(hop)

    def step_into(self, hop: FloatArray, out: FloatArray) -> None:
        """`step`, with the stems copied into an array of the caller's: `out`, float32 [sources, channels, hop]."""
        check_out(out, self.spec.stems_shape[1:])
        np.copyto(out, self.step(hop))

    def reset(self) -> None:
        """Back to the initial state, as if just opened."""
        self._require_open()
        self._write_state(self.spec.initial_state())

    def get_state(self) -> dict[str, FloatArray]:
        """A copy of the state, slot name to array."""
        self._require_open()
        return {name: np.array(value, dtype=np.float32) for name, value in self._read_state().items()}

    def set_state(self, state: Mapping[str, FloatArray]) -> None:
        """Continue from a state that `get_state` returned, of this session or of one on another runtime."""
        self._require_open()
        expected = {slot.name: slot.shape for slot in self.spec.slots}
        if set(state) != set(expected):
            odd = sorted(set(state) ^ set(expected))
            raise StreamError(f"state slots do not match the model: '{odd[0]}' is missing or unknown")
        for name, value in state.items():
            check_samples(value, expected[name], what=f"state slot '{name}'")
        self._write_state(state)

    def close(self) -> None:
        """Free the runtime. Closing twice is fine; anything else afterwards raises StreamError."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise StreamError("the session is closed; open the bundle again")

    @abstractmethod
    def _run(self, hop: FloatArray) -> FloatArray:
        """One checked hop through the runtime; advances the state."""

    @abstractmethod
    def _read_state(self) -> Mapping[str, FloatArray]:
        """The current state; may be views."""

    @abstractmethod
    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        """Replace the current state with copies of these arrays."""

    @abstractmethod
    def _close(self) -> None:
        """Drop the runtime's objects."""


def check_out(out: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise StreamError unless stems can be written into `out`."""
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or out.shape != shape or not out.flags.writeable:
        found = f"{out.dtype} {list(out.shape)}" if isinstance(out, np.ndarray) else type(out).__name__
        raise StreamError(f"out is {found}, expected a float32 array {list(shape)} that can be written")


def check_samples(samples: NDArray[Any], shape: tuple[int, ...], what: str = "hop") -> None:
    """Raise StreamError unless `samples` is a finite float32 array of `shape`."""
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32:
        kind = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise StreamError(f"{what} is {kind}, expected a float32 array; convert with numpy's astype('float32')")
    if samples.shape != shape:
        raise StreamError(f"{what} has shape {list(samples.shape)}, expected {list(shape)}")
    # NaN fails the comparison too. Two passes, but no array is made on every hop.
    if samples.size and not (samples.min() >= -LOUDEST and samples.max() <= LOUDEST):
        raise StreamError(
            f"{what} contains NaN or infinity or values above {LOUDEST:g}; full scale is 1, repair the input"
        )
