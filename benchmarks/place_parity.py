"""Parity at another place: the same bundles and the same music there, here, and in PyTorch."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ddtasnet_edge import console
from ddtasnet_edge.benchmarks.places import Place
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.clips import Clip, default_clip
from ddtasnet_edge.config import PRESETS
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.files import json_safe
from ddtasnet_edge.metrics import snr
from ddtasnet_edge.music import has_stems
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import ParityReport, Trace, compare_clip, run_clip
from ddtasnet_edge.runtimes.thresholds import thresholds_for

if TYPE_CHECKING:
    from ddtasnet_edge.models.ddtasnet import DDTasNet

T = TypeVar("T")

SECONDS = 10.0
#: dB. What a bundle makes of music there against what it makes of it here: only the order of float sums may differ.
SAME_SNR_DB = 60.0
# Rounding an activation turns the last bit of a float into a step of 1/127 now and then, and the state carries it on:
# a quantized bundle differs from itself when the last bits of its input change. It may differ that much, and 3 dB.
MARGIN_DB = 3.0

COLUMNS = ("bundle", "runtime there", "SNR torch", "worst dSDR", "SNR here", "last bits", "parity")
LEGEND = """\
SNR torch, worst dSDR: stems there against PyTorch, and the change of the stem that changed most, in dB
SNR here: stems there against the same bundle on this machine, in dB; inf: the same bits
last bits: SNR of the bundle on this machine against itself after the last bit of every sample of the music changed"""


@dataclass(frozen=True)
class PlaceParity:
    """One bundle there.

    report: against PyTorch. same_snr_db: against the bundle on this machine, inf for equal bits. last_bits_snr_db: of
    the bundle on this machine against itself, when the last bits of the music change.
    """

    bundle: str
    digest: str
    machine: str
    runtime_here: str
    report: ParityReport
    same_snr_db: float
    last_bits_snr_db: float

    @property
    def expected_snr_db(self) -> float:
        """What `same_snr_db` must reach.

        Two results with noise of their own are 3 dB further apart than each is from PyTorch.
        """
        to_torch = min((clip.snr_db for clip in self.report.clips), default=-math.inf)
        return min(SAME_SNR_DB, max(self.last_bits_snr_db, to_torch) - MARGIN_DB)

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each threshold missed."""
        missed = tuple(f"{self.bundle}: {failure}" for failure in self.report.failures)
        # Written so that NaN fails.
        if not self.same_snr_db >= self.expected_snr_db:
            here = f"SNR {self.same_snr_db:.1f} dB against {self.runtime_here} here"
            missed += (f"{self.bundle}: {here}, expected at least {self.expected_snr_db:.1f} dB",)
        return missed


