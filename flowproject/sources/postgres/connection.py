"""Finds the server, opens a connection to it, and turns what fails there into errors of ours.

The address says an URL or the environment. A password travels apart from it: the driver's messages
quote the parts of an address that they can't read, and a password that was written into one wrongly
is such a part.
"""

import math
import os
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from flowproject.config.data import PostgresData
from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.secrecy import keep_password, keep_secret, safe, scrub
from flowproject.sql import Query, parameters

if TYPE_CHECKING:
    from adbc_driver_manager import AdbcConnection, AdbcDatabase, AdbcStatement

__all__ = ["Session", "array_text", "connect", "explained", "locked_out", "overdue"]

_INSTALL: Final = 'python -m pip install "adbc-driver-postgresql>=1.13,<2"'
_LOGIN_SECONDS: Final = 60
_SCHEMES: Final = re.compile(r"postgres(?:ql)?(?:\+\w+)?")
_PORT: Final = re.compile(r"\d{1,5}")
# Without a user, who would be struck out of the message like one that was written.
_FORM: Final = (
    "postgresql://HOST:PORT/DATABASE, with USER:PASSWORD@ before HOST and settings of libpq behind "
    "a question mark"
)
_NO_COPY: Final = {"adbc.postgresql.use_copy": "false"}
_AS_COPY: Final = {"adbc.postgresql.use_copy": "true"}

_LACKS_RIGHT: Final = "42501"
_NOT_THERE: Final = ("42P01", "3F000")
_CANCELLED: Final = "57014"
_WRITES: Final = ("25006", "0A000")
# Classes of SQLSTATE that are about the statement or its values, and not about the server.
_OF_THE_QUERY: Final = ("0A", "20", "21", "22", "23", "25", "26", "2F", "34", "3D", "42", "54")


class Session:
    """A connection to a server, and one transaction in it at a time."""

    # By the driver manager's own classes, and not by its DB-API: that imports pandas and polars
    # where they are installed, which is twice the memory that a look needs.
    def __init__(self, database: "AdbcDatabase", connection: "AdbcConnection") -> None:
        self._database = database
        self._connection = connection
        self.requests = 0

    def close(self) -> None:
        """End the session."""
        # It may be lost already, and then there is nothing to end.
        with suppress(Exception):
            self._connection.close()
        with suppress(Exception):
            self._database.close()

    def cancel(self) -> None:
        """Cancel what runs on the server, from another thread."""
        with suppress(Exception):  # nothing may run any more, or the server be gone
            self._connection.cancel()

    @contextmanager
    def transaction(self, isolation: str) -> Iterator[None]:
        """A transaction that reads, and is rolled back: nothing of ours is left in the server."""
        self.run(f"BEGIN ISOLATION LEVEL {isolation} READ ONLY")
        try:
            yield
        finally:
            with suppress(Exception):  # of a connection that is lost the server has rolled it back
                self.run("ROLLBACK")

    def rows(
        self, sql: str, values: Sequence[str | None] = (), *, copied: bool = True
    ) -> list[dict[str, Any]]:
        """The result of a statement of few rows as Python values.

        What can't be `copied` (EXPLAIN) must say so.
        """
        found: list[dict[str, Any]] = self.table(sql, values, copied=copied).to_pylist()
        return found

    def table(self, sql: str, values: Sequence[str | None] = (), *, copied: bool = True) -> Any:
        """The result of a statement as a pyarrow.Table."""
        with self._executed(sql, values, copied=copied) as reader:
            return reader.read_all()

    def batches(self, sql: str, values: Sequence[str | None] = ()) -> Iterator[Any]:
        """The result of a statement as Arrow record batches, as they arrive."""
        with self._executed(sql, values) as reader:
            yield from reader

    def described(self, sql: str) -> Any:
        """The pyarrow.Schema of a statement's result; it is planned, and not run."""
        import pyarrow as pa

        with self._statement(sql) as statement:
            return pa.schema(statement.execute_schema())

    def run(self, sql: str) -> None:
        """Run a statement that has no result."""
        with self._statement(sql) as statement:
            statement.set_options(**_NO_COPY)
            statement.execute_update()

    @contextmanager
    def _statement(self, sql: str) -> "Iterator[AdbcStatement]":
        from adbc_driver_manager import AdbcStatement

        self.requests += 1
        with closing(AdbcStatement(self._connection)) as statement:
            # A comment at the end would hide the bracket that the driver puts behind it.
            statement.set_sql_query(f"{sql}\n")
            yield statement

    @contextmanager
    def _executed(
        self, sql: str, values: Sequence[str | None], *, copied: bool = True
    ) -> Iterator[Any]:
        """The reader of a result."""
        import pyarrow as pa

        # Not the reader that others would make of it: that has no word for what the server says
        # when a result breaks off, which this one has.
        from adbc_driver_manager._reader import AdbcRecordBatchReader

        with self._statement(sql) as statement:
            # What has parameters can't be copied. What is copied comes four times as fast.
            statement.set_options(**(_AS_COPY if copied and not values else _NO_COPY))
            if values:
                columns = [_one_text(value) for value in values]
                names = [f"{place}" for place in range(len(columns))]
                statement.prepare()
                statement.bind(pa.RecordBatch.from_arrays(columns, names))
            handle, _ = statement.execute_query()
            with closing(AdbcRecordBatchReader._import_from_c(handle.address)) as reader:  # noqa: SLF001
                yield reader


