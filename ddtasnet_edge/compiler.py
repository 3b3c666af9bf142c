"""Model in, verified bundle out: the one place where exporters, quantizers, runtimes and parity meet."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import Any

import torch

from ddtasnet_edge import __version__, files
from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.report import BACK_TO_BACK
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import WARMUP_HOPS
from ddtasnet_edge.benchmarks.timing import measure_hops
from ddtasnet_edge.bundle import (
    Bundle,
    Manifest,
    bundle_name,
    read_bundle,
    record_files,
    with_evidence,
    write_manifest,
)
from ddtasnet_edge.clips import Clip, hash_clips
from ddtasnet_edge.dependencies import installed_versions
from ddtasnet_edge.errors import ExportError
from ddtasnet_edge.export import exporter_for
from ddtasnet_edge.export.facts import GraphFacts, check_graph, check_products
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.models.source import find_model
from ddtasnet_edge.music import Music, MusicChoice, find_music, has_stems
from ddtasnet_edge.quantize import Recipe, quantizer_for, recipe_named
from ddtasnet_edge.quantize.calibration import Feeds, calibration_clips
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import ParityReport, Trace, compare, run_clip
from ddtasnet_edge.runtimes.thresholds import thresholds_for
from ddtasnet_edge.runtimes.torch_session import TorchSession
from ddtasnet_edge.session import Session

TOOLS = (
    "torch", "onnx", "onnxscript", "onnxsim", "onnxruntime", "openvino", "nncf", "litert-torch", "ai-edge-litert",
    "ai-edge-quantizer", "numpy",
)  # fmt: skip


# Hops timed for the latency evidence: a few seconds of music, enough for a p99 that is one of them.
TIMED_HOPS = 300

#: Stages that `Compiler.compile` announces for one bundle.
STAGES = 2


def _unheard(stage: str) -> None:
    """Where stages go when nobody listens."""


class Compiler:
    """One model, compiled for any number of targets and recipes; the reference runs once for all of them."""

    def __init__(
        self, model: str | Path, verification: MusicChoice | None = None, calibration: Path | None = None
    ) -> None:
        """model: preset, checkpoint or configuration file; verification: the music of the parity gate; calibration:
        a folder of songs or a MUSDB18 root. Without either, the default clip. Raises ConfigError or CheckpointError.
        """
        self.source = find_model(model)
        self._verification = verification or MusicChoice()
        self._calibration_folder = calibration
        self._layers = Layers(self.source.model)

    def place(self, target: str, recipe: str, out: Path, *, force: bool = False) -> Path:
        """Where `compile` will put a bundle, after every check that needs no work.

        Raises ConfigError for an unknown target or recipe, MissingDependencyError, EdgeError when it exists.
        """
        exporter_for(target)
        if not recipe_named(recipe).is_float:
            quantizer_for(target)
        place = out / bundle_name(self.source.name, target, recipe)
        files.require_absent(place, replace=force)
        return place

    def compile(
        self, target: str, recipe: str, out: Path, *, force: bool = False, begin: Callable[[str], None] = _unheard
    ) -> tuple[Bundle, ParityReport]:
        """Write `<out>/<model>-<target>-<recipe>.edge` with its parity evidence; `begin` hears of each stage.

        The folder appears whole, at the end, also when parity failed: then its status says so and the caller
        decides. Raises ExportError and what `place` raises.
        """
        # For the whole process, as PyTorch has it: steps of one row are slower on more threads, waiting for each other.
        torch.set_num_threads(1)
        place = self.place(target, recipe, out, force=force)
        self._read_music(recipe_named(recipe))
        with files.writing_folder(place, replace=force) as folder:
            begin(f"{place.name}: building")
            write_manifest(folder, self._build(folder, target, recipe_named(recipe)))
            begin(f"{place.name}: verifying")
            bundle, report = self._verify(read_bundle(folder))
        return replace(bundle, path=place), report

    def _read_music(self, recipe: Recipe) -> None:
        """Music that cannot be read is refused before any work is done or any folder made."""
        if recipe.needs_calibration:
            _ = self._calibration
        _ = self._music

    def _build(self, folder: Path, target: str, recipe: Recipe) -> Manifest:
        exporter, spec = exporter_for(target), self.source.model.spec()
        exporter.export_graph(self.source.model, folder)
        facts = exporter.inspect_graph(folder, self._layers)
        check_graph(facts, spec)
        check_products(facts, self._layers.names)
        quantization = None
        if not recipe.is_float:
            quantization = self._quantize(folder, target, recipe, facts)
            facts = exporter.inspect_graph(folder, self._layers)
            check_graph(facts, spec)
            _check_precision(facts, len(quantization["quantized_layers"]))
        exporter.embed_metadata(folder, {"ddtasnet_edge.spec": json.dumps(spec.to_dict())})
        return Manifest(
            target=target,
            recipe=recipe.name,
            model={
                "name": self.source.name,
                "weights": self.source.weights,
                "source": self.source.source,
                "parameters": self.source.parameters,
                "config": self.source.model.config.to_dict(),
                "training": dict(self.source.training),
            },
            spec=spec,
            graph=_describe_graph(facts),
            files=record_files(folder, exporter.FILES),
            tools={"ddtasnet-edge": __version__, **installed_versions(TOOLS)},
            licence=self._licence(recipe),
            quantization=quantization,
        )

    def _quantize(self, folder: Path, target: str, recipe: Recipe, facts: GraphFacts) -> dict[str, Any]:
        chosen = [product for product in facts.products if recipe.quantizes(product.layer)]
        kept = [product for product in facts.products if not recipe.quantizes(product.layer)]
        feeds = Feeds(self.source.model, self._calibration) if recipe.needs_calibration else None
        quantizer_for(target).quantize_graph(folder, recipe, chosen, feeds)
        return {
            "recipe": recipe.to_dict(),
            "quantized_layers": sorted(str(product.layer) for product in chosen),
            "float_layers": sorted(product.layer for product in kept if product.layer),
            "calibration": describe_calibration(self._calibration) if recipe.needs_calibration else None,
        }

    def _verify(self, bundle: Bundle) -> tuple[Bundle, ParityReport]:
        with open_session(bundle) as session:
            # Without true stems there is no SDR: such a model is judged by SNR, as random weights are.
            weights = bundle.manifest.weights if has_stems(bundle.manifest.spec) else "random"
            thresholds = thresholds_for(bundle.manifest.target, bundle.manifest.recipe, weights, session.runtime)
            music, again = tee(self._clips_and_references())
            clips, references = (clip for clip, _ in music), (trace for _, trace in again)
            report = compare(session, clips, references, thresholds, TorchSession.runtime)
            latency = self._measure(session)
        return with_evidence(bundle, {"parity": report.to_dict(), "latency": latency}, report.passed), report

    def _measure(self, session: Session) -> dict[str, Any]:
        """A short timing on the machine that compiles; `ddtasnet-bench` is the measurement to quote."""
        session.reset()
        hops = load_sound(session.spec, TIMED_HOPS).hops
        times = measure_hops(session, hops, TIMED_HOPS, warmup=WARMUP_HOPS, paced=False)
        percentiles = {"p50_ms": 500, "p95_ms": 950, "p99_ms": 990, "max_ms": 1000}
        return {
            **{name: round(times.percentile_us(rank) / 1000, 4) for name, rank in percentiles.items()},
            "hop_budget_ms": round(times.budget_us / 1000, 4),
            "hops": TIMED_HOPS,
            "warmup_hops": WARMUP_HOPS,
            "threads": 1,
            "mode": BACK_TO_BACK,
            "runtime": session.runtime,
            "machine": asdict(describe_machine()),
        }

    @cached_property
    def _music(self) -> Music:
        """The music of the parity gate. A model with stems that it lacks gets clips without any."""
        config = self.source.model.config
        return find_music(config, self._verification, with_stems=has_stems(config))

    @cached_property
    def _calibration(self) -> list[Clip]:
        return calibration_clips(self.source.model.config, self._calibration_folder)

    @cached_property
    def _spool(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()

    def _clips_and_references(self) -> Iterator[tuple[Clip, Trace]]:
        """Each clip with what the reference makes of it; traces wait on disk for the next bundle."""
        for index, read in enumerate(self._music.tracks.values()):
            clip = read()
            path = Path(self._spool.name, f"{index}.npz")
            if not path.exists():
                with TorchSession.from_model(self.source.model) as session:
                    run_clip(session, clip).save(path)
            yield clip, Trace.load(path)

    def _licence(self, recipe: Recipe) -> dict[str, str]:
        trained_on = str(self.source.training.get("data", "see the checkpoint's card"))
        weights = "random weights: no training data" if self.source.weights == "random" else trained_on
        licence = {"software": "MIT", "weights": weights, "parity": self._music.note}
        if recipe.needs_calibration:
            licence["calibration"] = f"ranges measured on: {_notes(self._calibration)}"
        return licence


def describe_calibration(clips: Sequence[Clip]) -> dict[str, Any]:
    """What a manifest records about a calibration set."""
    return {
        "clips": [clip.name for clip in clips],
        "seconds": round(sum(clip.mix.shape[1] / clip.sample_rate for clip in clips), 3),
        "sha256": hash_clips(clips),
    }


def _describe_graph(facts: GraphFacts) -> Mapping[str, Any]:
    return {
        "inputs": {name: asdict(tensor) for name, tensor in facts.inputs.items()},
        "outputs": {name: asdict(tensor) for name, tensor in facts.outputs.items()},
        "ops": dict(facts.ops),
        "weight_bytes": facts.weight_bytes,
    }


def _check_precision(facts: GraphFacts, expected: int) -> None:
    found = sum(product.dtype in ("int8", "uint8") for product in facts.products)
    if found != expected:
        raise ExportError(f"the quantized graph has {found} INT8 matrix products, the recipe chose {expected}")


def _notes(clips: Sequence[Clip]) -> str:
    return "; ".join(dict.fromkeys(clip.note for clip in clips))
