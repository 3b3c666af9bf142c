"""Peers on LiteRT: litert-torch, and ai-edge-quantizer with its own recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert import __version__ as litert_version
from ai_edge_litert.interpreter import Interpreter

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.session import PeerSession
from ddtasnet_edge.benchmarks.peers.step import PositionalStep, initial_tensors
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import StreamSpec

FILE = "step.tflite"


def build_peer(name: str, place: PeerPlace) -> None:
    """Convert, or quantize what was converted."""
    destination = place.folder(name) / FILE
    if name == "litert":
        _convert(place, destination)
    else:
        _quantize(name, place.folder("litert") / FILE, destination)


def open_peer(name: str, place: PeerPlace) -> Session:
    """A session on one of them."""
    return LiteRTPeer(place.spec(), place.folder(name) / FILE, place.threads)


def _convert(place: PeerPlace, destination: Path) -> None:
    import litert_torch

    model = place.model()
    litert_torch.convert(PositionalStep(model), initial_tensors(model)).export(str(destination))


def _quantize(name: str, source: Path, destination: Path) -> None:
    from ai_edge_quantizer import qtyping, quantizer, recipe

    if name == "litert-int8":
        work = quantizer.Quantizer(str(source), recipe.dynamic_wi8_afp32())
    else:
        # The recipe takes every operator that it can, and LiteRT then refuses a BATCH_MATMUL of the DFT.
        work = quantizer.Quantizer(str(source))
        work.add_dynamic_config(".*", qtyping.TFLOperationName.FULLY_CONNECTED, num_bits=8)
    work.quantize().export_model(str(destination))


class LiteRTPeer(PeerSession):
    """The signature runner with keywords for every hop, under the names that litert-torch gives to positions."""

    runtime = f"ai-edge-litert {litert_version}"

    def __init__(self, spec: StreamSpec, path: Path, threads: int) -> None:
        super().__init__(spec)
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._runner = self._interpreter.get_signature_runner()

    def _infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        found = self._runner(**{f"args_{index}": tensor for index, tensor in enumerate(tensors)})
        return [found[f"output_{index}"] for index in range(len(found))]

    def _close(self) -> None:
        del self._runner, self._interpreter
