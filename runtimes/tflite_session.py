"""LiteRT (or, where it has no wheel, tflite-runtime): one interpreter, its tensors written and read in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.runtimes.graph_io import Ring, check_tensors
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import MIX, STEMS, FloatArray, slot_tensor_names

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

View = Callable[[], Any]


class TFLiteSession(Session):
    """A bundle of target `tflite` with the XNNPACK kernels of the interpreter.

    The interpreter forbids holding a view of its tensors while it runs, so views are taken per hop; the state
    is copied from the output tensors to the input tensors without passing through other memory, of rings the new row.
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
            with native_messages_hidden():
                self._interpreter = Interpreter(model_path=str(bundle.graph_path), num_threads=num_threads)
                self._interpreter.allocate_tensors()
            signature = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            line = str(error).strip().splitlines()[0]
            raise BundleError(f"{self.runtime} cannot load {bundle.graph_path}: {line}") from error
        inputs, outputs = signature.get_input_details(), signature.get_output_details()
        check_tensors(bundle, _shapes(inputs), _shapes(outputs))
        tensor = self._interpreter.tensor
        self._mix: View = tensor(inputs[MIX]["index"])
        self._stems: View = tensor(outputs[STEMS]["index"])
        names = {slot.name: slot_tensor_names(slot.name) for slot in self.spec.slots}
        self._state_in: dict[str, View] = {slot: tensor(inputs[name]["index"]) for slot, (name, _) in names.items()}
        self._state_out: dict[str, View] = {slot: tensor(outputs[name]["index"]) for slot, (_, name) in names.items()}
        self._rings = {slot.name: Ring() for slot in self.spec.slots if slot.ring}
        self._result = np.empty(self.spec.stems_shape[1:], dtype=np.float32)
        self._write_state(self.spec.initial_state())

    def _run(self, hop: FloatArray) -> FloatArray:
        self._mix()[0] = hop
        self._interpreter.invoke()
        np.copyto(self._result, self._stems()[0])
        for slot, state_in in self._state_in.items():
            if slot in self._rings:
                self._rings[slot].push(state_in(), self._state_out[slot]())
            else:
                np.copyto(state_in(), self._state_out[slot]())
        return self._result

    def _read_state(self) -> Mapping[str, FloatArray]:
        # Copies: a view that outlives this call would make the next invoke fail.
        return {
            slot: self._rings[slot].in_order(state_in()) if slot in self._rings else np.array(state_in())
            for slot, state_in in self._state_in.items()
        }

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        for slot, state_in in self._state_in.items():
            np.copyto(state_in(), state[slot])
        for ring in self._rings.values():
            ring.restart()

    def _close(self) -> None:
        del self._mix, self._stems, self._state_in, self._state_out, self._interpreter


def _is_dynamic(bundle: Bundle) -> bool:
    """Whether any product measures the range of its input on every hop."""
    layers = (bundle.manifest.quantization or {}).get("layers", {})
    return any(precision.startswith("dynamic") for precision in layers.values())


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """The interpreter announces its delegate on file descriptor 2, whatever the log level; errors are exceptions."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _shapes(details: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(size) for size in detail["shape"]) for name, detail in details.items()}
