"""Every benchmark still runs: a smoke run of `make bench`, as a user starts it.

The cheapest of them in `make test`. All of them take minutes: `make test ARGS="-m thorough"`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def smoke(figures: int, *parts: str) -> None:
    """A quick run of these parts, or of all, shows every figure and leaves the results alone."""
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_bytes()

    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", *parts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert len([line for line in run.stdout.splitlines() if " ÷ " in line]) == figures
    assert results.read_bytes() == before


def test_a_quick_run_shows_its_figures_and_leaves_the_results_as_they_are() -> None:
    smoke(3, "imports", "journal")


@pytest.mark.thorough
@pytest.mark.timeout(1500)
def test_a_quick_run_of_everything_shows_every_figure() -> None:
    smoke(30)
