"""Target `torch`: the checkpoint itself as a bundle, the reference that runs wherever PyTorch does."""

from __future__ import annotations

from pathlib import Path

from ddtasnet_edge.export.facts import GraphFacts, MatrixProduct, TensorFacts
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.trace import trace_step
from ddtasnet_edge.models.checkpoint import load_checkpoint, save_checkpoint
from ddtasnet_edge.models.ddtasnet import DDTasNet

FILES = ("model.safetensors",)


def export_graph(model: DDTasNet, folder: Path) -> None:
    """Write the checkpoint."""
    save_checkpoint(model, folder / FILES[0])


def inspect_graph(folder: Path, layers: Layers) -> GraphFacts:
    """Facts of the model; the operators are those of its exported program."""
    model = load_checkpoint(folder / FILES[0])
    ops: dict[str, int] = {}
    for node in trace_step(model).graph.nodes:
        if node.op == "call_function":
            ops[str(node.target)] = ops.get(str(node.target), 0) + 1
    spec = model.spec()
    tensors = [*model.named_parameters(), *model.named_buffers()]
    name_of = layers.naming()
    products = tuple(
        MatrixProduct(name, name_of(tensor.detach().numpy()), tuple(tensor.shape), "float32", 4 * tensor.numel())
        for name, tensor in model.named_parameters()
        if tensor.ndim == 2
    )
    return GraphFacts(
        inputs={name: TensorFacts(shape, "float32") for name, shape in spec.input_shapes().items()},
        outputs={name: TensorFacts(shape, "float32") for name, shape in spec.output_shapes().items()},
        ops=ops,
        custom_ops=(),
        products=products,
        weight_bytes=sum(tensor.numel() * tensor.element_size() for _, tensor in tensors),
    )


def embed_metadata(folder: Path, metadata: dict[str, str]) -> None:
    """Nothing to add: the checkpoint carries its configuration, from which the spec follows."""
