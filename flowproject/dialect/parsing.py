"""Parses one statement: where it is wrong, what it reads, and what else its result depends on."""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from flowproject.errors import QueryError
from flowproject.sql import Query, parameters

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.errors import ParseError, SqlglotError

__all__ = [
    "check_syntax",
    "normal_name",
    "parsed",
    "parts",
    "place",
    "table_names",
    "unknown_functions",
    "volatile_parts",
    "with_tables_at",
    "without_names",
    "written",
]

_OPENED: Final = re.compile(r"Missing (.+) from \d+:(\d+)")
_TAIL: Final = re.compile(r" but got <.*|(?<=^)Required keyword.*", re.DOTALL)
_BEGINNINGS: Final = "A query begins with SELECT or WITH"

# Snowflake's functions that sqlglot 30 has no class for, and that answer by their arguments alone.
_STEADY: Final = re.compile(
    r"(?i:(try_)?to_(timestamp(_ntz|_ltz|_tz)?|geography|object|xml)|hash|trunc|haversine|"
    r"(as|is)_(array|binary|boolean|(var)?char|date|decimal|double|integer|object|real|time|"
    r"timestamp_(ntz|ltz|tz))|as_number|is_date_value|"
    r"object_(delete|pick)|ratio_to_report|conditional_(true|change)_event)"
)
_TIME_AND_CHANCE: Final = re.compile(
    r"AI[A-Z]\w+|Current(Client|Date|Datetime|IpAddress|Session|Statement|Time|Timestamp|"
    r"TimestampLTZ|Transaction|Version)|HistoricalData|Localtime|Localtimestamp|NextValueFor|"
    r"Normal|Parameter|Rand|Randn|Randstr|Seq[1248]|SessionParameter|Systimestamp|TableSample|"
    r"Uniform|Uuid|Zipf"
)
_VALUES_OF_SEQUENCES: Final = frozenset({"NEXTVAL", "CURRVAL"})
_WITHOUT_TABLES: Final = ("Explode", "Generator", "Unnest", "Inline", "ExplodingGenerateSeries")


def check_syntax(query: Query, dialect: str) -> None:
    """Raise a QueryError unless the text is one statement that parses and only reads.

    A `:name` counts as one value. Line and column are those of the file.
    """
    parsed(query, without_names(query), dialect)


def table_names(query: Query, dialect: str) -> tuple[str, ...]:
    """The tables and views that the query reads, each once, as it writes them, without its CTEs.

    Raises:
        QueryError: if the query does not parse, or reads what no name tells: a stage, a table
            function, `IDENTIFIER(...)`.
    """
    from sqlglot import exp

    tree = parsed(query, without_names(query), dialect)
    _check_origins(query, tree, dialect)
    # Where it is not clear what a name is, it stays in: to ask of one table more costs little.
    names: dict[tuple[str, ...], str] = {}
    for table in parts(tree, exp.Table):
        if not _is_of_cte(table, dialect):
            names.setdefault(_identity(table, dialect), _as_written(table, dialect))
    return tuple(names.values())


def with_tables_at(query: Query, moment: str, dialect: str) -> Query:
    """The query, in which `moment` stands behind the name of every table that has none of its own.

    Raises:
        QueryError: if the query does not parse, or reads what no name tells.
    """
    from sqlglot import exp

    tree = parsed(query, without_names(query), dialect)
    _check_origins(query, tree, dialect)
    text = query.text
    tables = (one for one in parts(tree, exp.Table) if not _is_of_cte(one, dialect))
    ends = {
        one.this.meta["end"] + 1
        for one in tables
        if "end" in one.this.meta and not one.args.get("when")
    }
    # From the last on, so that places before it stay where they are.
    for end in sorted(ends, reverse=True):
        text = f"{text[:end]} {moment}{text[end:]}"
    return replace(query, text=text)


