"""Bundles: what is written is read back, and every damage is one line that says what to do."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge.bundle import (
    FAILED,
    MANIFEST,
    UNVERIFIED,
    VERIFIED,
    Manifest,
    bundle_name,
    read_bundle,
    record_files,
    with_evidence,
    write_manifest,
)
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.spec import Slot, StreamSpec

GRAPH = b"graph" * 1000
WEIGHTS = b"weights"
SPEC = StreamSpec(44100, 2, ("voice", "rest"), 1024, 512, 512, (Slot("hidden", (1, 4), 0.5), Slot("tail", (1,))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole bundle of two files."""
    path = tmp_path / "tiny-openvino-float32.edge"
    path.mkdir()
    (path / "model.xml").write_bytes(GRAPH)
    (path / "model.bin").write_bytes(WEIGHTS)
    manifest = Manifest(
        target="openvino",
        recipe="float32",
        model={"name": "tiny", "config": {"units": 32}, "weights": "random"},
        spec=SPEC,
        graph={"ops": {"MatMul": 12}},
        files=record_files(path, ("model.xml", "model.bin")),
        tools={"openvino": "1.2.3"},
        licence={"code": "MIT"},
        quantization={"quantized": ["a"], "float": []},
    )
    write_manifest(path, manifest)
    return path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the manifest after a change to its JSON values."""
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values))


def refusal(folder: Path) -> str:
    """The one line with which the bundle is refused."""
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_and_properties(folder: Path) -> None:
    assert bundle_name("small", "tflite", "static_wi8_ai8") == "small-tflite-static_wi8_ai8.edge"
    bundle = read_bundle(str(folder))
    assert bundle.graph_path == folder / "model.xml"
    assert bundle.size == len(GRAPH) + len(WEIGHTS)
    assert bundle.digest == bundle.manifest.files["model.xml"].sha256[:12]
    assert bundle.manifest.weights == "random"


def test_a_manifest_survives_the_round_trip(folder: Path) -> None:
    manifest = read_bundle(folder).manifest
    assert manifest.spec == SPEC
    assert manifest.status == UNVERIFIED
    write_manifest(folder, manifest)
    assert read_bundle(folder).manifest == manifest
    assert list(manifest.files) == ["model.xml", "model.bin"]


@pytest.mark.parametrize(("passed", "status"), [(True, VERIFIED), (False, FAILED)])
def test_evidence_is_added_on_disk(folder: Path, passed: bool, status: str) -> None:
    bundle = read_bundle(folder)
    bundle = replace(bundle, manifest=replace(bundle.manifest, evidence={"latency": 1}))
    returned = with_evidence(bundle, {"parity": {"snr": 61.5}}, passed)
    assert returned == read_bundle(folder)
    assert returned.manifest.evidence == {"latency": 1, "parity": {"snr": 61.5}}
    assert returned.manifest.status == status


def test_a_missing_bundle(tmp_path: Path) -> None:
    assert "no bundle at" in refusal(tmp_path / "nowhere.edge")


def test_a_file_instead_of_a_folder(folder: Path) -> None:
    assert "is a file; a bundle is a folder ending in .edge" in refusal(folder / "model.xml")


def test_a_missing_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert "has no manifest.json" in refusal(folder)


@pytest.mark.parametrize("schema", [0, 3, "1", None])
def test_an_unknown_schema(folder: Path, schema: object) -> None:
    edit(folder, lambda values: values.update(schema=schema))
    message = refusal(folder)
    assert f"has schema {schema}, this version reads schema 1 and 2" in message
    assert "export the bundle again" in message


@pytest.mark.parametrize("position", [0, 2500, -1])
def test_a_flipped_byte(folder: Path, position: int) -> None:
    content = bytearray(GRAPH)
    content[position] ^= 1
    (folder / "model.xml").write_bytes(content)
    message = refusal(folder)
    assert "model.xml has sha256" in message
    assert "the manifest says" in message


def test_a_flipped_byte_in_the_second_file(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"weighty")
    assert "model.bin has sha256" in refusal(folder)


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_missing_graph_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing; copy the whole folder again" in refusal(folder)


def test_a_truncated_graph_file(folder: Path) -> None:
    (folder / "model.xml").write_bytes(GRAPH[:-1])
    assert "has 4999 bytes, the manifest says 5000" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b'"text"', b"{}", b'{"schema": 1}', b"\xff\xfe\x00", b"PK\x03\x04"],
    ids=repr,
)
def test_a_garbage_manifest(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    assert "export" in refusal(folder)


@pytest.mark.parametrize("key", ["target", "spec", "files", "tools", "model"])
def test_a_manifest_with_a_missing_key(folder: Path, key: str) -> None:
    edit(folder, lambda values: values.pop(key))
    assert key in refusal(folder)


def test_a_manifest_with_an_unknown_key(folder: Path) -> None:
    edit(folder, lambda values: values.update(colour="red"))
    assert "colour" in refusal(folder)


def test_an_impossible_status(folder: Path) -> None:
    edit(folder, lambda values: values.update(status="splendid"))
    assert "impossible status or file name" in refusal(folder)


def test_a_manifest_without_files(folder: Path) -> None:
    edit(folder, lambda values: values.update(files={}))
    assert "impossible status or file name" in refusal(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/model.xml", "..", ".", ""])
def test_a_file_name_that_leaves_the_bundle(folder: Path, name: str) -> None:
    """Even when the file exists and its hash is right."""
    (folder.parent / "secret").write_bytes(GRAPH)
    (folder / "sub").mkdir()
    (folder / "sub" / "model.xml").write_bytes(GRAPH)
    edit(folder, lambda values: values["files"].update({name: values["files"]["model.xml"]}))
    refusal(folder)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of keys to every value inside JSON values."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from places(value[key], (*path, key))


def test_no_value_in_a_manifest_crashes_the_reader(folder: Path) -> None:
    """Any odd value in any place: the bundle is read or refused in one line, nothing else."""
    original = json.loads((folder / MANIFEST).read_text())
    crashes = []
    for path in places(original):
        for odd in (None, True, 3, "tail", [], {}, [1], {"a": 1}):
            values = copy.deepcopy({"manifest": original})
            place = functools.reduce(operator.getitem, ("manifest", *path)[:-1], values)
            place[("manifest", *path)[-1]] = odd
            (folder / MANIFEST).write_text(json.dumps(values["manifest"]))
            try:
                read_bundle(folder)
            except BundleError:
                pass
            except (TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
                crashes.append((path, odd, error))
    assert crashes == []
