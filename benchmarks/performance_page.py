"""Writes docs/PERFORMANCE.md from the JSON files of measurements, with its pictures beside it.

python -m ddtasnet_edge.benchmarks.performance_page --bench bench.json --scaling scaling.json --out docs/PERFORMANCE.md
"""

from __future__ import annotations

import sys

from ddtasnet_edge.benchmarks.performance_sections import SECTIONS
from ddtasnet_edge.pages import Page

PAGE = Page(
    "ddtasnet_edge.benchmarks.performance_page",
    "Performance",
    """\
Figures of the machine named beside them and of no other; read ratios within one run. Written by the command below, and
not by hand; what is an estimate is called one.""",
    SECTIONS,
)
main = PAGE.main

if __name__ == "__main__":
    sys.exit(main())
