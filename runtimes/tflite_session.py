"""LiteRT (or, where it has no wheel, tflite-runtime): one interpreter, its tensors written and read in place."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.native import native_messages_hidden
from ddtasnet_edge.runtimes.graph_io import CopiedState, GraphSession, check_tensors
from ddtasnet_edge.spec import MIX, STEMS, FloatArray

try:
    import ai_edge_litert as _package
    from ai_edge_litert.interpreter import Interpreter

    RUNTIME = f"ai-edge-litert {_package.__version__}"
    DYNAMIC_PRODUCTS = True
except ImportError:
    import tflite_runtime as _package
    from tflite_runtime.interpreter import Interpreter

    RUNTIME = f"tflite-runtime {_package.__version__}"
    # Its kernel takes the scale of the first channel for all of them: measured 1 dB SNR where LiteRT has 40.
    DYNAMIC_PRODUCTS = False

Details: TypeAlias = Mapping[str, Mapping[str, Any]]


class TFLiteSession(GraphSession):
    """A bundle of target `tflite` with the XNNPACK kernels of the interpreter.

    Its tensors are read and written where they lie, by arrays that are made once.
    """

    runtime = RUNTIME

    def __init__(self, bundle: Bundle, num_threads: int = 1) -> None:
        super().__init__(bundle.manifest.spec)
        if _is_dynamic(bundle) and not DYNAMIC_PRODUCTS:
            raise BundleError(
                f"{self.runtime} computes {bundle.manifest.recipe} wrongly, with one scale for all channels; "
                "install ai-edge-litert, or export with --int8"
            )
        try:
            # The interpreter announces its delegate, whatever the log level.
            with native_messages_hidden():
                self._interpreter = Interpreter(model_path=str(bundle.graph_path), num_threads=num_threads)
                self._interpreter.allocate_tensors()
            signature = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            line = str(error).strip().splitlines()[0]
            raise BundleError(f"{self.runtime} cannot load {bundle.graph_path}: {line}") from error
        inputs, outputs = signature.get_input_details(), signature.get_output_details()
        check_tensors(bundle, _shapes(inputs), _shapes(outputs))
        tensors_in, tensors_out = self._tensors(inputs), self._tensors(outputs)
        self._mix, self._stems = tensors_in[MIX][0], tensors_out[STEMS][0]
        self._state = CopiedState(self.spec, tensors_in, tensors_out)
        self._result = np.empty(self.spec.stems_shape[1:], dtype=np.float32)

    def _tensors(self, details: Details) -> dict[str, FloatArray]:
        return {name: _at_address(self._interpreter.tensor(detail["index"])()) for name, detail in details.items()}

    def _run(self, hop: FloatArray) -> FloatArray:
        np.copyto(self._mix, hop)
        self.execute()
        # Copied: the memory is the interpreter's and gone when the session is closed.
        np.copyto(self._result, self._stems)
        self._state.advance()
        return self._result

    def execute(self) -> None:
        """As `GraphSession.execute`."""
        self._interpreter.invoke()

    def _read_state(self) -> Mapping[str, FloatArray]:
        return self._state.read()

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._state.write(state)

    def _close(self) -> None:
        del self._mix, self._stems, self._state, self._interpreter


def _is_dynamic(bundle: Bundle) -> bool:
    """Whether any product measures the range of its input on every hop."""
    layers = (bundle.manifest.quantization or {}).get("layers", {})
    return any(precision.startswith("dynamic") for precision in layers.values())


def _at_address(view: FloatArray) -> FloatArray:
    """An array over the same memory that the interpreter does not know of.

    It refuses to run while anybody holds a view of a tensor, because memory moves when tensors are allocated again;
    here they are allocated once, and taking views on every hop costs a fifth of a step of `tiny`.
    """
    memory = (ctypes.c_float * view.size).from_address(view.ctypes.data)
    return np.ctypeslib.as_array(memory).reshape(view.shape)


def _shapes(details: Details) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(size) for size in detail["shape"]) for name, detail in details.items()}
