"""OpenVINO on the CPU: two inference requests with preallocated tensors, one for each direction of the state."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import numpy as np
import openvino as ov

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.runtimes.graph_io import GraphSession, Shapes, StateBuffers, check_tensors
from ddtasnet_edge.spec import MIX, STEMS, FloatArray


class OpenVINOSession(GraphSession):
    """A bundle of target `openvino` on the CPU plugin, float32 arithmetic where the graph is float.

    On ARM the plugin runs quantized graphs in simulation mode (its documentation): correct, not faster.
    """

    runtime = f"openvino {ov.__version__.partition('-')[0]}"

    def __init__(self, bundle: Bundle, num_threads: int = 1) -> None:
        super().__init__(bundle.manifest.spec)
        if bundle.manifest.quantization and platform.machine().lower() in ("aarch64", "arm64"):
            self.runtime += " (INT8 simulated on ARM)"
        core = ov.Core()
        try:
            graph = core.read_model(bundle.graph_path)
            self._compiled = core.compile_model(graph, "CPU", self._options(num_threads))
        except RuntimeError as error:
            line = str(error).strip().splitlines()[-1]
            raise BundleError(f"{self.runtime} cannot load {bundle.graph_path}: {line}") from error
        check_tensors(bundle, _ports(graph.inputs), _ports(graph.outputs))
        self._hop = np.zeros(self.spec.mix_shape, dtype=np.float32)
        self._stems = np.zeros(self.spec.stems_shape, dtype=np.float32)
        self._state = StateBuffers(self.spec)
        self._requests = (self._request(0), self._request(1))

    def _options(self, num_threads: int) -> dict[str, str]:
        return {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(num_threads),
            # Newer x86 CPUs would otherwise compute in bfloat16, which misses the float parity gate.
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def _request(self, direction: int) -> ov.InferRequest:
        request = self._compiled.create_infer_request()
        arrays = {MIX: self._hop, STEMS: self._stems}
        arrays |= self._state.inputs(direction) | self._state.outputs(direction)
        for name, array in arrays.items():
            request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        return request

    def _run(self, hop: FloatArray) -> FloatArray:
        self._hop[0] = hop
        self.execute()
        self._state.advance()
        stems: FloatArray = self._stems[0]
        return stems

    def execute(self) -> None:
        """As `GraphSession.execute`."""
        request = self._requests[self._state.current]
        # Not `infer()`: that builds a dictionary of every output for each hop.
        request.start_async()
        request.wait()

    def _read_state(self) -> Mapping[str, FloatArray]:
        return self._state.read()

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._state.write(state)

    def _close(self) -> None:
        del self._requests, self._compiled


def _ports(ports: list[ov.Output]) -> Shapes:
    return {port.any_name: tuple(port.get_partial_shape().to_shape()) for port in ports}
