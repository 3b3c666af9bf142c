"""BSS Eval v4 by the museval package, and its published JSON format."""

from __future__ import annotations

import importlib.util
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np

from ddtasnet_edge import files
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.metrics import Decibels
from ddtasnet_edge.spec import FloatArray

METRICS = ("SDR", "ISR", "SIR", "SAR")
# Length of the filters it fits, its default.
TAPS = 512
# What museval keeps of a figure.
_DIGITS = 5


def bss_eval(references: FloatArray, estimates: FloatArray, sample_rate: int) -> dict[str, Decibels]:
    """SDR, ISR, SIR and SAR in dB of each stem in each second, each [sources, frames].

    references, estimates: [sources, channels, n]. As `museval.evaluate` with its defaults: filters of 512 taps over
    the whole clip, frames of a second without overlap. A frame in which any stem is silent is NaN for all stems, and
    so is every frame when a stem is silent throughout, which museval refuses. Slow: about as long as the music lasts.
    Raises MissingDependencyError.
    """
    if not (_sounds(references) and _sounds(estimates)):
        frames = max(1, references.shape[-1] // sample_rate)
        return {name: np.full((len(references), frames), np.nan) for name in METRICS}
    pair = (references, estimates)
    if all((stems == stems[:, :1]).all() for stems in pair):
        # Equal channels make museval's equations singular, and one of them alone gives the same ratios.
        pair = (references[:, :1], estimates[:, :1])
    swapped = [stems.transpose(0, 2, 1).astype(np.float64) for stems in pair]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = _metrics().bss_eval(*swapped, window=sample_rate, hop=sample_rate, filters_len=TAPS)
    return dict(zip(METRICS, values, strict=False))  # museval adds the permutation


def median_over_frames(frames: Decibels) -> list[float]:
    """Each stem's median over the finite of its frames [sources, frames], as museval aggregates; NaN without any."""
    return [float(np.median(row[np.isfinite(row)])) if np.isfinite(row).any() else math.nan for row in frames]


def write_track(folder: Path, track: str, sources: Sequence[str], frames: Mapping[str, Decibels]) -> Path:
    """Write `<folder>/<track>.json` as museval's TrackStore does, whole or not at all; returns its path.

    museval's own tools read a folder that holds `test/<track>.json`. Like theirs, the file says NaN where a frame
    has no figure. Raises EdgeError when the place cannot be written.
    """
    targets = [
        {"name": source, "frames": [_frame(time, index, frames) for time in range(frames["SDR"].shape[1])]}
        for index, source in enumerate(sources)
    ]
    path = folder / f"{track}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeError(f"cannot make folder {folder}: {error.strerror}; choose another --museval-json") from error
    files.write_text(path, json.dumps({"targets": targets, "museval_version": metadata.version("museval")}, indent=2))
    return path


def require_museval() -> None:
    """Raise MissingDependencyError unless museval is installed."""
    require(("museval", "scipy"), "--museval", "eval")


def _frame(time: int, source: int, frames: Mapping[str, Decibels]) -> dict[str, object]:
    values = {name: float(frames[name][source, time]) for name in ("SDR", "SIR", "SAR", "ISR")}
    rounded = {name: round(value, _DIGITS) if math.isfinite(value) else math.nan for name, value in values.items()}
    return {"time": float(time), "duration": 1.0, "metrics": rounded}


def _sounds(stems: FloatArray) -> bool:
    """museval takes a stem for silent when its channels add up to zero at every sample."""
    return bool((stems.sum(axis=1) != 0.0).any(axis=1).all())


@cache
def _metrics() -> ModuleType:
    """museval's metrics file, read from its place: importing the package would need an ffmpeg program."""
    require_museval()
    package = importlib.util.find_spec("museval")
    assert package is not None
    assert package.submodule_search_locations is not None
    place = Path(package.submodule_search_locations[0], "metrics.py")
    # museval 0.4.1 names the error of a singular matrix by a path that numpy 2 does not have any more.
    source = place.read_text(encoding="utf-8").replace("np.linalg.linalg.LinAlgError", "np.linalg.LinAlgError")
    module = ModuleType("museval_metrics")
    exec(compile(source, place, "exec"), module.__dict__)
    return module
