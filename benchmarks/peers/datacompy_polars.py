"""datacompy alone, on frames of polars: two Parquet files compared by their key, and its report.

Takes the two files. Nothing is written.
"""

import sys

import datacompy
import polars as pl

from benchmarks.probe import report

OLD, NEW = sys.argv[1:]


def moved() -> dict[str, object]:
    """How many rows there are in the new file, and how many have other values."""
    old, new = pl.read_parquet(OLD), pl.read_parquet(NEW)
    compared = datacompy.PolarsCompare(old, new, join_columns=["id"])
    if compared.matches() or not compared.report():
        raise RuntimeError("nothing was found")
    moved = len(compared.all_mismatch())
    return {"objects": len(new), "moved": moved, "version": datacompy.__version__}


report(moved)
