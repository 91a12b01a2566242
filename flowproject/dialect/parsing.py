"""One statement as a tree, and the places in the file of what is wrong with it."""

import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from flowproject.errors import QueryError
from flowproject.sql import Query, parameters

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.errors import ParseError, SqlglotError

__all__ = ["check_syntax", "normal_name", "parsed", "parts", "place", "without_names", "written"]

_OPENED: Final = re.compile(r"Missing (.+) from \d+:(\d+)")
_TAIL: Final = re.compile(r" but got <.*|(?<=^)Required keyword.*", re.DOTALL)
_BEGINNINGS: Final = "A query begins with SELECT or WITH"


def check_syntax(query: Query, dialect: str) -> None:
    """Raise a QueryError unless the text is one statement that parses and only reads.

    A `:name` counts as one value. Line and column are those of the file.
    """
    parsed(query, without_names(query), dialect)


def parsed(query: Query, text: str, dialect: str) -> "exp.Query":
    """The tree of the one statement of `text`, which stands for the text of the query."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    # What it has no grammar for it calls a command, and warns; that is refused below.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        parsed = sqlglot.parse(text, read=dialect)
    except ParseError as error:
        raise _unexpected(query, text, dialect, error) from error
    except TokenError as error:
        raise query.error("This is never closed", at=_opening(text, error)) from error
    except RecursionError:
        raise QueryError(
            f"{query.file} is nested too deeply to be read",
            fix="Split it into common table expressions: WITH ... AS (...)",
        ) from None
    statements = [one for one in parsed if one and not isinstance(one, exp.Semicolon)]
    if not statements:
        raise QueryError(f"There is no statement in {query.file}", fix="Write a SELECT there")
    if len(statements) > 1:
        raise query.error(
            f"There are {len(statements)} statements in the file, and a query is one",
            at=_second(text, dialect),
            fix="Move each other statement to a file of its own, or remove it",
        )
    [statement] = statements
    if not isinstance(statement, exp.Query) or statement.find(exp.DML, exp.DDL, exp.Into):
        start = len(text) - len(text.lstrip())
        raise query.error("This does not only look at data", at=start, allowed=_BEGINNINGS)
    return statement


def without_names(query: Query) -> str:
    """The text with `?` for each parameter: what the engine gets, and as long as it was."""
    text = query.text
    for found in parameters(text):
        text = text[: found.start] + "?".ljust(found.end - found.start) + text[found.end :]
    return text


def parts(
    tree: "exp.Expr", kinds: "type[exp.Expr] | tuple[type[exp.Expr], ...]"
) -> "Iterator[exp.Expr]":
    """The parts of a tree that are of some kind."""
    every = kinds if isinstance(kinds, tuple) else (kinds,)
    return tree.find_all(*every, bfs=False)


def place(query: Query, node: "exp.Expr", dialect: str) -> int:
    """Where a part of the query begins: as the parser remembers it, or where its text is."""
    starts = [int(part.meta["start"]) for part in node.walk() if "start" in part.meta]
    found = query.text.casefold().find(node.sql(dialect).casefold())
    return min(starts, default=max(found, 0))


def written(query: Query, node: "exp.Expr", dialect: str) -> str:
    """A part of the query as it is written there, if it is a call, or else as it would be."""
    start, end = node.meta.get("start"), node.meta.get("end")
    if start is None or end is None or query.text[end + 1 : end + 2] != "(":
        return str(node.sql(dialect))
    import sqlglot

    depth = 0
    for token in sqlglot.tokenize(query.text, read=dialect):
        if token.start > end:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if not depth:
                return " ".join(query.text[start : token.end + 1].split())
    return str(node.sql(dialect))


def normal_name(identifier: "exp.Expr", dialect: str) -> str:
    """The name that an identifier stands for: what is not quoted has one case there."""
    from sqlglot.dialects.dialect import Dialect

    return str(Dialect.get_or_raise(dialect).normalize_identifier(identifier.copy()).name)


def _unexpected(query: Query, text: str, dialect: str, error: "ParseError") -> QueryError:
    import sqlglot

    first = error.errors[0]
    tokens = sqlglot.tokenize(text, read=dialect)
    ends = {(token.line, token.col): token.start for token in tokens}
    what = _TAIL.sub("", str(first["description"])) or "Something is missing"
    where = ends.get((first["line"], first["col"]), len(text.rstrip()))
    return query.error(f"{dialect.capitalize()}'s SQL: {what}", at=where)


def _opening(text: str, error: "SqlglotError") -> int:
    """Where the string, name or comment begins that never ends."""
    told = _OPENED.search(str(error.__cause__))
    return int(told[2]) if told else max(text.rfind("/*"), 0)


def _second(text: str, dialect: str) -> int:
    """Where the second statement begins."""
    import sqlglot

    after = False
    for token in sqlglot.tokenize(text, read=dialect):
        if after and token.text != ";":
            return int(token.start)
        after = after or token.text == ";"
    return 0
