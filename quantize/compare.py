"""Recipes side by side: what each costs in sound and saves in bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from ddtasnet_edge.bundle import Bundle

COLUMNS = ("model", "recipe", "target", "MB/hop", "of float", "SNR", "mean dSDR", "worst dSDR", "where", "parity")


@dataclass(frozen=True)
class RecipeResult:
    """One bundle over all clips of the parity gate.

    weight_bytes: that a hop reads; share: of those of float32; snr_db: the lowest; mean_dsdr: by stem, over clips;
    worst_dsdr: largest absolute change of any stem of any clip, and where that was; NaN without any known stem.
    """

    model: str
    recipe: str
    target: str
    weight_bytes: int
    share: float
    snr_db: float
    mean_dsdr: dict[str, float]
    worst_dsdr: float
    where: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def summarize(bundle: Bundle, report: Any, float_bytes: int) -> RecipeResult:
    """report: the ParityReport of the bundle; float_bytes: weights that the float32 bundle of that target reads."""
    known = [(clip.clip, stem) for clip in report.clips for stem in clip.stems if not math.isnan(stem.dsdr)]
    changes = {
        source: [stem.dsdr for _, stem in known if stem.source == source] for source in bundle.manifest.spec.sources
    }
    track, worst = max(known, key=lambda pair: abs(pair[1].dsdr)) if known else ("", None)
    weight_bytes = int(bundle.manifest.graph["weight_bytes"])
    return RecipeResult(
        model=str(bundle.manifest.model["name"]),
        recipe=bundle.manifest.recipe,
        target=bundle.manifest.target,
        weight_bytes=weight_bytes,
        share=weight_bytes / float_bytes,
        snr_db=min(clip.snr_db for clip in report.clips),
        mean_dsdr={source: fmean(values) for source, values in changes.items() if values},
        worst_dsdr=math.nan if worst is None else abs(worst.dsdr),
        where="-" if worst is None else f"{worst.source} of {track}",
        passed=report.passed,
    )


def rows(results: Sequence[RecipeResult]) -> list[tuple[str, ...]]:
    """Cells of COLUMNS; the mean change is that of the stem that changed most on average."""
    return [
        (
            result.model,
            result.recipe,
            result.target,
            f"{result.weight_bytes / 1e6:.2f}",
            f"{result.share:.3f}",
            f"{result.snr_db:.1f}",
            f"{max(result.mean_dsdr.values(), key=abs):+.3f}" if result.mean_dsdr else "-",
            f"{result.worst_dsdr:.3f}" if result.mean_dsdr else "-",
            result.where,
            "ok" if result.passed else "FAILED",
        )
        for result in results
    ]
