"""The sources that answer queries, with the documentation of every key.

Like `data`, where the others stand and all are listed: nothing third-party, remote tasks read it.
"""

from dataclasses import dataclass
from typing import Literal

from flowproject.config.source import Data, Seconds, SomeSeconds

__all__ = ["Dialect", "DuckDBData", "SnowflakeData"]

Dialect = Literal["", "snowflake"]
"""Whose SQL the files of a project are written in; empty: that of the engine which runs them."""


@dataclass(frozen=True, kw_only=True)
class DuckDBData(Data):
    """The result of a SQL query, run by DuckDB on a database file or on files of the project."""

    type: Literal["duckdb"] = "duckdb"
    """DuckDB runs inside the step: no server, no account."""

    query: str
    """Name of the query to watch, without folder and ending: `"sensor"` is `sql/sensor.sql`."""

    key: tuple[str, ...] = ()
    """Columns that together identify a row, so that rows are told apart as added, modified and
    removed. Empty: the result is compared as a whole, and only its value is known to have changed,
    which suits a query that returns one number."""

    database: str = ""
    """Database file, relative to the project's folder. Empty: a database in memory, which suits
    queries that read CSV, Parquet or JSON files in place."""

    dialect: Dialect = ""
    """What the SQL files are written in. With `"snowflake"` they are translated before they run, so
    that the queries of a project can be tried on DuckDB without an account; every tick says so.
    Empty: DuckDB's own SQL, which runs as it is."""

    settle: Seconds = 0.0
    """How long, in seconds, the files behind the query must have been left alone before a change of
    its result counts, so that one still being written isn't taken for finished. 0: a change counts
    at once, right for files that are moved into place whole."""

    row_limit: int = 1_000_000
    """Rows above which a result is an error instead of a very slow tick. The default is about what
    a small container holds in memory."""


@dataclass(frozen=True, kw_only=True)
class SnowflakeData(Data):
    """The result of a SQL query, run by Snowflake."""

    type: Literal["snowflake"] = "snowflake"
    """Snowflake, through its own connector, which the extra `snowflake` installs."""

    query: str
    """Name of the query to watch, without folder and ending: `"sensor"` is `sql/sensor.sql`."""

    key: tuple[str, ...] = ()
    """Columns that together identify a row, so that rows are told apart as added, modified and
    removed. Empty: the result is compared as a whole, and only its value is known to have changed,
    which suits a query that returns one number."""

    integration: str = ""
    """Name of an Outerbounds integration to connect with, where the Outerbounds distribution of
    Metaflow is installed. Empty: `connection`, or the environment."""

    connection: str = ""
    """Name of a connection in Snowflake's own file `connections.toml`. Empty: the environment,
    `SNOWFLAKE_ACCOUNT`, `SNOWFLAKE_USER` and so on, which Metaflow's `@secrets` can fill."""

    warehouse: str = ""
    """Virtual warehouse that runs the queries. Empty: what the connection says, or the user's
    default. The same is true of the next three."""

    role: str = ""
    """Role that the queries run with."""

    database: str = ""
    """Database in which the names of a query are looked up."""

    schema: str = ""
    """Schema in which the names of a query are looked up."""

    timeout: SomeSeconds = 600.0
    """How long one query may take, in seconds, with connecting and reading its result. It is
    cancelled on the server then, and not just left alone. A sensor's own `timeout` may end it
    earlier."""

    gate: Literal["", "commit_time"] = ""
    """`commit_time` asks first when the tables behind the query were last written to, and runs the
    query only if one of them was. Empty: every tick runs the query. Nobody has verified yet that
    asking wakes no warehouse."""

    tables: tuple[str, ...] = ()
    """The tables that `gate` asks about, as `"database.schema.table"`. Empty: those that the query
    names, and those that Snowflake's plan of it reads. List them where a tick says that it could
    not be gated, and you know that the result depends on no others."""

    row_limit: int = 1_000_000
    """Rows above which a result is an error instead of a very slow tick. The default is about what
    a small container holds in memory."""
