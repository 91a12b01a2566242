"""What can be wrong with a query for DuckDB, and what DuckDB says of it, as errors of ours."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.secrecy import safe
from flowproject.sources import stopped
from flowproject.sql import Query

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from duckdb import Error as DuckDBError

__all__ = ["check_statement", "explained"]

_EXTENSION: Final = re.compile(r"extension [\"']?(\w+)")
_QUOTED: Final = re.compile(r'"[^"]+"')
_WORD: Final = re.compile(r'"[^"]*"|[^\W\d]\w*')


def check_statement(
    connection: "DuckDBPyConnection", query: Query, text: str, names: Iterable[str]
) -> None:
    """Raise a QueryError unless DuckDB reads the text as one statement that returns rows."""
    import duckdb

    statements = connection.extract_statements(text)
    if not statements:
        raise QueryError(f"There is no statement in {query.file}", fix="Write a SELECT there")
    [statement, *others] = statements
    if others:
        raise query.error(
            f"There are {len(statements)} statements in the file, and a query is one",
            at=len(statement.query),
            fix="Move each other statement to a file of its own, or remove it",
        )
    if statement.type != duckdb.StatementType.SELECT:
        raise QueryError(
            f"{query.file} does not only look at data: it is a {statement.type.name} statement",
            allowed="A query begins with SELECT, WITH, FROM or VALUES; PIVOT needs its IN list",
        )
    foreign = {name.lower() for name in statement.named_parameters} - {n.lower() for n in names}
    if foreign:
        raise QueryError(
            f"{query.file} has parameters in DuckDB's own spelling ({', '.join(sorted(foreign))})",
            fix="Write them as :name, which is the same for every source",
        )


@contextmanager
def explained(query: Query, ran: Query, *, around: str = "") -> Iterator[None]:
    """What DuckDB raises inside becomes an error that names the file, and the place if it can.

    `ran` is what DuckDB was given: the text of the file, or a translation of it. `around` is what
    of ours stands before it.
    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise stopped() from None
    except duckdb.Error as error:
        raise _failure(query, error, ran, around) from error


def _failure(query: Query, error: "DuckDBError", ran: Query, around: str) -> FlowprojectError:
    import duckdb

    report = _report(error)
    what, _, more = report["exception_message"].partition("\n")
    what, hint = f"DuckDB: {safe(what)}", safe(more.partition("\n")[0])
    if extension := _EXTENSION.search(report["exception_message"]):
        what = f"DuckDB needs its extension {extension[1]!r}, which is not installed"
        install = (
            f"python -c \"import duckdb; duckdb.connect().install_extension('{extension[1]}')\""
        )
        return SourceError(what, where=query.file, fix=f"Install it once, where it runs: {install}")
    if isinstance(error, duckdb.IOException | duckdb.HTTPException | duckdb.PermissionException):
        return SourceError(what, where=query.file, allowed=hint)
    at = _place(query.text, ran.text, report, len(around.encode()))
    if at is None:
        return QueryError(what, where=query.file, allowed=hint)
    return query.error(what, at=at, allowed=hint)


def _place(written: str, ran: str, report: Mapping[str, str], before: int) -> int | None:
    """Where in the file it is that DuckDB complains of; None if nobody can say.

    `before` is how many bytes DuckDB was given before what ran.
    """
    word: re.Match[str] | None
    if "position" in report:
        # DuckDB counts bytes, people count characters; a parameter is as long as its `:name`.
        counted = max(int(report["position"]) - before, 0)
        at = len(ran.encode()[:counted].decode(errors="ignore"))
        if ran.replace("$", ":") == written.replace("$", ":"):
            return at
        word = _WORD.match(ran, at)
    else:
        word = _QUOTED.search(report["exception_message"])
    # Of a translation the place is known if the word there stands in the file once.
    places = [found.start() for found in _WORD.finditer(written) if word and _alike(found, word)]
    return places[0] if len(places) == 1 else None


def _alike(one: re.Match[str], other: re.Match[str]) -> bool:
    return one[0].strip('"').casefold() == other[0].strip('"').casefold()


def _report(error: "DuckDBError") -> dict[str, str]:
    """What DuckDB says of an error as JSON (`errors_as_json`), or else its text."""
    text = str(error)
    with suppress(ValueError):
        report = json.loads(text[text.index("{") :])
        if "exception_message" in report:
            return dict(report)
    return {"exception_message": text}