def volatile_parts(query: Query, dialect: str) -> tuple[str, ...]:
    """What the query uses, as SQL, that gives other results by itself: clock, chance, sequences.

    Also time travel and variables of the session. A LIMIT without an order is not told of here.
    """
    from sqlglot import exp

    tree = parsed(query, without_names(query), dialect)

    def moves(node: exp.Expr) -> bool:
        if isinstance(node, exp.Column):
            return bool(node.table) and node.name.upper() in _VALUES_OF_SEQUENCES
        return _TIME_AND_CHANCE.fullmatch(type(node).__name__) is not None

    return tuple(dict.fromkeys(node.sql(dialect) for node in tree.dfs() if moves(node)))


def unknown_functions(query: Query, dialect: str) -> tuple[str, ...]:
    """The functions that nobody here knows: the user's own, which may read tables of theirs."""
    # Anonymous is what sqlglot has no class for.
    from sqlglot import exp

    tree = parsed(query, without_names(query), dialect)
    unknown = (node for node in parts(tree, exp.Anonymous) if not _is_steady(node))
    return tuple(dict.fromkeys(node.name for node in unknown))


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
    except RecursionError:  # the parser goes down a call for each level
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
    # As long as it was, so that places in the one are places in the other.
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
    # sqlglot remembers places of names and calls only, so that of an operator is that of its parts.
    starts = [int(part.meta["start"]) for part in node.walk() if "start" in part.meta]
    found = query.text.casefold().find(node.sql(dialect).casefold())
    return min(starts, default=max(found, 0))


def written(query: Query, node: "exp.Expr", dialect: str) -> str:
    """A part of the query as it is written there, if it is a call, or else as it would be."""
    # In the user's own words: sqlglot writes IFF as IF, and whoever looks for that finds nothing.
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


def _is_steady(function: "exp.Expr") -> bool:
    """Whether it is one of the engine's own that depends on nothing but its arguments."""
    # Such a one has no schema before it, and no quotes around it.
    from sqlglot import exp

    is_bare = isinstance(function.this, str) and not isinstance(function.parent, exp.Dot)
    return is_bare and _STEADY.fullmatch(function.name) is not None


def _check_origins(query: Query, tree: "exp.Expr", dialect: str) -> None:
    """Raise a QueryError for what is read and is no table with a name."""
    from sqlglot import exp

    # These give rows of what they are given, and read nothing besides.
    known = tuple(getattr(exp, name) for name in _WITHOUT_TABLES)
    for origin in parts(tree, (exp.Table, exp.TableFromRows, exp.Lateral)):
        inner = origin.this
        is_name = isinstance(origin, exp.Table) and isinstance(inner, exp.Identifier)
        if not is_name and not isinstance(inner, (*known, exp.Query)):
            raise query.error(
                f"No name tells which tables are behind {origin.sql(dialect)}",
                at=place(query, origin, dialect),
                allowed="Tables and views by their names",
            )


def _is_of_cte(table: "exp.Expr", dialect: str) -> bool:
    """Whether the name is that of a CTE which is visible where it stands."""
    from sqlglot import exp

    if table.args.get("db") is not None:
        return False
    name = normal_name(table.this, dialect)
    inside, above = table, table.parent
    while above is not None:
        if isinstance(above, exp.With):
            # Those before it; itself only if it is recursive.
            visible: Iterable[exp.Expr] = above.expressions[
                : above.expressions.index(inside) + bool(above.recursive)
            ]
        else:
            clause = above.args.get("with_")
            visible = clause.expressions if clause and clause is not inside else ()
        if any(normal_name(cte.args["alias"].this, dialect) == name for cte in visible):
            return True
        inside, above = above, above.parent
    return False


def _identity(table: "exp.Expr", dialect: str) -> tuple[str, ...]:
    return tuple(
        part if isinstance(part, str) else normal_name(part, dialect) for part in _parts(table)
    )


def _parts(table: "exp.Expr") -> list["exp.Identifier | str"]:
    """The identifiers of a table's name; in `db..t` one is an empty string."""
    found = [table.args.get(part) for part in ("catalog", "db", "this")]
    return [part for part in found if part is not None]


def _as_written(table: "exp.Expr", dialect: str) -> str:
    return ".".join(part if isinstance(part, str) else part.sql(dialect) for part in _parts(table))
