"""The bundle: a folder `<name>.edge/` with a graph, a manifest that describes and protects it, nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ddtasnet_edge import files
from ddtasnet_edge.errors import BundleError
from ddtasnet_edge.spec import StreamSpec

# 2: rings among the slots. What 1 had is as it was.
SCHEMA = 2
READABLE = (1, 2)
SUFFIX = ".edge"
MANIFEST = "manifest.json"

UNVERIFIED, VERIFIED, FAILED = "unverified", "verified", "failed"
STATUSES = (UNVERIFIED, VERIFIED, FAILED)


@dataclass(frozen=True)
class FileRecord:
    """One file of the bundle: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Everything a bundle says about itself; `manifest.json` is this class as JSON.

    model: name, config, weights ("random" or "trained") and their source. graph: tensor names, op inventory, bytes of
    weights read per hop, the matrix products with the layers that they compute, the passes of the step. quantization:
    the recipe, which matrix products it quantized and which stayed float, the calibration set and its hash. evidence:
    the parity report. tools: versions that made the bundle.
    """

    target: str
    recipe: str
    model: Mapping[str, Any]
    spec: StreamSpec
    graph: Mapping[str, Any]
    files: Mapping[str, FileRecord]
    tools: Mapping[str, str]
    licence: Mapping[str, str]
    quantization: Mapping[str, Any] | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    status: str = UNVERIFIED
    schema: int = SCHEMA

    @property
    def graph_file(self) -> str:
        """Name of the file a runtime opens: the first one recorded."""
        return next(iter(self.files))

    @property
    def weights(self) -> str:
        """'random' or 'trained': which thresholds apply."""
        return str(self.model["weights"])

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        values = {"schema": self.schema, **asdict(self)}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest has been read and whose files have been checked."""

    path: Path
    manifest: Manifest

    @property
    def graph_path(self) -> Path:
        """The file a runtime opens."""
        return self.path / self.manifest.graph_file

    @property
    def size(self) -> int:
        """Bytes of all graph files together."""
        return sum(record.size for record in self.manifest.files.values())

    @property
    def digest(self) -> str:
        """First 12 digits of the graph's SHA-256: names this bundle in reports."""
        return self.manifest.files[self.manifest.graph_file].sha256[:12]


def bundle_name(model: str, target: str, recipe: str) -> str:
    """Folder name of a bundle, such as `small-tflite-static_wi8_ai8.edge`."""
    return f"{model}-{target}-{recipe}{SUFFIX}"


def record_files(folder: Path, names: tuple[str, ...]) -> dict[str, FileRecord]:
    """Hash the files that make up a bundle; the one a runtime opens comes first."""
    return {name: FileRecord(files.sha256_of(folder / name), (folder / name).stat().st_size) for name in names}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, whole or not at all."""
    files.write_text(folder / MANIFEST, manifest.to_json())


def with_evidence(bundle: Bundle, evidence: Mapping[str, Any], passed: bool) -> Bundle:
    """The same bundle with its parity evidence and status on disk."""
    manifest = replace(
        bundle.manifest,
        evidence={**bundle.manifest.evidence, **evidence},
        status=VERIFIED if passed else FAILED,
    )
    write_manifest(bundle.path, manifest)
    return replace(bundle, manifest=manifest)


def read_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle.

    Raises BundleError when the folder or a file is missing, the schema is unknown, or a size or hash differs.
    """
    path = Path(path)
    if not path.exists():
        raise BundleError(f"no bundle at {path}; make one with ddtasnet-export")
    if not path.is_dir():
        raise BundleError(f"{path} is a file; a bundle is a folder ending in {SUFFIX}")
    bundle = Bundle(path, _read_manifest(path / MANIFEST))
    for name, record in bundle.manifest.files.items():
        _check_file(path / name, record)
    return bundle


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise BundleError(f"{path.parent} has no {MANIFEST}: not a bundle, or half copied; copy the whole folder")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values["schema"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{path} cannot be read ({error}); copy or export the bundle again") from error
    if isinstance(schema, bool) or schema not in READABLE:
        raise BundleError(
            f"{path} has schema {schema}, this version reads schema {' and '.join(map(str, READABLE))}; "
            "export the bundle again, or install the version of ddtasnet-edge that wrote it"
        )
    try:
        records = {name: FileRecord(**record) for name, record in values["files"].items()}
        manifest = Manifest(**{**values, "files": records, "spec": StreamSpec.from_dict(values["spec"])})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{path} is not a manifest of schema {schema} ({error}); export the bundle again") from error
    if manifest.status not in STATUSES or not records or any(Path(name).name != name for name in records):
        raise BundleError(f"{path} holds an impossible status or file name; export the bundle again")
    texts = [manifest.target, manifest.recipe, *(record.sha256 for record in records.values())]
    if not all(isinstance(text, str) for text in texts) or not isinstance(manifest.model, Mapping):
        raise BundleError(f"{path} holds a target, recipe, model or sha256 of the wrong type; export the bundle again")
    return manifest


def _check_file(path: Path, record: FileRecord) -> None:
    if not path.is_file():
        raise BundleError(f"{path} is missing; copy the whole folder again")
    if path.stat().st_size != record.size:
        raise BundleError(f"{path} has {path.stat().st_size} bytes, the manifest says {record.size}; copy it again")
    digest = files.sha256_of(path)
    if digest != record.sha256:
        raise BundleError(
            f"{path} has sha256 {digest[:12]}..., the manifest says {record.sha256[:12]}...; copy it again"
        )