def _one_text(value: str | None) -> Any:
    """An array of Arrow with one text."""
    import pyarrow as pa

    if value is None:
        return pa.nulls(1, pa.string())
    # Not pa.array: of any value it asks pandas first, and so imports it where it is installed.
    # That is a third of the memory of a look that only asks for a digest.
    text = value.encode()
    buffers = [None, pa.py_buffer(array("i", [0, len(text)])), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), 1, buffers)


def connect(data: PostgresData) -> Session:
    """An open session; whoever takes it closes it.

    Raises:
        SourceError: if the driver is not installed, if the address can't be read, or if the server
            does not let us in.
    """
    driver, manager = _driver()
    settings = _settings(data, os.environ)
    text = " ".join(f"{name}={_quoted(value)}" for name, value in settings.items())
    try:
        database = driver.connect(text)
        try:
            return Session(database, manager.AdbcConnection(database))
        except BaseException:
            database.close()
            raise
    except manager.Error as error:
        raise _no_connection(data, settings, error) from scrub(error)


@contextmanager
def explained(query: Query, *, is_whole: bool = False) -> Iterator[None]:
    """Turn what the driver raises inside into an error that names the file.

    And the place in it, if what is asked is the query and nothing else: `is_whole`.
    """
    _, manager = _driver()
    try:
        yield
    except FlowprojectError:
        raise
    except manager.Error as error:
        raise _failure(query, error, is_whole=is_whole) from scrub(error)
    except (OSError, ValueError) as error:  # what Arrow raises for a stream that breaks off
        raise SourceError(
            f"The result could not be read: {_brief(str(error))}", where=query.file
        ) from scrub(error)


def overdue(query: Query, seconds: float) -> SourceError:
    """The error of a query that was cancelled because its time was over."""
    return SourceError(
        f"The query took longer than {seconds:g} s, and was cancelled on the server",
        where=f"{query.file}, timeout in [data] of flowproject.toml",
        allowed="It may have waited for a lock, as while a table is altered",
        fix="Make the query cheaper, or raise `timeout`",
    )


def locked_out(data: PostgresData) -> SourceError:
    """The error of a connection that was not opened before the time was over."""
    return SourceError(
        f"PostgreSQL did not let us in within {data.timeout:g} s",
        where=_place(data, {}),
        allowed="No query was asked",
        fix="Let this machine reach the address, or raise `timeout` in [data]",
    )


