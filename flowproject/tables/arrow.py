"""Makes Arrow tables of the results of queries, and data frames for those who have pandas."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowproject.errors import SourceError

__all__ = ["empty", "frame", "joined", "polars_frame", "table"]

_INSTALL: Final = "python -m pip install"


def joined(tables: Sequence[Any]) -> Any:
    """Join tables into one; their columns may be of narrower and wider types."""
    import pyarrow as pa

    # Snowflake sends each batch in the narrowest type that holds its numbers.
    return pa.concat_tables(tables, promote_options="permissive")


def table(batches: Sequence[Any], schema: Any) -> Any:
    """The table of these record batches, all of one schema."""
    import pyarrow as pa

    return pa.Table.from_batches(batches, schema)


def empty(columns: Mapping[str, tuple[Any, ...]]) -> Any:
    """A table without a row.

    `columns` has the type of each: the name of pyarrow's function that makes it, and its arguments.
    """
    import pyarrow as pa

    # By name, so that a source need not import pyarrow to say what a column without rows is.
    types = [(name, getattr(pa, make)(*given)) for name, (make, *given) in columns.items()]
    return pa.schema(types).empty_table()


def frame(of: Any, instead: str = "`query_arrow` gives the same result") -> Any:
    """Turn a table into a pandas.DataFrame; `instead` says what does without pandas.

    Raises:
        SourceError: if pandas is not installed.
    """
    try:
        return of.to_pandas()
    except ImportError as error:
        raise SourceError(
            f"A data frame needs pandas, which is not installed ({error})",
            allowed=f"{instead} without it",
            fix=f"Install it: {_INSTALL} pandas",
        ) from error


def polars_frame(of: Any) -> Any:
    """Turn a table into a polars.DataFrame.

    Raises:
        SourceError: if polars is not installed, or has no type for a column.
    """
    try:
        import polars as pl
    except ImportError as error:
        raise SourceError(
            f"A data frame of polars needs polars, which is not installed ({error})",
            allowed="`to_arrow` gives the same without it",
            fix=f"Install it: {_INSTALL} polars",
        ) from error
    try:
        return pl.from_arrow(of)
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"polars has no type for a column of {', '.join(map(str, of.schema.types))}",
            allowed="`to_arrow` gives the same without it",
            fix="Select the columns that are needed: pl.from_arrow(....to_arrow().read_all()"
            ".select([...]))",
        ) from error
