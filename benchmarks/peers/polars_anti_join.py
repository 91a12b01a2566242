"""polars alone: the rows of one Parquet file that are not in another, by all of their columns.

Takes the two files. Nothing is written.
"""

import sys

import polars as pl

from benchmarks.probe import report

OLD, NEW = sys.argv[1:]


def moved() -> dict[str, object]:
    """How many rows there are in the new file, and how many of them are not in the old one."""
    old, new = pl.scan_parquet(OLD), pl.scan_parquet(NEW)
    found = new.join(old, on=new.collect_schema().names(), how="anti", nulls_equal=True).collect()
    return {
        "objects": new.select(pl.len()).collect().item(),
        "moved": len(found),
        "version": pl.__version__,
    }


report(moved)
