"""What is evaluated: a model in PyTorch or a bundle on its runtime, behind one face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddtasnet_edge import bundle as bundles
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError, StreamError
from ddtasnet_edge.spec import FloatArray, StreamSpec
from ddtasnet_edge.stream import StreamRunner


@dataclass(frozen=True, eq=False)
class Separator:
    """A stream runner and where it came from. weights: 'random' or 'trained'; source: one line for a person."""

    name: str
    weights: str
    source: str
    runner: StreamRunner

    @property
    def spec(self) -> StreamSpec:
        """Sample rate, channels and sources that the music must have."""
        return self.runner.spec

    def separate(self, mix: FloatArray) -> FloatArray:
        """A whole mix [channels, n] to its stems [sources, channels, n], aligned, from a fresh state.

        The mix is fed a second at a time, so memory beyond the result does not grow with its length. Raises
        StreamError when the stems hold NaN or infinity.
        """
        self.runner.reset()
        stems = np.empty((len(self.spec.sources), *mix.shape), dtype=np.float32)
        done = 0
        for start in range(0, mix.shape[1], self.spec.sample_rate):
            part = self.runner.feed(mix[:, start : start + self.spec.sample_rate])
            stems[..., done : done + part.shape[-1]] = part
            done += part.shape[-1]
        stems[..., done:] = self.runner.flush()
        if not np.isfinite(stems).all():
            raise StreamError(f"the stems of {self.name} hold NaN or infinity, expected samples; train or export again")
        return stems


def open_separator(source: str | Path) -> Separator:
    """The separator that `source` names: a bundle folder, a preset, a checkpoint or a configuration.

    Raises BundleError, ConfigError, CheckpointError, and MissingDependencyError when its runtime is not installed.
    """
    path = Path(source)
    if path.suffix == bundles.SUFFIX or path.is_dir():
        return _open_bundle(path)
    return _open_model(source)


def open_against(source: str | Path, separator: Separator) -> Separator:
    """The separator that `separator` is to be compared with. Raises as `open_separator`.

    Raises ConfigError unless both have the same sample rate, channels and sources.
    """
    other = open_separator(source)
    if _stream_format(other.spec) != _stream_format(separator.spec):
        raise ConfigError(
            f"--against {other.name} streams {_stream_format(other.spec)}, {separator.name} streams "
            f"{_stream_format(separator.spec)}; compare separators of one stream format"
        )
    return other


def hops_per_second(spec: StreamSpec) -> int:
    """The whole number of hops that comes closest to a second."""
    return max(1, round(spec.sample_rate / spec.hop_length))


def _stream_format(spec: StreamSpec) -> str:
    """What two separators must have in common to be compared on the same music."""
    return f"{spec.sample_rate} Hz, {spec.channels} channels, {' '.join(spec.sources)}"


def _open_bundle(path: Path) -> Separator:
    from ddtasnet_edge.runtimes import open_session

    bundle = bundles.read_bundle(path)
    session = open_session(bundle)
    source = f"bundle {bundle.path.name}, graph {bundle.digest}, {bundle.manifest.status}, {session.runtime}"
    return Separator(bundle.path.stem, bundle.manifest.weights, source, StreamRunner(session))


def _open_model(source: str | Path) -> Separator:
    require(("torch", "safetensors"), "evaluating a model in PyTorch", "export")
    from ddtasnet_edge.models.source import find_model
    from ddtasnet_edge.runtimes.torch_session import ScanSession

    found = find_model(source)
    session = ScanSession(found.model, hops_per_second(found.model.spec()))
    return Separator(found.name, found.weights, f"{found.describe()}, {session.runtime}", StreamRunner(session))
