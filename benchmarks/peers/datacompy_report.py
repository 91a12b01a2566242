"""datacompy alone: two Parquet files compared by their key, and its report.

Takes the two files, and whose frames they become: `polars` or `pandas`. Nothing is written.
"""

import sys

import datacompy
import pandas as pd
import polars as pl
import pyarrow.parquet  # noqa: F401

from benchmarks.probe import report

OLD, NEW, FRAMES = sys.argv[1:]


def moved() -> dict[str, object]:
    """How many rows there are in the new file, and how many have other values."""
    if FRAMES == "polars":
        files = (pl.read_parquet(OLD), pl.read_parquet(NEW))
        compared = datacompy.PolarsCompare(*files, join_columns=["id"])
    else:
        files = (pd.read_parquet(OLD), pd.read_parquet(NEW))
        compared = datacompy.PandasCompare(*files, join_columns=["id"])
    if compared.matches() or not compared.report():
        raise RuntimeError("nothing was found")
    found = len(compared.all_mismatch())
    return {"objects": len(files[1]), "moved": found, "version": datacompy.__version__}


report(moved)
