"""Exported graphs: what `check_graph` and `check_products` refuse, and what every real graph is and holds."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import ConfigError, ExportError
from ddtasnet_edge.export import EXPORTERS, exporter_for
from ddtasnet_edge.export.facts import GraphFacts, MatrixProduct, TensorFacts, check_graph, check_products
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.trace import converter_output_captured, example_inputs, output_nodes, trace_step
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.models.spectral import TINY_POWER
from ddtasnet_edge.models.time_codec import ENERGY_FLOOR
from ddtasnet_edge.spec import StreamSpec
from tests.bundles import EVERY, FLOAT, Workshop
from tests.graphs import READERS, read_graph
from tests.small import small_config

MODEL = create_model(small_config())
SPEC = MODEL.spec()
LAYERS = frozenset({"mask.weight", "fusion.weight"})

Tensors = Mapping[str, TensorFacts]


def good_facts() -> GraphFacts:
    return GraphFacts(
        inputs={name: TensorFacts(shape, "float32") for name, shape in SPEC.input_shapes().items()},
        outputs={name: TensorFacts(shape, "float32") for name, shape in SPEC.output_shapes().items()},
        ops={"MatMul": 2, "Add": 3},
        custom_ops=(),
        products=(
            MatrixProduct("a", "mask.weight", (4, 4), "float32", 64),
            MatrixProduct("b", "fusion.weight", (4, 4), "float32", 64),
            MatrixProduct("c", None, (4, 4), "float32", 64),
        ),
        weight_bytes=128,
    )


def without(tensors: Tensors, name: str) -> Tensors:
    return {key: value for key, value in tensors.items() if key != name}


def test_good_facts_pass() -> None:
    check_graph(good_facts(), SPEC)
    check_products(good_facts(), LAYERS)


GOOD = good_facts()
BATCHED = TensorFacts((2, *SPEC.mix_shape[1:]), "float32")
DYNAMIC = TensorFacts(("batch", *SPEC.stems_shape[1:]), "float32")
BAD_GRAPHS: dict[str, tuple[GraphFacts, str]] = {
    "lost input": (replace(GOOD, inputs=without(GOOD.inputs, "fusion_hidden_in")), "input 'fusion_hidden_in' is miss"),
    "lost output": (replace(GOOD, outputs=without(GOOD.outputs, "stems")), "output 'stems' is missing"),
    "renamed input": (
        replace(GOOD, inputs={**without(GOOD.inputs, "mix"), "args_0": GOOD.inputs["mix"]}),
        "graph input 'args_0' is missing or unknown",
    ),
    "extra output": (replace(GOOD, outputs={**GOOD.outputs, "zz": BATCHED}), "graph output 'zz' is missing or unkn"),
    "shape": (replace(GOOD, inputs={**GOOD.inputs, "mix": BATCHED}), r"'mix' has shape \[2, 2, 32\], .* \[1, 2, 32\]"),
    "dynamic axis": (replace(GOOD, outputs={**GOOD.outputs, "stems": DYNAMIC}), r"'stems' .*'batch'.*must be fixed"),
    "input dtype": (
        replace(GOOD, inputs={**GOOD.inputs, "mix": TensorFacts(SPEC.mix_shape, "int8")}),
        "graph input 'mix' is int8, expected float32",
    ),
    "state dtype": (
        replace(GOOD, outputs={**GOOD.outputs, "time_cbam_age_out": TensorFacts((1, 1), "float16")}),
        "graph output 'time_cbam_age_out' is float16, expected float32",
    ),
    "custom op": (replace(GOOD, custom_ops=("pytorch.stft",)), "needs custom ops that plain runtimes lack: pytorch.s"),
    "complex op": (replace(GOOD, ops={"ComplexAbs": 1}), "uses complex numbers: ComplexAbs"),
}


@pytest.mark.parametrize("name", BAD_GRAPHS)
def test_a_graph_that_breaks_the_contract_is_refused(name: str) -> None:
    facts, message = BAD_GRAPHS[name]
    with pytest.raises(ExportError, match=message) as caught:
        check_graph(facts, SPEC)
    assert "\n" not in str(caught.value)


def test_a_lost_layer_is_refused() -> None:
    with pytest.raises(ExportError, match=r"missing \['mask.weight'\], more than once none"):
        check_products(replace(GOOD, products=GOOD.products[1:]), LAYERS)


def test_a_doubled_layer_is_refused() -> None:
    with pytest.raises(ExportError, match=r"missing none, more than once \['mask.weight'\]"):
        check_products(replace(GOOD, products=(*GOOD.products, GOOD.products[0])), LAYERS)


def test_a_layer_is_known_by_its_weight_in_any_orientation() -> None:
    layers = Layers(MODEL)
    weight = MODEL.fusion.rnn.weight_hh_l0.detach().numpy()
    for form in (weight, weight.T, weight[None], np.asfortranarray(weight)):
        assert layers.naming()(form) == "fusion.rnn.weight_hh_l0"
    assert layers.naming()(weight + 1e-6) is None
    assert layers.naming()(weight[1:]) is None
    assert layers.naming()(weight.astype(np.float64)) is None
    assert layers.naming()(MODEL.fusion.rnn.bias_hh_l0.detach().numpy()) is None


def test_layers_of_equal_weight_are_told_apart_by_their_order() -> None:
    """A trained network may hold two matrices of zeros; each is still found once."""
    model = create_model(small_config())
    with torch.no_grad():
        for block in (model.time_cbam, model.spectral_cbam):
            block.excite.weight.zero_()
    layers = Layers(model)
    zeros = model.time_cbam.excite.weight.detach().numpy()
    name_of = layers.naming()
    assert [name_of(zeros), name_of(zeros.T)] == ["time_cbam.excite.weight", "spectral_cbam.excite.weight"]
    assert name_of(zeros) is None
    assert layers.naming()(zeros) == "time_cbam.excite.weight", "each pass over a graph starts anew"
    assert {"time_cbam.excite.weight", "spectral_cbam.excite.weight"} <= layers.names


def test_every_learned_matrix_of_the_model_is_a_layer() -> None:
    names = Layers(MODEL).names
    assert {"time_encoder.basis_and_gate.weight", "time_cbam.squeeze.weight", "spectral_mask.weight"} <= names
    assert {f"spectral_memory2.rnn.weight_{part}_l0" for part in ("ih", "hh")} <= names
    assert not any("bias" in name or "dft" in name for name in names)


def test_the_traced_step_has_the_names_of_the_spec() -> None:
    program = trace_step(MODEL)
    assert list(output_nodes(program)) == list(SPEC.output_shapes())
    assert {name: tuple(value.shape) for name, value in example_inputs(MODEL).items()} == SPEC.input_shapes()


def test_an_unknown_target_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown target 'tflight': .* did you mean 'tflite'\?"):
        exporter_for("tflight")


class TestRealGraphs:
    """Every target and recipe of the `tiny` preset."""

    @pytest.fixture(params=EVERY, ids="-".join)
    def bundle(self, request: pytest.FixtureRequest, tiny: Workshop) -> Bundle:
        return tiny.bundle(*request.param)

    @pytest.fixture
    def facts(self, bundle: Bundle, tiny: Workshop) -> GraphFacts:
        return inspect(bundle, tiny)

    def test_they_keep_the_contract(self, facts: GraphFacts, bundle: Bundle) -> None:
        check_graph(facts, bundle.manifest.spec)
        assert facts.custom_ops == ()

    def test_the_manifest_lists_what_is_in_the_graph(self, facts: GraphFacts, bundle: Bundle) -> None:
        graph = bundle.manifest.graph
        assert graph["ops"] == facts.ops
        assert len(graph["ops"]) > 10
        assert graph["weight_bytes"] == facts.weight_bytes
        assert set(graph["inputs"]) == set(bundle.manifest.spec.input_shapes())
        assert set(graph["outputs"]) == set(bundle.manifest.spec.output_shapes())

    def test_cells_are_matrix_products(self, facts: GraphFacts) -> None:
        recurrent = ("lstm", "gru", "rnn", "while", "loop", "scan", "tensoriterator", "stft", "dft")
        assert not [op for op in facts.ops if any(word in op.lower() for word in recurrent)]


class TestGraphFiles:
    """The same, of the targets that have a graph file, read with the format's own reader."""

    @pytest.fixture(params=[each for each in EVERY if each[0] in READERS], ids="-".join)
    def bundle(self, request: pytest.FixtureRequest, tiny: Workshop) -> Bundle:
        return tiny.bundle(*request.param)

    def test_the_spec_is_in_the_graph_itself(self, bundle: Bundle) -> None:
        assert StreamSpec.from_dict(json.loads(read_graph(bundle).spec)) == bundle.manifest.spec

    def test_the_floors_survive(self, bundle: Bundle) -> None:
        """The full optimizer of onnxscript takes them for zero; then a silent frame becomes 0 / 0."""
        scalars = read_graph(bundle).scalars
        for floor in (ENERGY_FLOOR, TINY_POWER):
            assert float(np.float32(floor)) in scalars, f"{floor} is not among the constants"


