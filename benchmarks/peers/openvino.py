"""Peers on OpenVINO: converted straight from PyTorch, quantized by NNCF with its defaults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openvino as ov
import torch

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.session import PeerSession
from ddtasnet_edge.benchmarks.peers.step import PositionalStep, initial_tensors
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import StreamSpec

FILE = "step.xml"
# As many samples as nncf.quantize takes by default.
CALIBRATION_HOPS = 300


def build_peer(name: str, place: PeerPlace) -> None:
    """Convert, or quantize what was converted."""
    graph = _convert(place) if name == "openvino" else _quantize(name, place)
    # Weights are halved to float16 on disk, which is the default.
    ov.save_model(graph, place.folder(name) / FILE)


def open_peer(name: str, place: PeerPlace) -> Session:
    """A session on one of them."""
    return OpenVINOPeer(place.spec(), place.folder(name) / FILE, place.threads)


def _convert(place: PeerPlace) -> ov.Model:
    model = place.model()
    tensors = initial_tensors(model)
    shapes = [tuple(tensor.shape) for tensor in tensors]
    return ov.convert_model(PositionalStep(model), example_input=tensors, input=shapes)


def _quantize(name: str, place: PeerPlace) -> ov.Model:
    import nncf

    graph = ov.Core().read_model(place.folder("openvino") / FILE)
    if name == "openvino-weights":
        return nncf.compress_weights(graph)
    return nncf.quantize(graph, nncf.Dataset(list(_calibration(place))))


def _calibration(place: PeerPlace) -> Iterator[list[Any]]:
    """The inputs of consecutive hops, with the state that the step in PyTorch carries."""
    model = place.model()
    step, (_, *state) = PositionalStep(model), initial_tensors(model)
    for hop in place.hops()[:CALIBRATION_HOPS]:
        tensors = [torch.from_numpy(hop[None].copy()), *state]
        yield [tensor.numpy() for tensor in tensors]
        with torch.no_grad():
            _, *state = step(*tensors)


class OpenVINOPeer(PeerSession):
    """The compiled model called with a list for every hop, in whatever precision the plugin takes by itself."""

    runtime = f"openvino {ov.__version__.partition('-')[0]}"

    def __init__(self, spec: StreamSpec, path: Path, threads: int) -> None:
        super().__init__(spec)
        self._compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads})

    def _infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        return list(self._compiled(tensors).values())

    def _close(self) -> None:
        del self._compiled
