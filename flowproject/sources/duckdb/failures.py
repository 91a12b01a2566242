"""Checks a query for DuckDB, and makes errors of ours of what DuckDB says of one."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from flowproject.dialect import NO_TRANSLATION, NO_VALUE
from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.secrecy import safe
from flowproject.sources import stopped
from flowproject.sources.duckdb.references import READERS
from flowproject.sql import Query

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from duckdb import Error as DuckDBError

__all__ = ["check_plan", "check_statement", "explained", "report", "summary", "with_extensions"]

_T = TypeVar("_T")

_REFUSAL: Final = re.compile(f"(?:{NO_TRANSLATION}|{NO_VALUE})([^'\"\\\\]+)")
_NO_OVERLOAD: Final = re.compile(r"Macro snowflake_(\w+)\(\) does not support")
_WORDS: Final = {
    "add_days": "DATEADD",
    "add_time": "DATEADD",
    "trunc": "DATE_TRUNC",
    "slice": "TIME_SLICE",
}
_EXTENSION: Final = re.compile(
    r"the extension '?(\w+) to be|in the (\w+) extension|extension '(\w+)"
)
_CSV_ERROR: Final = re.compile(
    r"CSV Error on Line: (\d+)\n(?P<found>.*?)\n\s*\n(?P<advice>.*?)^\s*file = (?P<file>[^\n]+)$",
    re.DOTALL | re.MULTILINE,
)
# What stands before it in the same paragraph is the line of the file, which may have several.
_CSV_REASON: Final = re.compile(
    r".*^((?:Error when|Expected Number|Value with|Invalid|Maximum|The Column|Line|Not).*)",
    re.DOTALL | re.MULTILINE,
)
_NO_ADVICE: Final = re.compile(
    r"\s*(?:The search space|(?:Delimiter|Quote/Escape|Comment) Candidates:|Encoding:|\w+ = "
    r"|Possible (?:fixes|solutions)|Potential Fixes|Column .* is being converted as|$)"
)
_GIVEN_COLUMNS: Final = re.compile(r"(?i)\bcolumns\s*(?:=|:=|=>)\s*\{")
_OF_A_FILE: Final = re.compile(r"(?i)\bfile ['\"]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # out of a damaged file
_DETECTED: Final = "auto-detected from the CSV file"
_GIVEN: Final = (
    "`columns` in the query gives this type: give another, or name what stands for NULL "
    "(nullstr = 'n/a')"
)
_MOST_POINTS: Final = 2
_MOST_CHARACTERS: Final = 600
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
    """Raise a QueryError if a translation meets types of which it would make something else."""
    # By EXPLAIN: DuckDB binds and plans the query, and runs nothing of it.
    asked = Query(file=query.file, text=f"EXPLAIN {text}")
    with explained(query, asked):  # places of errors are counted in what was asked
        with_extensions(
            connection, lambda: connection.execute(asked.text, dict(params) or None).fetchall()
        )
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
def explained(
    query: Query,
    ran: Query,
    file_at_fault: Callable[["DuckDBError", str], str] | None = None,
    *,
    around: str = "",
) -> Iterator[None]:
    """Turn what DuckDB raises inside into an error that names the file, and the place if it can.

    `ran` is what DuckDB was given: the text of the file, or a translation of it. `file_at_fault`
    finds the one of the files that the query reads which the message is about, if it names none.
    `around` is what of ours stands before the query.
    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise stopped() from None
    except duckdb.Error as error:
        message = report(error)["exception_message"]
        at = _place(query.text, ran.text, report(error), len(around.encode()))
        raise _failure(
            query, error, at, file_at_fault(error, message) if file_at_fault else ""
        ) from error


def summary(message: str) -> tuple[str, str]:
    """What DuckDB says is wrong, with the file and the reason, and what it says besides."""
    # Of a line that it can't read only the number stays: the line is data, and this goes to logs.
    if found := _CSV_ERROR.match(message):
        reason = _CSV_REASON.match(found["found"])
        words = reason[1] if reason else found["found"].rpartition("\n")[2]
        what = f"{found['file']!r}, line {found[1]}: {_in_one_line(words)}"
        return what, _advice(found["advice"])
    what, _, more = message.partition("\n")
    return _UNPRINTABLE.sub("?", what), _advice(more)


