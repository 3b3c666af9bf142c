"""Every way to run the step of a model, by name. A new one is one line here, built and opened in `<runtime>.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol, cast

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.dependencies import import_backend
from ddtasnet_edge.session import Session

#: The row that all speeds are compared with.
REFERENCE = "torch-eager"

# What a runtime needs beside PyTorch, by import name.
PACKAGES = {
    "torch": (),
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("litert_torch", "ai_edge_litert"),
    "executorch": ("executorch", "torchao"),
}


@dataclass(frozen=True)
class Peer:
    """One way to run the step of a model.

    bits: of its weights; runtime: the library that runs it; how: it is made, for the report; base: the peer whose graph
    it starts from; needs: packages beyond those of its runtime; extra: of this package, brings all that it needs;
    ours: True for a bundle of this project.
    """

    name: str
    bits: int
    runtime: str
    how: str
    base: str | None = None
    needs: tuple[str, ...] = ()
    extra: str = "export"
    ours: bool = False

    def missing(self) -> str | None:
        """Which package it lacks here; None when it has all. What ours lack, their compiler says."""
        packages = () if self.ours else (*PACKAGES[self.runtime], *self.needs)
        absent = [package for package in packages if find_spec(package) is None]
        return f"{', '.join(absent)} not installed: pip install 'ddtasnet-edge[{self.extra}]'" if absent else None


class PeerModule(Protocol):
    """What the module of every runtime offers."""

    def build_peer(self, name: str, place: PeerPlace) -> None:
        """Write what `open_peer` reads into `place.folder(name)`. Raises whatever the tools raise."""

    def open_peer(self, name: str, place: PeerPlace) -> Session:
        """An open session; without state, one that recomputes what it needs."""


def peer_module(peer: Peer) -> PeerModule:
    """The module that builds and opens a peer; importing it imports its tools."""
    name = "ours" if peer.ours else peer.runtime
    return cast(PeerModule, import_backend(f"ddtasnet_edge.benchmarks.peers.{name}"))


def _by_nncf(name: str, how: str) -> Peer:
    return Peer(name, 8, "openvino", f"the same, {how}", base="openvino", needs=("nncf",), extra="peers")


def _by_ai_edge_quantizer(name: str, how: str) -> Peer:
    return Peer(name, 8, "litert", f"the same, {how}", base="litert", needs=("ai_edge_quantizer",), extra="peers")


_OF_OTHERS = (
    Peer(REFERENCE, 32, "torch", "the step, eagerly"),
    Peer("torch-window", 32, "torch", "no state: forward over the last second for every hop"),
    Peer("torch-compile", 32, "torch", "torch.compile(step), allow_rnn as its warning advises"),
    Peer("torch-aoti", 32, "torch", "torch.export, aoti_compile_and_package"),
    Peer("onnx", 32, "onnxruntime", "torch.onnx.export(step)"),
    Peer("onnx-int8", 8, "onnxruntime", "the same, quant_pre_process, quantize_dynamic", base="onnx"),
    Peer("onnx-plain", 32, "onnxruntime", "torch.onnx.export(step, optimize=False)"),
    Peer("onnx-plain-int8", 8, "onnxruntime", "the same, value_info removed, quantize_dynamic", base="onnx-plain"),
    Peer(
        "onnx-gru", 32, "onnxruntime", "torch.onnx.export(dynamo=False) with nn.GRU or nn.LSTM, which become operators"
    ),
    Peer("onnx-gru-int8", 8, "onnxruntime", "the same, quantize_dynamic", base="onnx-gru"),
    Peer("openvino", 32, "openvino", "convert_model(step, input=shapes), save_model"),
    _by_nncf("openvino-weights", "nncf.compress_weights"),
    _by_nncf("openvino-ptq", "nncf.quantize on consecutive hops with carried state"),
    Peer("litert", 32, "litert", "litert_torch.convert(step)"),
    _by_ai_edge_quantizer("litert-int8", "ai-edge-quantizer, recipe.dynamic_wi8_afp32()"),
    _by_ai_edge_quantizer("litert-int8-fc", "that recipe for FULLY_CONNECTED alone"),
    Peer("executorch", 32, "executorch", "torch.export, XnnpackPartitioner", extra="executorch"),
    Peer(
        "executorch-int8",
        8,
        "executorch",
        "XNNPACKQuantizer (per channel, dynamic), XnnpackDynamicallyQuantizedPartitioner, XnnpackPartitioner",
        extra="executorch",
    ),
)

#: Runtime of each of our targets.
RUNTIME_OF = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "litert"}
#: Our recipes, with the bits of their weights.
RECIPES = {"float32": 32, "static_wi8_ai8": 8, "dynamic_wi8_afp32": 8, "dynamic_wi4b64_wi8_afp32": 4}


def our_name(target: str, recipe: str) -> str:
    """The name under which a bundle of ours is compared."""
    return f"ours-{target}-{recipe}"


_OURS = (
    Peer(our_name(target, recipe), bits, runtime, f"bundle of target {target}, recipe {recipe}", ours=True)
    for target, runtime in RUNTIME_OF.items()
    for recipe, bits in RECIPES.items()
)

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in (*_OF_OTHERS, *_OURS)}
