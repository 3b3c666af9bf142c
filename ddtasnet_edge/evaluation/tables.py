"""How figures are written in the tables."""

from __future__ import annotations

import math


def decibels(value: float, digits: int = 2) -> str:
    """As many digits, or a dash where there is no figure."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A change: its sign and three digits, or a dash where there is no figure; no minus before zeros."""
    return "-" if math.isnan(value) else f"{round(value, 3) + 0.0:+.3f}"
