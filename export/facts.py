"""What a converted graph holds, in the same words for every target, and the checks it must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ddtasnet_edge.errors import ExportError
from ddtasnet_edge.spec import StreamSpec

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class TensorFacts:
    """Shape and dtype of a graph input or output; a dimension that is not fixed is a string."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class MatrixProduct:
    """A product with a constant weight: the graph's name for it, the model's layer, and the stored weight.

    weight_bytes: what a step reads of it, scales and zero points included.
    """

    node: str
    layer: str | None
    shape: tuple[int, ...]
    dtype: str
    weight_bytes: int


@dataclass(frozen=True)
class GraphFacts:
    """Everything that is asserted or recorded about a graph.

    weight_bytes: bytes of all constants that a step reads, scales and zero points included. One that several operators
    read counts once, one that none reads not at all.
    """

    inputs: Mapping[str, TensorFacts]
    outputs: Mapping[str, TensorFacts]
    ops: Mapping[str, int]
    custom_ops: tuple[str, ...]
    products: tuple[MatrixProduct, ...]
    weight_bytes: int


def with_layers_of(facts: GraphFacts, original: GraphFacts) -> GraphFacts:
    """The same facts with the layers that `original`, the graph before it was quantized, has for products of a name.

    Integers cannot be recognised as a layer by their values.
    """
    layers = {product.node: product.layer for product in original.products}
    named = (replace(product, layer=product.layer or layers.get(product.node)) for product in facts.products)
    return replace(facts, products=tuple(named))


def check_graph(facts: GraphFacts, spec: StreamSpec) -> None:
    """Raise ExportError unless names, shapes and dtypes are those of `spec`, all axes are fixed and no op is custom."""
    for kind, found, expected in (
        ("input", facts.inputs, spec.input_shapes()),
        ("output", facts.outputs, spec.output_shapes()),
    ):
        if set(found) != set(expected):
            odd = sorted(set(found) ^ set(expected))
            raise ExportError(f"graph {kind} '{odd[0]}' is missing or unknown: the converter lost or renamed a tensor")
        for name, tensor in found.items():
            if tensor.shape != expected[name]:
                raise ExportError(
                    f"graph {kind} '{name}' has shape {list(tensor.shape)}, the model has {list(expected[name])}; "
                    "every axis must be fixed"
                )
            if tensor.dtype != "float32":
                raise ExportError(f"graph {kind} '{name}' is {tensor.dtype}, expected float32")
    if facts.custom_ops:
        raise ExportError(f"the graph needs custom ops that plain runtimes lack: {', '.join(facts.custom_ops)}")
    complex_ops = [op for op in facts.ops if "complex" in op.lower()]
    if complex_ops:
        raise ExportError(f"the graph uses complex numbers: {', '.join(complex_ops)}")


def check_products(facts: GraphFacts, layers: frozenset[str]) -> None:
    """Raise ExportError unless every layer of the model appears in the graph as exactly one matrix product."""
    found = [product.layer for product in facts.products if product.layer]
    missing, doubled = layers - set(found), {layer for layer in found if found.count(layer) > 1}
    if missing or doubled:
        raise ExportError(
            f"matrix products and layers do not match: missing {sorted(missing) or 'none'}, "
            f"more than once {sorted(doubled) or 'none'}"
        )
