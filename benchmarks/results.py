"""Figures as a line each on the terminal, and as a table with all that is needed to judge them."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import Final

from benchmarks.pairs import Comparison

__all__ = ["document", "line"]

_PACKAGES: Final = ("metaflow", "duckdb", "obstore", "pyarrow", "starlette", "uvicorn")
_ABOUT: Final = """# What it costs

Written by `make bench`. Every figure is a ratio between two things that were timed in turn
(A B A B ...) in one run, after a round that does not count: the **median of the pairs' ratios**,
with the middle half of the ratios beside it. Seconds are medians of this machine; only the ratios
travel.
"""


def line(comparison: Comparison, *, judged: bool) -> str:
    """The comparison on one line of a terminal, with a verdict if it is one to be `judged`."""
    verdict = f" ({_verdict(comparison)})" if judged and comparison.goal else ""
    goal = f"goal {comparison.goal:g}{verdict}" if comparison.goal else "no goal"
    return f"  {comparison.ratio:5.2f}  {goal:18} {comparison.ours_is} ÷ {comparison.peer_is}"


def document(comparisons: Sequence[Comparison]) -> str:
    """The file of all results, in Markdown."""
    head = (
        "| ours | its peer | ours | peer | pairs | **ratio** | middle half | goal | |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    reasons = "".join(
        f"- **{each.ours_is} ÷ {each.peer_is}**: {each.fair_because}.\n" for each in comparisons
    )
    return (
        f"{_ABOUT}\n{_circumstances()}\n\n{head}{''.join(map(_row, comparisons))}"
        f"\n## Why this is fair\n\n{reasons}"
    )


def _circumstances() -> str:
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs ({platform.machine()}), "
        f"{platform.system()}, Python {platform.python_version()}, {packages}. "
        f"Load average at the end: {load}."
    )


def _row(comparison: Comparison) -> str:
    low, high = comparison.middle_half
    cells = (
        comparison.ours_is,
        comparison.peer_is,
        _seconds(median(comparison.ours)),
        _seconds(median(comparison.peer)),
        str(len(comparison.ratios)),
        f"**{comparison.ratio:.2f}**",
        f"{low:.2f} to {high:.2f}",
        f"≤ {comparison.goal:g}" if comparison.goal else "",
        _verdict(comparison),
    )
    return f"| {' | '.join(cells)} |\n"


def _verdict(comparison: Comparison) -> str:
    if comparison.goal is None:
        return ""
    return "met" if comparison.is_met else "NOT met"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
