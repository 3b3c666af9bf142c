"""Writes docs/QUALITY.md from the JSON files of evaluations, with its picture beside it.

python -m ddtasnet_edge.evaluation.quality_page --separation tiny.json small.json --out docs/QUALITY.md
"""

from __future__ import annotations

import sys

from ddtasnet_edge.evaluation.quality_sections import SECTIONS
from ddtasnet_edge.pages import Page

PAGE = Page(
    "ddtasnet_edge.evaluation.quality_page",
    "Quality",
    """\
How well the shipped models separate, what rounding changes of it, and whether it stays so. Written by the command below
from what the commands of every section measured, and not by hand.""",
    SECTIONS,
)
main = PAGE.main

if __name__ == "__main__":
    sys.exit(main())
