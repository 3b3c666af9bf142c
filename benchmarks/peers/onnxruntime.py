"""Peers on ONNX Runtime: exported as PyTorch's documentation has it, quantized as ONNX Runtime's has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.session import PeerSession
from ddtasnet_edge.benchmarks.peers.step import PositionalStep, initial_tensors, use_library_cells
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import StreamSpec

FILE = "step.onnx"


def build_peer(name: str, place: PeerPlace) -> None:
    """Export, or quantize what was exported."""
    destination = place.folder(name) / FILE
    if name == "onnx-gru":
        # The exporter of today takes nn.GRU apart; the one before it keeps the operator.
        _export(use_library_cells(place.model()), destination, dynamo=False)
    elif name in ("onnx", "onnx-plain"):
        _export(place.model(), destination, optimize=name == "onnx")
    else:
        _quantize(name, place.folder(name.removesuffix("-int8")) / FILE, destination)


def open_peer(name: str, place: PeerPlace) -> Session:
    """A session on one of them."""
    return OnnxPeer(place.spec(), place.folder(name) / FILE, place.threads)


def _export(model: DDTasNet, destination: Path, *, dynamo: bool = True, optimize: bool = True) -> None:
    spec = model.spec()
    with torch.no_grad():
        torch.onnx.export(
            PositionalStep(model),
            initial_tensors(model),
            destination,
            input_names=list(spec.input_shapes()),
            output_names=list(spec.output_shapes()),
            dynamo=dynamo,
            optimize=optimize,
        )


def _quantize(name: str, source: Path, destination: Path) -> None:
    if name == "onnx-int8":
        prepared = destination.with_name("prepared.onnx")
        quant_pre_process(source, prepared)
        quantize_dynamic(prepared, destination)
        prepared.unlink()
        return
    graph = onnx.load(source)
    if name == "onnx-plain-int8":
        # Stale after the exporter's passes: shape inference refuses the graph.
        del graph.graph.value_info[:]
    quantize_dynamic(graph, destination)


class OnnxPeer(PeerSession):
    """`InferenceSession.run` with a dictionary for every hop."""

    runtime = f"onnxruntime {ort.__version__}"

    def __init__(self, spec: StreamSpec, path: Path, threads: int) -> None:
        super().__init__(spec)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        # An exporter drops inputs that nothing reads.
        read = {tensor.name for tensor in self._session.get_inputs()}
        self._names = [(index, name) for index, name in enumerate(spec.input_shapes()) if name in read]

    def _infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        found: Sequence[Any] = self._session.run(None, {name: tensors[index] for index, name in self._names})
        return found

    def _close(self) -> None:
        del self._session
