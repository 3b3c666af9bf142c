"""Model in, verified bundle out: the one place where exporters, quantizers, runtimes and parity meet."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
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
from ddtasnet_edge.errors import ConfigError, ExportError
from ddtasnet_edge.export import exporter_for
from ddtasnet_edge.export.facts import GraphFacts, check_graph, check_products, with_layers_of
from ddtasnet_edge.export.layers import Layers
from ddtasnet_edge.export.passes import Pass, passes_of, with_passes
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.source import find_model
from ddtasnet_edge.music import Music, MusicChoice, find_music, has_stems
from ddtasnet_edge.quantize import FLOAT32, Recipe, quantizer_for
from ddtasnet_edge.quantize.calibration import calibration_clips
from ddtasnet_edge.quantize.observe import Observation, observe
from ddtasnet_edge.quantize.plan import layers_of, quantize_layers
from ddtasnet_edge.quantize.precision import precision_named
from ddtasnet_edge.quantize.recipe import AUTO
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import ParityReport, Trace, compare, run_clip
from ddtasnet_edge.runtimes.thresholds import thresholds_for
from ddtasnet_edge.runtimes.torch_session import TorchSession
from ddtasnet_edge.session import Session

TOOLS = (
    "torch", "onnx", "onnxscript", "onnxsim", "onnxruntime", "openvino", "litert-torch", "ai-edge-litert", "numpy",
)  # fmt: skip


# Hops timed for the latency evidence: a few seconds of music, enough for a p99 that is one of them.
TIMED_HOPS = 300

#: Stages that `Compiler.compile` announces for one bundle.
STAGES = 2


def unheard(stage: str) -> None:
    """Where stages go when nobody listens."""


class Compiler:
    """One model, compiled for any number of targets and recipes; the reference runs once for all of them."""

    def __init__(
        self,
        model: str | Path,
        verification: MusicChoice | None = None,
        calibration: Path | None = None,
        without: Pass | None = None,
    ) -> None:
        """model: preset, checkpoint or configuration file; verification: the music of the parity gate; calibration:
        a folder of songs or a MUSDB18 root. Without either, the default clip. without: a pass of the step to leave out,
        to see what it does; with a recipe that rounds, only one that keeps the products. Raises ConfigError or
        CheckpointError.
        """
        # For the whole process, as PyTorch has it: steps of one row are slower on more threads, waiting for each other.
        torch.set_num_threads(1)
        self.source = find_model(model)
        self.verification = verification or MusicChoice()
        #: What there is to say about the calibration music.
        self.remarks: list[str] = []
        self._calibration_folder = calibration
        self._without = without
        self._layers = Layers(self.source.model)

    def place(self, target: str, recipe: Recipe, out: Path, *, force: bool = False) -> Path:
        """Where `compile` will put a bundle, after every check that needs no work.

        Raises ConfigError for an unknown target or a recipe that does not fit the model, MissingDependencyError,
        EdgeError when it exists.
        """
        exporter_for(target)
        if not recipe.is_float:
            quantizer_for(target)
            recipe.check(layers_of(self.source.model))
        place = out / bundle_name(self.source.name, target, recipe.name)
        files.require_absent(place, replace=force)
        return place

    def compile(
        self,
        target: str,
        recipe: Recipe,
        out: Path,
        *,
        force: bool = False,
        begin: Callable[[str], None] = unheard,
        max_sdr_drop: float | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> tuple[Bundle, ParityReport]:
        """Write `<out>/<model>-<target>-<recipe>.edge` with its parity evidence; `begin` hears of each stage.

        max_sdr_drop: allowed change of SDR in dB in place of the committed threshold; search: how the recipe was
        found, for the manifest. The folder appears whole, at the end, also when parity failed: then its status says
        so and the caller decides. Raises ExportError and what `place` raises.
        """
        place = self.place(target, recipe, out, force=force)
        self._read_music(recipe)
        with files.writing_folder(place, replace=force) as folder:
            begin(f"{place.name}: building")
            self.build(folder, target, recipe, search)
            begin(f"{place.name}: verifying")
            bundle, report = self._verify(read_bundle(folder), max_sdr_drop)
        return replace(bundle, path=place), report

    def _read_music(self, recipe: Recipe) -> None:
        """Music that cannot be read is refused before any work is done or any folder made."""
        if recipe.needs_calibration:
            _ = self.calibration
        _ = self._music

    def build(self, folder: Path, target: str, recipe: Recipe, search: Mapping[str, Any] | None = None) -> None:
        """Write a bundle without parity evidence into an empty folder."""
        write_manifest(folder, self._build(folder, target, recipe, search))

    def _build(self, folder: Path, target: str, recipe: Recipe, search: Mapping[str, Any] | None) -> Manifest:
        if self._without is not None and not (recipe.is_float or self._without.keeps_products):
            raise ConfigError(f"without {self._without.name}, layers and products do not match; build float32")
        exporter, step = exporter_for(target), self._step(target)
        spec = step.spec()
        shutil.copytree(self._float_graph(target), folder, dirs_exist_ok=True)
        facts = exporter.inspect_graph(folder, self._layers)
        quantization: dict[str, Any] | None = None
        # A search that left every layer float has something to explain all the same.
        if not recipe.is_float or search is not None:
            quantization = self._quantize(folder, target, recipe, facts)
            facts = with_layers_of(exporter.inspect_graph(folder, self._layers), facts)
            check_graph(facts, spec)
            _check_precision(facts, quantization["layers"])
            if search is not None:
                quantization["search"] = dict(search)
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
            graph={
                **_describe_graph(facts),
                "passes": [each.name for each in passes_of(target) if each is not self._without],
            },
            files=record_files(folder, exporter.FILES),
            tools={"ddtasnet-edge": __version__, **installed_versions(TOOLS)},
            licence=self._licence(recipe),
            quantization=quantization,
        )

    def _step(self, target: str) -> DDTasNet:
        return with_passes(self.source.model, target, self._without)

    def float_bytes(self, target: str) -> int:
        """Bytes of weights that a hop of the float32 graph reads."""
        return exporter_for(target).inspect_graph(self._float_graph(target), self._layers).weight_bytes

    def _float_graph(self, target: str) -> Path:
        """A folder with the checked float graph, exported when a recipe first asks for it."""
        folder = Path(self._spool.name, target)
        if not folder.exists():
            exporter = exporter_for(target)
            folder.mkdir()
            try:
                exporter.export_graph(self._step(target), folder)
                facts = exporter.inspect_graph(folder, self._layers)
                check_graph(facts, self._step(target).spec())
                if self._without is None:
                    check_products(facts, self._layers.names)
            except BaseException:
                shutil.rmtree(folder)
                raise
        return folder

    def _quantize(self, folder: Path, target: str, recipe: Recipe, facts: GraphFacts) -> dict[str, Any]:
        quantizer = quantizer_for(target)
        # A search has listened to every precision, whatever it chose.
        calibrated = recipe.needs_calibration or recipe.name == AUTO
        seen = self.observations if calibrated else {}
        layers = quantize_layers(self.source.model, recipe, quantizer.ARITHMETIC, seen)
        nodes = {product.layer: product.node for product in facts.products}
        quantizer.quantize_graph(folder, {nodes[name]: layer for name, layer in layers.items()})
        kept = {product.layer for product in facts.products if product.layer} - set(layers)
        return {
            "recipe": recipe.to_dict(),
            "layers": {name: layer.precision.name for name, layer in layers.items()},
            "float_layers": sorted(kept),
            "calibration": self._describe_calibration() if calibrated else None,
        }

    def _describe_calibration(self) -> dict[str, Any]:
        return describe_calibration(self.calibration) | ({"remarks": self.remarks} if self.remarks else {})

    def _verify(self, bundle: Bundle, max_sdr_drop: float | None) -> tuple[Bundle, ParityReport]:
        with open_session(bundle) as session:
            # Without true stems there is no SDR: such a model is judged by SNR, as random weights are.
            weights = bundle.manifest.weights if has_stems(bundle.manifest.spec) else "random"
            # A recipe of one's own that rounds nothing is held to what float32 is held to.
            rounded = (bundle.manifest.quantization or {}).get("layers")
            recipe = bundle.manifest.recipe if rounded else FLOAT32.name
            thresholds = thresholds_for(bundle.manifest.target, recipe, weights, session.runtime)
            if max_sdr_drop is not None:
                thresholds = replace(thresholds, dsdr_db=max_sdr_drop)
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
            "machine": describe_machine().to_dict(),
        }

    @cached_property
    def _music(self) -> Music:
        """The music of the parity gate. A model with stems that it lacks gets clips without any."""
        config = self.source.model.config
        return find_music(config, self.verification, with_stems=has_stems(config))

    @property
    def clips(self) -> list[Clip]:
        """The clips of the parity gate."""
        return [read() for read in self._music.tracks.values()]

    @cached_property
    def calibration(self) -> list[Clip]:
        """The music that ranges are measured on."""
        return calibration_clips(self.source.model.config, self._calibration_folder, self.remarks.append)

    @cached_property
    def observations(self) -> dict[str, Observation]:
        """What every product of the model saw of the calibration music."""
        return observe(self.source.model, self.calibration)

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
        if recipe.needs_calibration or recipe.name == AUTO:
            licence["calibration"] = f"weights rounded and ranges measured on: {_notes(self.calibration)}"
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
        "products": [asdict(product) for product in facts.products],
    }


def _check_precision(facts: GraphFacts, layers: Mapping[str, str]) -> None:
    """Raise ExportError unless the graph stores as many products with four and with eight bits as were chosen."""
    chosen = Counter(f"int{precision_named(name).weight_bits}" for name in layers.values())
    found = Counter(product.dtype for product in facts.products if product.dtype != "float32")
    if found != chosen:
        raise ExportError(f"the quantized graph stores {dict(found)} matrix products, the recipe chose {dict(chosen)}")


def _notes(clips: Sequence[Clip]) -> str:
    return "; ".join(dict.fromkeys(clip.note for clip in clips))