@pytest.mark.parametrize("name", [target for target, _ in FLOAT])
def test_float_graphs_hold_every_layer_once(name: str, tiny: Workshop) -> None:
    facts = inspect(tiny.bundle(name, "float32"), tiny)
    check_products(facts, Layers(tiny.compiler.source.model).names)
    assert {product.dtype for product in facts.products} == {"float32"}
    learned, window = 4 * tiny.compiler.source.parameters, tiny.compiler.source.model.config.window_length
    # Beside the weights some constants for each sample of the window; a dense DFT alone would be 2 * window of them.
    assert learned <= facts.weight_bytes <= learned + 4 * 24 * window


def test_the_opset_is_pinned(tiny: Workshop) -> None:
    model = onnx.load(tiny.bundle("onnx", "float32").graph_path)
    assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 20)]


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_bundle_holds_the_files_of_its_target_and_nothing_else(name: str, tiny: Workshop) -> None:
    bundle = tiny.bundle(name, "float32")
    assert sorted(path.name for path in bundle.path.iterdir()) == sorted([*exporter_for(name).FILES, "manifest.json"])
    assert tuple(bundle.manifest.files) == exporter_for(name).FILES


def inspect(bundle: Bundle, workshop: Workshop) -> GraphFacts:
    layers = Layers(workshop.compiler.source.model)
    return exporter_for(bundle.manifest.target).inspect_graph(bundle.path, layers)


