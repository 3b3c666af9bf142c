"""The log of a run: one row per validation, as CSV, JSON and a picture."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge import files
from ddtasnet_edge.metrics import known_mean


@dataclass(frozen=True)
class Row:
    """The state of a run at one validation.

    loss and gradient_norm are means since the row before; audio_hours counts every passage once per batch lane;
    audio_per_second is seconds of audio per second of training, data_wait the share of that time in which the
    optimizer waited for music. usdr: dB per source, validated with the averaged weights.
    """

    step: int
    minutes: float
    audio_hours: float
    learning_rate: float
    loss: float
    gradient_norm: float
    audio_per_second: float
    data_wait: float
    usdr: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean uSDR in dB over the sources that are heard; NaN when none is."""
        return known_mean(list(self.usdr.values()))

    def flat(self) -> dict[str, float]:
        """Columns of the table."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "usdr"}
        return values | {f"usdr_{source}": value for source, value in self.usdr.items()} | {"usdr_mean": self.mean}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """The inverse of dataclasses.asdict."""
        return cls(**values)


def write_history(folder: Path, rows: list[Row], facts: dict[str, Any]) -> None:
    """log.csv, log.json (with `facts` about the run) and curve.png; each is whole or as it was."""
    if not rows:
        return
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0].flat()), lineterminator="\n")
    table.writeheader()
    table.writerows(row.flat() for row in rows)
    files.write_text(folder / "log.csv", text.getvalue())
    values = files.json_safe({**facts, "rows": [row.flat() for row in rows]})
    files.write_text(folder / "log.json", json.dumps(values, indent=2) + "\n")
    files.write_bytes(folder / "curve.png", _draw(rows))


def _draw(rows: list[Row]) -> bytes:
    """The picture as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    steps = [row.step for row in rows]
    for source in rows[0].usdr:
        upper.plot(steps, [row.usdr[source] for row in rows], marker=".", label=source)
    upper.plot(steps, [row.mean for row in rows], color="black", linewidth=2, label="mean")
    upper.set_ylabel("validation uSDR (dB)")
    upper.legend(loc="lower right", ncols=3)
    lower.plot(steps, [row.loss for row in rows], marker=".")
    lower.set_ylabel("training loss")
    lower.set_xlabel("optimizer step")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()
