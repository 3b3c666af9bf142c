"""Tables of text. Drawn here, because a library for it would be a sixteenth of what a device installs."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

# Of a line: its left end, what fills it, what crosses it, its right end.
_TOP, _MIDDLE, _BOTTOM = "┏━┳┓", "┡━╇┩", "└─┴┘"
_HEAD, _BODY = "┃", "│"


def draw_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """Title, head, rows and caption below one another; columns of numbers are right-aligned, no cell is cut."""
    cells = [[" ".join(str(cell).splitlines()) for cell in row] for row in rows]
    widths = [max(map(_width, [name, *(row[index] for row in cells)])) for index, name in enumerate(columns)]
    numeric = [all(is_number(row[index]) for row in cells) for index in range(len(columns))]

    def line(row: Sequence[str], border: str) -> str:
        padded = (_pad(*cell) for cell in zip(row, widths, numeric, strict=True))
        return f"{border} {f' {border} '.join(padded)} {border}"

    drawn = [
        *(title, _rule(_TOP, widths), line(columns, _HEAD), _rule(_MIDDLE, widths)),
        *(line(row, _BODY) for row in cells),
        *(_rule(_BOTTOM, widths), caption),
    ]
    return "\n".join(part for part in drawn if part)


def is_number(cell: str) -> bool:
    """Whether a cell is a number, a dash in the place of one, or empty."""
    try:
        float(cell or "nan")
    except ValueError:
        return cell == "-"
    return True


def _rule(ends: str, widths: Sequence[int]) -> str:
    left, fill, cross, right = tuple(ends)
    return left + cross.join(fill * (width + 2) for width in widths) + right


def _pad(cell: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(cell))
    return blanks + cell if right else cell + blanks


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)