def _place_in(query: Query, number: int) -> int:
    """Where in the file the character is that has this number in what the server was asked.

    There the parameters are spelled `$1`, filled up to the length of their names.
    """
    shift = 0
    found = parameters(query.text)
    names = [*dict.fromkeys(parameter.name for parameter in found)]
    for parameter in found:
        if parameter.start >= number - shift:
            break
        spelled = len(f"${names.index(parameter.name) + 1}")
        shift += max(spelled - (parameter.end - parameter.start), 0)
    return max(min(number - shift, len(query.text)), 0)


def _sqlstate(error: Exception) -> str:
    """The five signs by which the server names a failure; empty if the connection failed."""
    return str(getattr(error, "sqlstate", None) or "")


def array_text(values: Sequence[Any], text: Callable[[Any], str | None] = str) -> str:
    """The text of an array, as the server reads one; `text` is that of an element."""
    return "{" + ",".join(_element(value, text) for value in values) + "}"


def _element(value: Any, text: Callable[[Any], str | None]) -> str:
    if isinstance(value, list | tuple):
        return array_text(value, text)
    found = text(value)
    if found is None:
        return "NULL"
    escaped = found.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _driver() -> tuple[Any, Any]:
    """Arrow's driver and its manager, imported no earlier than a query needs them."""
    try:
        import adbc_driver_manager
        import adbc_driver_postgresql
    except ImportError as error:
        raise SourceError(
            f"The driver for PostgreSQL is not installed ({error})", fix=f"Install it: {_INSTALL}"
        ) from error
    return adbc_driver_postgresql, adbc_driver_manager


def _settings(data: PostgresData, environment: Mapping[str, str]) -> dict[str, str]:
    """What the connection is opened with, in libpq's words."""
    # What the environment says besides, libpq reads by itself.
    keep_secret(filter(None, [environment.get("PGPASSWORD", "")]))
    found = _parsed(data.url, "url in [data] of flowproject.toml") if data.url else {}
    if "password" in found:
        raise SourceError(
            "`url` has a password in it",
            where="flowproject.toml, url in [data]",
            allowed="The file is read by many, and travels with the code",
            fix="Take it out, and put it into the environment as PGPASSWORD; or put all of the "
            "address there, as DATABASE_URL",
        )
    if not data.url and environment.get("DATABASE_URL"):
        found = _parsed(environment["DATABASE_URL"], "DATABASE_URL in the environment")
    return {
        "application_name": "flowproject",
        **found,
        "client_encoding": "UTF8",
        "connect_timeout": str(min(_LOGIN_SECONDS, max(math.ceil(data.timeout), 2))),
    }


def _parsed(url: str, where: str) -> dict[str, str]:
    """The parts of an address. None of them is shown if they can't be read: any may be a secret."""
    scheme, mark, rest = url.partition("://")
    # The last one: a password that nobody encoded may have an @ of its own.
    head, at, tail = rest.rpartition("@")
    user, colon, password = head.partition(":")
    keep_password(password)
    places, _, options = tail.partition("?")
    hosts, _, database = places.partition("/")
    found = {"user": unquote(user), "dbname": unquote(database)} if at else {"dbname": database}
    if colon:
        found["password"] = unquote(password)
    for option in filter(None, options.split("&")):
        name, _, value = option.partition("=")
        if name.lower() == "password":
            keep_password(value)
        found[unquote(name).lower()] = unquote(value)
    parts = [_host(part) for part in hosts.split(",")]
    found["host"] = ",".join(host for host, _ in parts)
    found["port"] = ",".join(port for _, port in parts)
    is_address = bool(mark) and _SCHEMES.fullmatch(scheme)
    ports = [port for _, port in parts if port]
    if not is_address or not all(map(_PORT.fullmatch, ports)) or "\0" in url:
        keep_password(rest)
        raise SourceError(
            "The address of the database can't be read; it is not shown, because what is wrong in "
            "it may be a password",
            where=where,
            allowed=f"Its form is {_FORM}. In a name or a password, write %2F for /, %40 for @, "
            "%3A for :, %3F for ?, %23 for #, %25 for %",
            fix="Correct it; or set PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD instead, in "
            "which nothing is encoded",
        )
    return {name: value for name, value in found.items() if value.strip(",")}