def descriptors() -> tuple[object, ...]:
    """What stdout and stderr point to, and how many files this process has open."""
    targets = [os.fstat(stream)[:2] for stream in (1, 2)]
    return (*targets, sum(1 for _ in Path("/dev/fd").iterdir()))


def convert(error: BaseException | None) -> None:
    """Talk as converters do, from Python and past it, then fail or not."""
    assert sys.__stdout__ is not None
    with redirect_stdout(sys.__stdout__):  # the one that writes to descriptor 1, as in a command
        print("before")
        with converter_output_captured("tool"):
            print("from python")
            os.write(1, b"to stdout\n")
            os.write(2, b"to stderr\n")
            warnings.warn("deprecated", stacklevel=1)
            if error is not None:
                raise error
        print("after", flush=True)


def test_a_converter_is_kept_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    before = descriptors()
    convert(None)
    assert descriptors() == before
    assert capfd.readouterr() == ("before\nafter\n", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a long story\nthe reason\n"), "tool failed: ValueError: the reason"),
        (RuntimeError(), "tool failed: RuntimeError: no message"),
        (OSError(28, "No space left on device"), r"tool failed: OSError: [Errno 28] No space left on device"),
    ],
    ids=repr,
)
def test_a_failed_converter_gives_one_line(error: Exception, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = descriptors()
    with pytest.raises(ExportError) as caught:
        convert(error)
    assert str(caught.value) == line
    assert descriptors() == before
    assert capfd.readouterr() == ("before\n", "")


def test_ctrl_c_in_a_converter_stays_ctrl_c() -> None:
    before = descriptors()
    with pytest.raises(KeyboardInterrupt):
        convert(KeyboardInterrupt())
    assert descriptors() == before
