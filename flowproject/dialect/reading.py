"""What a query reads and what else its result depends on, as far as its text tells."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from flowproject.dialect.parsing import normal_name, parsed, parts, place, without_names
from flowproject.sql import Query

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["strangers", "table_names", "unsteady"]

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


def table_names(query: Query, dialect: str) -> tuple[str, ...]:
    """The tables and views that the query reads, each once, as it writes them.

    Names of its own CTEs are left out; where it is not clear what a name is, it stays in.

    Raises:
        QueryError: if the query does not parse, or reads what no name tells: a stage, a table
            function, `IDENTIFIER(...)`.
    """
    from sqlglot import exp

    tree = parsed(query, without_names(query), dialect)
    _check_origins(query, tree, dialect)
    names: dict[tuple[str, ...], str] = {}
    for table in parts(tree, exp.Table):
        if not _is_of_cte(table, dialect):
            names.setdefault(_identity(table, dialect), _as_written(table, dialect))
    return tuple(names.values())


def unsteady(query: Query, dialect: str) -> tuple[str, ...]:
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


def strangers(query: Query, dialect: str) -> tuple[str, ...]:
    """The functions that nobody here knows: the user's own, which may read tables of theirs."""
    from sqlglot import exp

    tree = parsed(query, without_names(query), dialect)
    unknown = (node for node in parts(tree, exp.Anonymous) if not _is_steady(node))
    return tuple(dict.fromkeys(node.name for node in unknown))


def _is_steady(function: "exp.Expr") -> bool:
    """Whether it is one of the engine's own, which have no schema and need no quotes."""
    from sqlglot import exp

    is_bare = isinstance(function.this, str) and not isinstance(function.parent, exp.Dot)
    return is_bare and _STEADY.fullmatch(function.name) is not None


def _check_origins(query: Query, tree: "exp.Expr", dialect: str) -> None:
    """Raise a QueryError for what is read and is no table with a name."""
    from sqlglot import exp

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
