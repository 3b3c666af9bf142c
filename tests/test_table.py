"""Tables: whole cells, numbers to the right, and every line as wide as the others."""

from __future__ import annotations

import sys
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge import console
from ddtasnet_edge.table import draw_table

TEXT = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=12)


def test_a_table_as_it_is_shown() -> None:
    drawn = draw_table("Stems", ("stem", "dB"), [("drums", 5.57), ("other", "-"), ("vocals", "-1.6")], "uSDR")
    assert drawn.splitlines() == [
        "Stems",
        "┏━━━━━━━━┳━━━━━━┓",
        "┃ stem   ┃   dB ┃",
        "┡━━━━━━━━╇━━━━━━┩",
        "│ drums  │ 5.57 │",
        "│ other  │    - │",
        "│ vocals │ -1.6 │",
        "└────────┴──────┘",
        "uSDR",
    ]


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.lists(TEXT, min_size=n, max_size=n)] * 3)))
def test_every_cell_is_whole_and_every_line_as_wide(table: tuple[list[str], list[str], list[str]]) -> None:
    columns, *rows = table
    lines = draw_table("", columns, rows).splitlines()
    assert len(lines) == 6
    assert len({len(line) for line in lines}) == 1
    for row, line in zip(rows, lines[3:5], strict=True):
        assert [cell.strip() for cell in line.split("│")[1:-1]] == row


def test_wide_and_combining_signs_take_the_room_that_a_terminal_gives_them() -> None:
    wide, combined = draw_table("", ("song",), [("歌",), ("e\u0301",)]).splitlines()[3:5]
    assert (wide, combined) == ("│ 歌   │", "│ e\u0301    │")


def test_a_cell_of_two_lines_becomes_one() -> None:
    assert "│ a b" in draw_table("", ("name",), [("a\nb",)])


@pytest.mark.parametrize("there", [True, False])
def test_progress_is_drawn_where_rich_is_installed(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "PROGRESS_AFTER", -1.0)
    if not there:
        monkeypatch.setitem(sys.modules, "rich", None)
    assert list(console.progress(range(3), 3, "counting")) == [0, 1, 2]
    assert bool(terminal.getvalue()) == there
