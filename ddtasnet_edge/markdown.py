"""Markdown of the pages that are written from measurements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What a column of numbers may hold.
NUMBER = re.compile(r"-$|[-+\d.]+( late|x|%)?$")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns that hold nothing but numbers are right-aligned."""
    cells = list(rows)
    rules = ["--:" if all(NUMBER.match(row[index]) for row in cells) else "---" for index in range(len(columns))]
    lines = [columns, rules, *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """A list, an item per line."""
    return "\n".join(f"- {line}" for line in lines)


def blocks(*parts: str) -> str:
    """Paragraphs, tables and the like, one below the other."""
    return "\n\n".join(parts)
