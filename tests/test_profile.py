"""Profiles: every runtime tells what its nodes take, every product is found under its layer, and it still computes."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from ddtasnet_edge.benchmarks import profile_suite
from ddtasnet_edge.benchmarks.profile import NodeCost, Profile
from ddtasnet_edge.benchmarks.profile_report import NODE_COLUMNS, OP_COLUMNS, op_rows
from ddtasnet_edge.benchmarks.profile_worker import measure_profile
from ddtasnet_edge.benchmarks.worker import Job
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.errors import EdgeError, MissingDependencyError
from ddtasnet_edge.export.cli import COMPILED_TARGETS
from ddtasnet_edge.runtimes import open_session, tflite_profile
from ddtasnet_edge.runtimes.onnx_profile import FUSED
from ddtasnet_edge.runtimes.profile import PROFILERS, open_profiled, products_of
from ddtasnet_edge.spec import FloatArray
from tests.bundles import EVERY, Workshop

PROFILED = [(target, recipe) for target, recipe in EVERY if target in PROFILERS]
HOP = 512
#: The step of a fake profile takes 100 us.
NODES = (
    NodeCost("gemm", "Gemm", "fusion.weight", 40.0, 20_000),
    NodeCost("sine", "Sin", None, 30.0, 0),
    NodeCost("mask", "Gemm", "mask.weight", 15.0, 10_000),
    NodeCost("nothing", "Reshape", None, 0.0, 0),
)
PROFILE = Profile("fake 1.0", 100.0, 150.0, NODES, "all 3 hops", 1.0, "a remark", 1e9)


@pytest.fixture(params=PROFILED, ids="-".join)
def bundle(request: pytest.FixtureRequest, tiny: Workshop) -> Bundle:
    return tiny.bundle(*request.param)


def hops_of(song: FloatArray, count: int) -> FloatArray:
    """[count, 2, 512]"""
    return np.ascontiguousarray(song[:, : count * HOP].reshape(2, count, HOP).transpose(1, 0, 2))


# What the runtimes tell


def test_every_compiled_target_has_a_profiler() -> None:
    assert set(PROFILERS) == set(COMPILED_TARGETS)


def test_a_profile_of_every_target_and_recipe(bundle: Bundle, song: FloatArray) -> None:
    job = Job(str(bundle.path), hops=6, warmup=2, threads=1, paced=False, weight_bytes=1 << 20)
    profile = measure_profile(job, hops_of(song, 4))
    with open_session(bundle) as session:
        assert profile.runtime == session.runtime
    assert profile.step_us > 0
    assert profile.profiled_step_us > 0
    assert all(node.us >= 0 for node in profile.nodes)
    assert profile.nodes_us > 0
    # A quantized graph rounds, a float one does not, and both hold far more than their products.
    assert len(profile.nodes) > 2 * len(products_of(bundle))
    recorded = {product["layer"]: product for product in bundle.manifest.graph["products"] if product["layer"]}
    found = {node.layer: node.weight_bytes for node in profile.nodes if node.layer}
    assert found == {layer: product["weight_bytes"] for layer, product in recorded.items()}
    layers = [node.layer for node in profile.nodes if node.layer]
    assert len(layers) == len(set(layers)), "one node computes a layer"
    assert set((bundle.manifest.quantization or {}).get("layers", ())) <= set(layers)
    assert Profile.from_dict(json.loads(json.dumps(asdict(profile)))) == profile


def test_a_profiled_session_computes_the_same(bundle: Bundle, song: FloatArray) -> None:
    """To the last bit: profiling neither changes the graph nor which kernels run."""
    with open_session(bundle) as plain, closing(open_profiled(bundle)) as profiled:
        for index, hop in enumerate(hops_of(song, 12)):
            if index == 6:
                profiled.start()
            assert np.array_equal(plain.step(hop), profiled.step(hop)), f"hop {index}"
        state, expected = profiled.get_state(), plain.get_state()
        assert all(np.array_equal(state[slot], expected[slot]) for slot in expected)
        profiled.reset()
        assert not profiled.get_state()["mix_context"].any()


@pytest.mark.parametrize("target", PROFILERS)
def test_a_record_per_hop_or_one_for_all(target: str, tiny: Workshop, song: FloatArray) -> None:
    with closing(open_profiled(tiny.bundle(target, "float32"))) as profiled:
        for hop in hops_of(song, 3):
            profiled.step(hop)
        profiled.start()
        for hop in hops_of(song, 4):
            profiled.step(hop)
        times = profiled.node_times()
    assert times.times_us.shape in {(4, len(times.nodes)), (1, len(times.nodes))}
    assert times.rounding_us > 0
    assert len({node.name for node in times.nodes}) == len(times.nodes)
    assert {node.product for node in times.nodes} - {None} == set(products_of(tiny.bundle(target, "float32")))


@pytest.mark.parametrize("recipe", ["static_wi8_ai8", "dynamic_wi4b64_wi8_afp32", "mixed"])
def test_products_inside_the_delegate_are_told_apart(recipe: str, tiny: Workshop, song: FloatArray) -> None:
    """They have no names there, only kernels: each must be one for the precision in which its layer is stored."""
    bundle = tiny.bundle("tflite", recipe)
    stored = {product["node"]: product["dtype"] for product in bundle.manifest.graph["products"]}
    with closing(open_profiled(bundle)) as profiled:
        profiled.start()
        profiled.step(hops_of(song, 1)[0])
        nodes = [node for node in profiled.node_times().nodes if node.product in stored]
    kinds = {"float32": "F32)", "int8": "8W)", "int4": "4W)"}
    wrong = [node for node in nodes if node.product and kinds[stored[node.product]] not in node.op]
    assert len(nodes) == len(stored)
    assert wrong == []


def test_four_bit_scales_are_cast_at_load_and_not_in_a_step(tiny: Workshop, song: FloatArray) -> None:
    """The floor counts them as the float32 that they are cast to."""
    bundle = tiny.bundle("onnx", "dynamic_wi4b64_wi8_afp32")
    assert bundle.manifest.graph["ops"]["Cast"] > 0
    with closing(open_profiled(bundle)) as profiled:
        profiled.start()
        profiled.step(hops_of(song, 1)[0])
        assert "Cast" not in {node.op for node in profiled.node_times().nodes}


def test_a_bundle_from_before_layers_were_recorded_is_profiled_without_them(tiny: Workshop, song: FloatArray) -> None:
    bundle = tiny.bundle("onnx", "float32")
    graph = {name: value for name, value in bundle.manifest.graph.items() if name != "products"}
    older = replace(bundle, manifest=replace(bundle.manifest, graph=graph))
    with closing(open_profiled(older)) as profiled:
        profiled.start()
        profiled.step(hops_of(song, 1)[0])
        assert {node.product for node in profiled.node_times().nodes} == {None}


def test_another_version_of_litert_is_refused_and_not_called(tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _name: "9.0.1")
    with pytest.raises(MissingDependencyError, match=r"ai-edge-litert 9\.0\.1 has not been tried; pip install"):
        open_profiled(tiny.bundle("tflite", "float32"))


def test_tflite_runtime_has_no_profiler(tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny.bundle("tflite", "float32")
    monkeypatch.setattr(tflite_profile, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match="has no profiler; pip install ai-edge-litert"):
        open_profiled(bundle)


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("node_linear", "node_linear"),
        ("fused node_linear", "node_linear"),
        ("node_linear/MatMulAddFusion", "node_linear"),
        ("node_bmm/MatmulTransposeFusion//MatMulScaleFusion/", "node_bmm"),
    ],
)
def test_fusions_keep_the_name_of_a_product(name: str, product: str) -> None:
    match = FUSED.match(name)
    assert match is not None
    assert match[1] == product


# What follows from a profile


def test_operators_are_summed_and_the_rest_is_outside() -> None:
    assert [(cost.op, cost.calls, cost.us) for cost in PROFILE.ops()] == [
        ("Gemm", 2, 55.0),
        ("Sin", 1, 30.0),
        ("Reshape", 1, 0.0),
    ]
    assert PROFILE.outside_us == 15.0
    assert op_rows(PROFILE)[-2:] == [("outside", "", "15.0", "15.0 %"), ("step", "", "100.0", "100.0 %")]


def test_nodes_stand_beside_the_floor_of_their_weights() -> None:
    summary = PROFILE.summary()
    assert [node["name"] for node in summary["top"]] == ["gemm", "sine", "mask", "nothing"]
    first = summary["layers"][0]
    # 20 kB at 1 GB/s are 20 us, half of what the node takes.
    assert (first["layer"], first["floor_us"], first["floor_share"], first["share"]) == (
        "fusion.weight",
        pytest.approx(20.0),
        pytest.approx(0.5),
        0.4,
    )
    assert [node["layer"] for node in summary["layers"]] == ["fusion.weight", "mask.weight"]
    assert summary["top"][-1]["floor_share"] is None, "a node rounded down to nothing"
    assert len(replace(PROFILE, nodes=NODES * 4).top()) == 10


# Many bundles


def bundles_of(tiny: Workshop, *targets: str) -> list[Bundle]:
    return [read_bundle(tiny.bundle(target, "float32").path) for target in targets]


def test_what_cannot_be_profiled_is_left_out_with_the_reason(tiny: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = []

    def run(module: str, job: Job, hops: FloatArray) -> dict[str, object]:
        assert module == "profile_worker"
        assert len(hops) >= job.warmup + job.hops
        jobs.append(job)
        if "tflite" in job.bundle:
            raise EdgeError("no profiler here")
        return json.loads(json.dumps(asdict(PROFILE)))  # type: ignore[no-any-return]

    monkeypatch.setattr(profile_suite, "run_process", run)
    report = profile_suite.profile_bundles(bundles_of(tiny, "tflite", "onnx"), hops=5)
    assert [(job.hops, job.threads, job.paced) for job in jobs] == [(5, 1, False)] * 2
    assert [result.profile for result in report.results] == [None, PROFILE]
    values = report.to_dict()
    assert values["results"][0]["left_out"] == "no profiler here"
    assert values["results"][0]["summary"] is None
    with pytest.raises(EdgeError, match="no profiler here"):
        profile_suite.profile_bundles(bundles_of(tiny, "tflite"), hops=5)


def test_the_columns_are_named() -> None:
    assert len(op_rows(PROFILE)[0]) == len(OP_COLUMNS)
    assert NODE_COLUMNS[:3] == ("node", "operator", "layer")


def test_temporary_profiles_are_removed(tiny: Workshop, song: FloatArray) -> None:
    profiled = open_profiled(tiny.bundle("onnx", "float32"))
    folder = Path(profiled._folder.name)  # type: ignore[attr-defined]
    profiled.step(hops_of(song, 1)[0])
    profiled.close()
    assert not folder.exists()
