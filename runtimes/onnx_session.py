"""ONNX Runtime with everything bound once: two bindings, one for each direction of the state buffers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.runtimes.graph_io import GraphSession, StateBuffers, check_tensors
from ddtasnet_edge.spec import MIX, STEMS, FloatArray


class OnnxSession(GraphSession):
    """A bundle of target `onnx` on the CPU execution provider."""

    runtime = f"onnxruntime {ort.__version__}"

    def __init__(self, bundle: Bundle, num_threads: int = 1) -> None:
        super().__init__(bundle.manifest.spec)
        try:
            self._session = ort.InferenceSession(
                str(bundle.graph_path), self._options(num_threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(f"{self.runtime} cannot load {bundle.graph_path}: {_first_line(error)}") from error
        check_tensors(
            bundle,
            {tensor.name: tuple(tensor.shape) for tensor in self._session.get_inputs()},
            {tensor.name: tuple(tensor.shape) for tensor in self._session.get_outputs()},
        )
        self._hop = np.zeros(self.spec.mix_shape, dtype=np.float32)
        self._stems = np.zeros(self.spec.stems_shape, dtype=np.float32)
        self._state = StateBuffers(self.spec)
        self._bindings = (self._bind(0), self._bind(1))

    def _options(self, num_threads: int) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        # A thread that spins between hops takes the core from the audio thread.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _bind(self, direction: int) -> ort.IOBinding:
        binding = self._session.io_binding()
        inputs: dict[str, FloatArray] = {MIX: self._hop} | self._state.inputs(direction)
        outputs: dict[str, FloatArray] = {STEMS: self._stems} | self._state.outputs(direction)
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def _run(self, hop: FloatArray) -> FloatArray:
        self._hop[0] = hop
        self.execute()
        self._state.advance()
        stems: FloatArray = self._stems[0]
        return stems

    def execute(self) -> None:
        """As `GraphSession.execute`."""
        self._session.run_with_iobinding(self._bindings[self._state.current])

    def _read_state(self) -> Mapping[str, FloatArray]:
        return self._state.read()

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._state.write(state)

    def _close(self) -> None:
        del self._bindings, self._session


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
