"""The reference: the PyTorch step itself, run eagerly. The only file here that needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.models.checkpoint import load_checkpoint
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.runtimes.graph_io import check_tensors
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, StreamSpec


class TorchSession(Session):
    """A bundle of target `torch`, whose graph file is the checkpoint; or a model in memory, see `from_model`.

    PyTorch has one thread count for the whole process; opening a session sets it.
    """

    runtime = f"torch {torch.__version__}"

    def __init__(self, bundle: Bundle, num_threads: int = 1) -> None:
        model = load_checkpoint(bundle.graph_path)
        check_tensors(bundle, model.spec().input_shapes(), model.spec().output_shapes())
        self._start(model, model.spec(), num_threads)

    @classmethod
    def from_model(cls, model: DDTasNet, num_threads: int = 1) -> TorchSession:
        """A session on a model in memory: what parity compares every other session with."""
        session = cls.__new__(cls)
        session._start(model, model.spec(), num_threads)
        return session

    def _start(self, model: DDTasNet, spec: StreamSpec, num_threads: int) -> None:
        super().__init__(spec)
        torch.set_num_threads(num_threads)
        self._model = model.eval()
        self._state = {name: torch.from_numpy(value) for name, value in self.spec.initial_state().items()}
        self._stems = np.empty(self.spec.stems_shape, dtype=np.float32)

    @torch.inference_mode()
    def _run(self, hop: FloatArray) -> FloatArray:
        # torch takes no array with a negative stride.
        mix = torch.from_numpy(np.ascontiguousarray(hop))[None]
        stems, self._state = self._model.step(mix, self._state)
        np.copyto(self._stems, stems.numpy())
        result: FloatArray = self._stems[0]
        return result

    def _read_state(self) -> Mapping[str, FloatArray]:
        return {name: value.numpy() for name, value in self._state.items()}

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self._state = {slot.name: torch.from_numpy(state[slot.name].copy()) for slot in self.spec.slots}

    def _close(self) -> None:
        del self._model, self._state


class ScanSession(TorchSession):
    """A model in memory that takes many hops per step: the same stems and state, several times sooner.

    For work that need not be in time. Its spec is the model's but for hop_length, which is `hops` hops of the
    model; that a scan equals the steps is the contract of every block.
    """

    def __init__(self, model: DDTasNet, hops: int) -> None:
        spec = model.spec()
        self._start(model, replace(spec, hop_length=hops * spec.hop_length), torch.get_num_threads())

    @torch.inference_mode()
    def _run(self, hop: FloatArray) -> FloatArray:
        samples = torch.from_numpy(np.ascontiguousarray(hop))
        sequence = torch.unflatten(samples, -1, (-1, self._model.config.hop_length)).transpose(0, 1)[None]
        stems, self._state = self._model.scan(sequence, self._state)
        np.copyto(self._stems, stems.movedim(1, -2).flatten(-2).numpy())
        result: FloatArray = self._stems[0]
        return result