def _advice(text: str) -> str:
    """What is worth telling of the lines below a message: neither settings nor long lists."""
    # DuckDB lists all that it has tried, settings and candidates: what helps are its two first
    # points, and whole sentences.
    lines = [line.strip() for line in text.splitlines() if not _NO_ADVICE.match(line)]
    points = [line for line in lines if line.startswith("* ")][:_MOST_POINTS]
    others = [line for line in lines if not line.startswith("* ")]
    sentences = [*others, *(point.removeprefix("* ") for point in points)]
    # Of a secret that is cut, nobody could say that it is one.
    return safe(" ".join(f"{one.rstrip('. ')}." for one in sentences))[:_MOST_CHARACTERS]


def _in_one_line(text: str) -> str:
    return safe(" ".join(text.split()))[:_MOST_CHARACTERS]


def _failure(
    query: Query, error: "DuckDBError", at: int | None, file_at_fault: str
) -> FlowprojectError:
    import duckdb

    found = report(error)
    if macro := _NO_OVERLOAD.search(found["exception_message"]):
        word = _WORDS.get(macro[1], macro[1].upper())
        return _refused(
            query, f"{NO_TRANSLATION}{word} has no translation for the types of its arguments"
        )
    if _REFUSAL.search(found["exception_message"]):
        return _refused(query, found["exception_message"])
    what, hint = summary(found["exception_message"])
    what = f"DuckDB: {what}" + (f" (in {file_at_fault!r})" if file_at_fault else "")
    if _DETECTED in hint and _GIVEN_COLUMNS.search(query.text):
        hint = _GIVEN  # DuckDB 2.0 says the other of what `columns` gives, too
    if extension := _missing_extension(error):
        return _without_extension(query, extension)
    unreachable = duckdb.IOException | duckdb.HTTPException | duckdb.PermissionException
    if isinstance(error, unreachable) or (at is None and _is_of_a_file(error)):
        return SourceError(what, where=query.file, allowed=hint, fix=_fix_of_a_file(error))
    if at is None:
        return QueryError(what, where=query.file, allowed=hint)
    return query.error(what, at=at, allowed=hint)


def _is_of_a_file(error: "DuckDBError") -> bool:
    """Whether it is a file that is damaged, and nothing in the query."""
    import duckdb

    if type(error) is duckdb.Error:  # of no class of its own is what readers of Parquet raise
        return True
    message = report(error)["exception_message"]
    return isinstance(error, duckdb.InvalidInputException) and bool(
        _OF_A_FILE.search(message) or _CSV_ERROR.match(message)
    )


def _fix_of_a_file(error: "DuckDBError") -> str:
    """What helps if a file can't be read: nothing was recorded, so the next look does the rest."""
    import duckdb

    if isinstance(error, duckdb.HTTPException | duckdb.PermissionException):
        return ""  # what the server or the setting says is all that is known
    return (
        "Put the whole file there, or correct its name in the query: it is read from the project's "
        "folder, and looked at again next time"
    )


def with_extensions(connection: "DuckDBPyConnection", run: Callable[[], _T]) -> _T:
    """Return what `run` does, and load each installed extension that it turns out to lack."""
    import duckdb

    try:
        return run()
    except duckdb.Error as error:
        extension = _missing_extension(error)
        if extension not in READERS or not _is_installed(connection, extension):
            raise
        connection.load_extension(extension)
        # Each time round another one is loaded: of one that is, nobody says that it is missing.
        return with_extensions(connection, run)


def _missing_extension(error: "DuckDBError") -> str:
    """The name of the extension that is not loaded, if the error says so; else empty."""
    found = _EXTENSION.search(report(error)["exception_message"])
    return next(filter(None, found.groups())) if found else ""


def _is_installed(connection: "DuckDBPyConnection", extension: str) -> bool:
    asked = "SELECT installed AND NOT loaded FROM duckdb_extensions() WHERE extension_name = $1"
    return (True,) in connection.execute(asked, [extension]).fetchall()


def _without_extension(query: Query, extension: str) -> SourceError:
    if extension not in READERS:
        return SourceError(
            f"DuckDB needs its extension {extension!r}, which does more than read",
            where=query.file,
            allowed=f"A query may use these, once they are installed: {', '.join(sorted(READERS))}",
            fix="Write what it reads to a file, Parquet for one, and read that",
        )
    install = f"python -c \"import duckdb; duckdb.connect().install_extension('{extension}')\""
    return SourceError(
        f"DuckDB needs its extension {extension!r}, which is not installed",
        where=query.file,
        fix=f"Install it once, where it runs: {install}",
    )


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


def report(error: "DuckDBError") -> dict[str, str]:
    """What DuckDB says of an error as JSON (`errors_as_json`), or else its text."""
    text = str(error)
    with suppress(ValueError):
        report = json.loads(text[text.index("{") :])
        if "exception_message" in report:
            return dict(report)
    return {"exception_message": text}
