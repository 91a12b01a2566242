"""What can be wrong with a query for DuckDB, and what DuckDB says of it, as errors of ours."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from flowproject.dialect import NO_TRANSLATION, NO_VALUE
from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.secrecy import safe
from flowproject.sources import stopped
from flowproject.sql import Query

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from duckdb import Error as DuckDBError

__all__ = ["check_plan", "check_statement", "explained"]

_REFUSAL: Final = re.compile(f"(?:{NO_TRANSLATION}|{NO_VALUE})([^'\"\\\\]+)")
_NO_OVERLOAD: Final = re.compile(r"Macro snowflake_(\w+)\(\) does not support")
_WORDS: Final = {
    "add_days": "DATEADD",
    "add_time": "DATEADD",
    "trunc": "DATE_TRUNC",
    "slice": "TIME_SLICE",
}
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


def check_plan(
    connection: "DuckDBPyConnection", query: Query, text: str, params: Mapping[str, object]
) -> None:
    """Raise a QueryError if a translation meets types of which it would make something else.

    DuckDB binds and plans the query, and runs nothing of it.
    """
    asked = Query(file=query.file, text=f"EXPLAIN {text}")
    with explained(query, asked):  # places of errors are counted in what was asked
        connection.execute(asked.text, dict(params) or None).fetchall()
    # The plan as it is, because an alias hides in words what stands behind it. Of one that DuckDB
    # can't write down, a row is what finds out.
    serialized = "SELECT json_serialize_plan(?, optimize := true)"
    [(plan,)] = connection.execute(serialized, [text]).fetchall()
    if f'"value":"{NO_TRANSLATION}' in plan:
        raise _refused(query, plan)


def _refused(query: Query, text: str) -> QueryError:
    found = _REFUSAL.search(text)
    return QueryError(
        f"{query.file} can't be answered here as it is on Snowflake: "
        f"{found[1] if found else 'a type has no translation'}",
        fix="Write it in another way, or keep this query for the engine that it is written for",
    )


@contextmanager
def explained(query: Query, ran: Query | None) -> Iterator[None]:
    """What DuckDB raises inside becomes an error that names the file, and the place if it can.

    `ran` is what DuckDB was given: the text of the file, or a translation of it; None if it is
    something of ours around it, where a place would say nothing.
    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise stopped() from None
    except duckdb.Error as error:
        raise _failure(query, error, ran) from error


def _failure(query: Query, error: "DuckDBError", ran: Query | None) -> FlowprojectError:
    import duckdb

    report = _report(error)
    if macro := _NO_OVERLOAD.search(report["exception_message"]):
        word = _WORDS.get(macro[1], macro[1].upper())
        return _refused(
            query, f"{NO_TRANSLATION}{word} has no translation for the types of its arguments"
        )
    if _REFUSAL.search(report["exception_message"]):
        return _refused(query, report["exception_message"])
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
    at = _place(query.text, ran.text, report) if ran else None
    if at is None:
        return QueryError(what, where=query.file, allowed=hint)
    return query.error(what, at=at, allowed=hint)


def _place(written: str, ran: str, report: Mapping[str, str]) -> int | None:
    """Where in the file it is that DuckDB complains of; None if nobody can say."""
    word: re.Match[str] | None
    if "position" in report:
        # DuckDB counts bytes, people count characters; a parameter is as long as its `:name`.
        at = len(ran.encode()[: int(report["position"])].decode(errors="ignore"))
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
