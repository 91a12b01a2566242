"""Makes Arrow tables of the results of queries, and data frames for those who have pandas."""

from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any, Final

from flowproject.errors import QueryError, SourceError

__all__ = ["empty", "frame", "joined", "polars_frame", "queried", "table"]

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


def queried(name: str, rows: Any, text: str, params: Mapping[str, Any], file: str) -> Any:
    """The table that a query gives over rows of Arrow, which it names `name`; it sees nothing else.

    Raises:
        QueryError: if the query in `file` can't be run, or is none.
    """
    import duckdb

    with (
        TemporaryDirectory(prefix="flowproject-") as folder,
        duckdb.connect(config={"threads": 1, "temp_directory": folder}) as connection,
    ):
        connection.register("given", rows)
        # Kept, because a query may name it twice, and a stream is read once.
        quoted = name.replace('"', '""')
        connection.execute(f'CREATE TABLE "{quoted}" AS FROM given')  # quoted, and ours
        connection.unregister("given")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            found = connection.sql(text, params=dict(params) or None)
        except duckdb.Error as error:
            raise _not_run(error, name, file) from error
        if found is None:
            raise QueryError(
                "The query returns no rows",
                where=file,
                allowed="Only queries that look, such as SELECT",
            )
        try:
            return found.to_arrow_table()
        except duckdb.Error as error:
            raise _not_run(error, name, file) from error


def _not_run(error: Exception, name: str, file: str) -> QueryError:
    return QueryError(
        f"DuckDB could not run the query: {str(error).partition(chr(10))[0]}",
        where=file,
        allowed=f"The table is named {name!r}",
    )


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
