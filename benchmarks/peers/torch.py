"""Peers of PyTorch itself: eager, without state, compiled as it runs, compiled ahead of time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.session import PeerSession
from ddtasnet_edge.benchmarks.peers.step import PositionalStep, initial_tensors
from ddtasnet_edge.errors import MissingDependencyError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.runtimes.torch_session import TorchSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, StreamSpec

# What the sliding window remembers: longer sounds more like the stream and costs more, in proportion.
WINDOW_SECONDS = 1.0
PACKAGE = "step.pt2"

Step = Callable[..., Sequence[Tensor]]


def build_peer(name: str, place: PeerPlace) -> None:
    """Compile; the others start from the checkpoint."""
    if name == "torch-compile":
        # Filled here and read by every later process: kernels are compiled once.
        open_peer(name, place).step(np.zeros(place.spec().mix_shape[1:], dtype=np.float32))
    if name == "torch-aoti":
        _require_compiler()
        torch.set_num_threads(place.threads)
        model = place.model()
        with torch.no_grad():
            program = torch.export.export(PositionalStep(model), initial_tensors(model))
            torch._inductor.aoti_compile_and_package(program, package_path=str(place.folder(name) / PACKAGE))


def open_peer(name: str, place: PeerPlace) -> Session:
    """A session on one of them."""
    torch.set_num_threads(place.threads)
    if name == "torch-aoti":
        package = str(place.folder(name) / PACKAGE)
        return CompiledSession(place.spec(), torch._inductor.aoti_load_package(package))
    if name == "torch-compile":
        return CompiledSession(place.spec(), _compile(place.model()))
    if name == "torch-window":
        return WindowSession(place.model())
    return TorchSession.from_model(place.model(), place.threads)


def _compile(model: DDTasNet) -> Step:
    _require_compiler()
    # Without it the weights of nn.GRU cannot be traced, the graph breaks at every memory, and the result is slower
    # than eager.
    torch._dynamo.config.allow_rnn = True  # type: ignore[attr-defined, unused-ignore]
    compiled: Step = torch.compile(PositionalStep(model))
    return compiled


def _require_compiler() -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise MissingDependencyError(f"no C++ compiler '{compiler}': install g++, or name one in CXX")


class CompiledSession(PeerSession):
    """A compiled step; the state stays in tensors."""

    runtime = f"torch {torch.__version__}"

    def __init__(self, spec: StreamSpec, step: Step) -> None:
        super().__init__(spec)
        self._step = step

    def _own(self, array: FloatArray) -> Any:
        return torch.from_numpy(array)

    @torch.inference_mode()
    def _infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        # Some of the state comes out as slices of larger tensors. Code compiled ahead of time takes the strides that it
        # was exported with for granted, and read wrong numbers: -4.6 dB SNR.
        return [tensor.contiguous() for tensor in self._step(*tensors)]

    def _close(self) -> None:
        del self._step


class WindowSession(Session):
    """What one does without explicit state: the whole clip model over the last second, for every hop anew.

    Its stems lag by the algorithmic latency, as those of the step, so that every frame that covers them is there.
    """

    runtime = f"torch {torch.__version__}"

    def __init__(self, model: DDTasNet) -> None:
        super().__init__(model.spec())
        self._model = model
        hops = int(WINDOW_SECONDS * self.spec.sample_rate / self.spec.hop_length)
        self._window = torch.zeros(1, self.spec.channels, hops * self.spec.hop_length)

    @torch.inference_mode()
    def _run(self, hop: FloatArray) -> FloatArray:
        newest = torch.from_numpy(np.ascontiguousarray(hop))[None]
        self._window = torch.cat([self._window[..., hop.shape[1] :], newest], dim=-1)
        end = self._window.shape[-1] - self.spec.algorithmic_latency
        stems: FloatArray = self._model(self._window)[0, ..., end - hop.shape[1] : end].numpy()
        return stems

    def _read_state(self) -> Mapping[str, FloatArray]:
        return {}

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:  # noqa: ARG002 - its past is all that it has
        self._window = torch.zeros_like(self._window)

    def _close(self) -> None:
        del self._model
