"""Every benchmark still runs: a smoke run of `make bench`, as a user starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
def test_a_quick_run_shows_every_figure_and_leaves_the_results_as_they_are():
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_bytes()

    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert len([line for line in run.stdout.splitlines() if " ÷ " in line]) == 25
    assert results.read_bytes() == before