def _host(text: str) -> tuple[str, str]:
    """The host and the port in one place of an address; either may be empty."""
    if text.startswith("["):  # an address of IPv6
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = text.partition(":")
    return unquote(host), port


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _no_connection(
    data: PostgresData, settings: Mapping[str, str], error: Exception
) -> SourceError:
    said = _said(error).removeprefix("Failed to connect: ")
    allowed, fix = "", ""
    if "password" in said:
        allowed = "User and password are checked together: either may be the wrong one"
        fix = "Correct PGUSER and PGPASSWORD, DATABASE_URL, or `url` in [data]"
    elif "does not exist" in said:
        fix = "Correct the name in `url`, in DATABASE_URL or in PGDATABASE and PGUSER"
    elif not settings.get("host") and not os.environ.get("PGHOST"):
        allowed = "Nothing says where the server is, so this machine's own was tried"
        fix = "Set `url` in [data], or DATABASE_URL or PGHOST in the environment"
    else:
        fix = "Correct the address, or let this machine reach it"
    return SourceError(
        f"PostgreSQL can't be connected to: {said}",
        where=_place(data, settings),
        allowed=allowed,
        fix=fix,
    )


def _place(data: PostgresData, settings: Mapping[str, str]) -> str:
    """Who says where the server is."""
    if data.url:
        return "Tried with `url` in [data] of flowproject.toml"
    if settings.get("host") or os.environ.get("DATABASE_URL"):
        return "Tried with DATABASE_URL in the environment"
    return "Tried with what the environment says, PGHOST and so on"


def _failure(query: Query, error: Any, *, is_whole: bool) -> FlowprojectError:
    state, said = _sqlstate(error), f"PostgreSQL: {_said(error)}"
    hint = _detail(error, "MESSAGE_HINT")
    if not state or state.startswith(("08", "57P")):
        return SourceError(
            f"The connection to PostgreSQL was lost: {said.removeprefix('PostgreSQL: ')}",
            where=query.file,
            allowed="The next tick connects again",
        )
    place = _detail(error, "STATEMENT_POSITION")
    at = _place_in(query, int(place) - 1) if place and is_whole else None
    if state in _NOT_THERE or state == _LACKS_RIGHT:
        right = "Have it granted: GRANT SELECT ON ... TO ..., GRANT USAGE ON SCHEMA ..."
        absent = "Correct the name in the query, or `schema` in [data]"
        return SourceError(
            said,
            where=_line(query, at),
            allowed=hint,
            fix=right if state == _LACKS_RIGHT else absent,
        )
    if state == _CANCELLED:
        return SourceError(
            said,
            where=query.file,
            allowed="An administrator may have cancelled it, or set a statement_timeout",
        )
    if state[:2] not in _OF_THE_QUERY:
        return SourceError(said, where=query.file, allowed=hint or "The next tick asks again")
    if state in _WRITES and "read-only" in said:
        hint = "A query only looks at data: its transaction is one that reads"
    if at is None:
        return QueryError(said, where=query.file, allowed=hint)
    return query.error(said, at=at, allowed=hint)


def _line(query: Query, at: int | None) -> str:
    return (
        query.file if at is None else f"{query.file}, line {query.text.count(chr(10), 0, at) + 1}"
    )


def _said(error: Any) -> str:
    """What the server or libpq says, on one line; never what was asked, which the driver adds."""
    said = _detail(error, "MESSAGE_PRIMARY") or str(error).partition("Query was:")[0]
    said = re.sub(r"^[A-Z_]+: (?:\[libpq\] )?", "", said).partition(". SQLSTATE:")[0]
    return _brief(said).rstrip(".")


def _detail(error: Any, name: str) -> str:
    """What the server says of a failure under one of libpq's names for that."""
    for key, value in getattr(error, "details", None) or ():
        if key in (f"PG_DIAG_{name}", f"PG_DIAG_{name}".encode()):
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def _brief(text: str) -> str:
    return safe(" ".join(text.split()))
