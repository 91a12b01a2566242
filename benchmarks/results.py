"""Figures as a line each on the terminal, and as tables with all that is needed to judge them.

`RESULTS.md` has a part for each group of figures that is measured in one run, with the day and the
versions of that run: whoever measures a group anew leaves the others as they are.
"""

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import Final

from benchmarks.costs import Cost, Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison

__all__ = ["document", "line", "part", "parts"]

_PACKAGES: Final = ("metaflow", "boto3", "duckdb", "obstore", "pyarrow", "starlette", "uvicorn")
_ABOUT: Final = """# What it costs

Written by `make bench`. Every figure is a ratio between two things that were timed in turn
(A B A B ...) in one run, after a round that does not count: the **median of the pairs' ratios**,
with the middle half of the ratios beside it. Seconds are medians of one machine; only the ratios
travel. Each part was measured by itself, on the day and with the versions that it names:
`make bench ARGS=tick` measures one part anew.

Where costs are listed, each way runs in a process of its own; its packages are imported before the
clock starts, its clients made after. Time and CPU are medians of so many runs, without what the
server needs; memory is the most that any run had, with Python and all packages. What is slow ran
once.
"""
_HEADING: Final = re.compile(r"^## (\w+)$", re.MULTILINE)


def line(figure: Figure, *, judged: bool) -> str:
    """The figure on one line of a terminal, with a verdict if it is one to be `judged`."""
    match figure:
        case Comparison():
            verdict = f" ({_verdict(figure)})" if judged and figure.goal else ""
            goal = f"goal {figure.goal:g}{verdict}" if figure.goal else "no goal"
            return f"  {_ratio(figure.ratio):>6}  {goal:18} {figure.ours_is} ÷ {figure.peer_is}"
        case Cost():
            spent = f"{_seconds(figure.wall)}, CPU {_seconds(figure.cpu)}, {figure.peak_mb:.0f} MB"
            return f"  {spent}, {figure.requests:,} requests: {figure.method} ({figure.setting})"
        case Limit():
            verdict = f" ({_verdict(figure)})" if judged else ""
            amount = f"{_amount(figure.amount)} of {_amount(figure.most)} {figure.unit}{verdict}"
            return f"  {amount}: {figure.what}"


def document(measured: Mapping[str, str]) -> str:
    """The file of all results, in Markdown, out of its parts."""
    return _ABOUT + "".join(f"\n## {name}\n\n{text.strip()}\n" for name, text in measured.items())


def parts(document: str) -> dict[str, str]:
    """The parts of a document by the names of their groups."""
    _, *found = _HEADING.split(document)
    return dict(zip(found[::2], (text.strip() for text in found[1::2]), strict=True))


def part(about: str, figures: Sequence[Figure]) -> str:
    """One group of figures, in Markdown; `about` says what they tell."""
    comparisons = [each for each in figures if isinstance(each, Comparison)]
    costs = [each for each in figures if isinstance(each, Cost)]
    limits = [each for each in figures if isinstance(each, Limit)]
    tables = [
        _table(
            "| ours | its peer | ours | peer | pairs | **ratio** | middle half | goal | |",
            map(_compared, comparisons),
        ),
        _table("| way | setting | time | CPU | memory | requests | runs |", map(_spent, costs)),
        _table("| what | amount | limit | |", map(_limited, limits)),
    ]
    reasons = "".join(
        f"- **{each.ours_is} ÷ {each.peer_is}**: {each.fair_because}.\n" for each in comparisons
    )
    fair = f"Why this is fair:\n\n{reasons}" if reasons else ""
    return "\n".join(filter(None, [f"{about}\n", f"{_circumstances()}\n", *tables, fair]))


def _circumstances() -> str:
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs ({platform.machine()}), "
        f"{platform.system()}, Python {platform.python_version()}, {packages}. "
        f"Load average at the end: {load}."
    )


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; nothing if it has no rows."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in rows]
    return f"{head}\n{'|---' * (head.count('|') - 1)}|\n{''.join(lines)}" if lines else ""


def _compared(comparison: Comparison) -> Sequence[str]:
    low, high = comparison.middle_half
    return (
        comparison.ours_is,
        comparison.peer_is,
        _seconds(median(comparison.ours)),
        _seconds(median(comparison.peer)),
        str(len(comparison.ratios)),
        f"**{_ratio(comparison.ratio)}**",
        f"{_ratio(low)} to {_ratio(high)}",
        f"≤ {comparison.goal:g}" if comparison.goal else "",
        _verdict(comparison),
    )


def _spent(cost: Cost) -> Sequence[str]:
    return (
        cost.method,
        cost.setting,
        _seconds(cost.wall),
        _seconds(cost.cpu),
        f"{cost.peak_mb:,.0f} MB",
        f"{cost.requests:,}",
        str(len(cost.taken)),
    )


def _limited(limit: Limit) -> Sequence[str]:
    return (
        limit.what,
        f"{_amount(limit.amount)} {limit.unit}",
        f"≤ {_amount(limit.most)}",
        _verdict(limit),
    )


def _verdict(judged: Comparison | Limit) -> str:
    if isinstance(judged, Comparison) and judged.goal is None:
        return ""
    return "met" if judged.is_met else "NOT met"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"  # noqa: PLR2004  # one in ten


def _amount(amount: float) -> str:
    return f"{amount:.3f}" if 0 < amount < 10 else f"{amount:,.0f}"  # noqa: PLR2004


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