@dataclass(frozen=True)
class PlaceParityReport:
    """All bundles at one place, on one clip."""

    place: str
    clip: str
    seconds: float
    results: tuple[PlaceParity, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each threshold missed; empty when all bundles passed."""
        return tuple(failure for result in self.results for failure in result.failures)

    def rows(self) -> list[list[str]]:
        """One row per bundle under COLUMNS."""
        return [_row(result) for result in self.results]

    def notes(self) -> list[str]:
        """The facts beside the table."""
        return [f"place: {self.place}; {self.seconds:.1f} s of {self.clip}, state carried throughout"]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the same bits are `same_bits`, with null for their infinite SNR."""
        values = asdict(self) | {"failures": list(self.failures)}
        for entry, result in zip(values["results"], self.results, strict=True):
            entry["report"] = result.report.to_dict()
            entry["same_bits"] = result.same_snr_db == float("inf")
        return dict(json_safe(values))


def parity_at(
    place: Place, bundles: Sequence[Bundle], model: str | None = None, seconds: float = SECONDS, quiet: bool = False
) -> PlaceParityReport:
    """Stream the default clip, repeated to `seconds`, through every bundle there and here and through PyTorch.

    model: preset or file that the bundles were made of; None: the preset that their manifests name. Raises EdgeError,
    MissingDependencyError without torch.
    """
    require(("torch", "safetensors"), "parity against PyTorch", "export")
    references = References(model, seconds)
    for bundle in bundles:
        references.model(bundle)  # refuses before anything runs
    with tempfile.TemporaryDirectory() as folder:
        works = [
            partial(_trace_there, place, bundle, references.clip(bundle), Path(folder, str(index)))
            for index, bundle in enumerate(bundles)
        ]
        # The works write into the folder: none is left when it is removed.
        with results_of(works, place.jobs, place.end) as found:
            both = zip(bundles, found, strict=True)
            judged = (_judge(bundle, references, trace, facts) for bundle, (trace, facts) in both)
            results = tuple(console.progress(judged, len(bundles), f"parity on {place.name}", quiet))
    clip = references.clip(bundles[0])
    return PlaceParityReport(place.name, clip.name, clip.mix.shape[1] / clip.sample_rate, results)


@contextmanager
def results_of(works: Sequence[Callable[[], T]], jobs: int, end: Callable[[], None]) -> Iterator[Iterator[T]]:
    """What each work returns, in their order, at most `jobs` at once; no work goes on after the block.

    end: is called after an error or Ctrl-C, when no other work is begun, and makes those that run end soon.
    """
    if jobs == 1:
        # In this thread, where Ctrl-C arrives.
        yield (work() for work in works)
        return
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = [pool.submit(work) for work in works]
        yield (future.result() for future in futures)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end()
        raise
    finally:
        pool.shutdown()


class References:
    """What bundles are held against, each computed once for all bundles of a model."""

    def __init__(self, model: str | None, seconds: float) -> None:
        self._source, self._seconds = model, seconds
        self._models: dict[str, DDTasNet] = {}
        self._clips: dict[str, Clip] = {}
        self._traces: dict[str, Trace] = {}

    def model(self, bundle: Bundle) -> DDTasNet:
        """The model in PyTorch. Raises ConfigError when it has another configuration than the bundle was made of."""
        from ddtasnet_edge.models.source import find_model

        name = _name(bundle)
        if name not in self._models:
            source = self._source or name
            if self._source is None and name not in PRESETS:
                raise ConfigError(f"{bundle.path.name} was not made of a preset; say of which file with --model")
            self._models[name] = find_model(source).model
        model = self._models[name]
        if model.config.to_dict() != bundle.manifest.model["config"]:
            raise ConfigError(f"{bundle.path.name} has another configuration than --model {self._source or name}")
        return model

    def clip(self, bundle: Bundle) -> Clip:
        """The music, with its true stems where the model has those of MUSDB18."""
        name = _name(bundle)
        if name not in self._clips:
            spec = bundle.manifest.spec
            self._clips[name] = _repeat(default_clip(spec, with_stems=has_stems(spec)), self._seconds)
        return self._clips[name]

    def trace(self, bundle: Bundle) -> Trace:
        """What PyTorch makes of the music."""
        from ddtasnet_edge.runtimes.torch_session import TorchSession

        name = _name(bundle)
        if name not in self._traces:
            with TorchSession.from_model(self.model(bundle)) as session:
                self._traces[name] = run_clip(session, self.clip(bundle))
        return self._traces[name]


def _name(bundle: Bundle) -> str:
    return str(bundle.manifest.model["name"])


def _trace_there(place: Place, bundle: Bundle, clip: Clip, scratch: Path) -> tuple[Trace, dict[str, str]]:
    """Runtime and machine there, and the trace that they made."""
    scratch.mkdir()
    mix, trace, facts = scratch / f"mix-{scratch.name}.npy", scratch / "trace.npz", scratch / "trace.json"
    np.save(mix, clip.mix, allow_pickle=False)
    made = place.make_path(f"trace-{scratch.name}.npz")
    place.run("trace_worker", [place.send(bundle.path), place.send(mix), made])
    place.fetch(made, trace)
    place.fetch(f"{made}.json", facts)
    return Trace.load(trace), json.loads(facts.read_text(encoding="utf-8"))


def _judge(bundle: Bundle, references: References, there: Trace, facts: dict[str, str]) -> PlaceParity:
    manifest, clip = bundle.manifest, references.clip(bundle)
    weights = manifest.weights if clip.stems is not None else "random"
    compared = compare_clip(clip, there, references.trace(bundle), manifest.spec.sources)
    with open_session(bundle) as session:
        here, runtime_here = run_clip(session, clip), session.runtime
        nudged = run_clip(session, _nudge(clip))
    thresholds = thresholds_for(manifest.target, manifest.recipe, weights, facts["runtime"])
    return PlaceParity(
        bundle=bundle.path.name,
        digest=bundle.digest,
        machine=facts["machine"],
        runtime_here=runtime_here,
        report=ParityReport(facts["runtime"], "torch", thresholds, (compared,)),
        same_snr_db=snr(here.stems, there.stems),
        last_bits_snr_db=snr(here.stems, nudged.stems),
    )


def _repeat(clip: Clip, seconds: float) -> Clip:
    """The clip, over and over until it is `seconds` long, or cut to that."""
    length = round(seconds * clip.sample_rate)
    indices = np.arange(length) % clip.mix.shape[1]
    stems = None if clip.stems is None else clip.stems[..., indices]
    return replace(clip, mix=clip.mix[:, indices], stems=stems)


def _nudge(clip: Clip) -> Clip:
    """The clip with every sample but zeros replaced by a neighbouring float32, up or down by chance of a fixed seed."""
    limits = np.where(np.random.default_rng(0).random(clip.mix.shape) < 0.5, np.float32(-np.inf), np.float32(np.inf))
    return replace(clip, mix=np.where(clip.mix == 0, clip.mix, np.nextafter(clip.mix, limits)))


def _row(result: PlaceParity) -> list[str]:
    (clip,) = result.report.clips
    return [
        result.bundle,
        f"{result.report.runtime} on {result.machine}",
        f"{clip.snr_db:.1f}",
        f"{clip.worst_dsdr:+.3f}" if clip.stems else "-",
        f"{result.same_snr_db:.1f}",
        f"{result.last_bits_snr_db:.1f}",
        "FAILED" if result.failures else "ok",
    ]
