"""Peers on ExecuTorch: the XNNPACK backend, float and dynamic INT8."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.session import PeerSession
from ddtasnet_edge.benchmarks.peers.step import PositionalStep, initial_tensors
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray, StreamSpec

FILE = "step.pte"


def build_peer(name: str, place: PeerPlace) -> None:
    """Export, quantize if asked for, and lower to XNNPACK."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower

    model = place.model()
    tensors, partitioners = initial_tensors(model), [XnnpackPartitioner()]
    with torch.no_grad():
        program = torch.export.export(PositionalStep(model), tensors)
        if name == "executorch-int8":
            program = torch.export.export(_quantize(program, tensors), tensors)
            # XnnpackPartitioner alone stops at "Invalid partition, found dependency cycles".
            partitioners.insert(0, XnnpackDynamicallyQuantizedPartitioner())
        lowered = to_edge_transform_and_lower(program, partitioner=partitioners).to_executorch()
    (place.folder(name) / FILE).write_bytes(lowered.buffer)


def open_peer(name: str, place: PeerPlace) -> Session:
    """A session on one of them."""
    return ExecuTorchPeer(place.spec(), place.folder(name) / FILE, place.threads)


def _quantize(program: torch.export.ExportedProgram, tensors: tuple[Tensor, ...]) -> torch.nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    prepared = prepare_pt2e(program.module(), XNNPACKQuantizer().set_global(config))
    prepared(*tensors)
    quantized: torch.nn.Module = convert_pt2e(prepared)
    return quantized


class ExecuTorchPeer(PeerSession):
    """`Method.execute` with a list for every hop."""

    runtime = f"executorch {version('executorch')}"

    def __init__(self, spec: StreamSpec, path: Path, threads: int) -> None:
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        super().__init__(spec)
        portable_lib._unsafe_reset_threadpool(threads)
        self._program = Runtime.get().load_program(path)
        self._method = self._program.load_method("forward")

    def _own(self, array: FloatArray) -> Any:
        return torch.from_numpy(array)

    def _infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        found: Sequence[Any] = self._method.execute(tensors)
        return found

    def _close(self) -> None:
        del self._method, self._program
