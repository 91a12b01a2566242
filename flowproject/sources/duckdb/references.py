"""Finds what a query refers to besides the tables of its database: functions, and files.

DuckDB's own parser says which they are, in the query and in the views and macros that it names.
What only looks may be used; what writes, logs or reads the memory of this process may not.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flowproject.errors import QueryError
from flowproject.sql import Query

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["READERS", "REFUSED_FUNCTIONS", "References"]

READERS: Final = frozenset(
    ["avro", "aws", "azure", "delta", "encodings", "excel", "httpfs", "iceberg", "inet", "spatial"]
)
"""Extensions that only read: those of them that are installed are loaded when a query needs one."""

REFUSED_FUNCTIONS: Final = frozenset(
    [
        # They change what is logged, and where to; the locked configuration refuses them as well.
        "disable_logging",
        "disable_profiling",
        "enable_logging",
        "enable_profiling",
        "truncate_duckdb_logs",
        "write_log",
        # They write to the database, or register what others then call.
        "checkpoint",
        "create_external_resource",
        "deregister_external_resource",
        "destroy_external_resource",
        "force_checkpoint",
        "nextval",
        "register_external_resource",
        "register_external_resource_type",
        "setval",
        # They take addresses in the memory of this process.
        "arrow_scan",
        "arrow_scan_dumb",
        "pandas_scan",
        "python_arrow_scan",
        "python_map_function",
        # It runs a query that nobody can see here.
        "json_execute_serialized_sql",
    ]
)

_READS_FILES: Final = re.compile(
    r"read_\w+|parquet_\w+|\w*_scan|glob|sniff_csv|st_read\w*", re.IGNORECASE
)
# DuckDB takes a name in FROM for a file if there is no table of that name; one that has none of
# these it would not find.
_LOOKS_LIKE_FILE: Final = re.compile(r"[./\\*]")
_VIEW_BODY: Final = re.compile(r"\bAS\s+(?=SELECT\b|WITH\b|FROM\b|VALUES\b|\()", re.IGNORECASE)


class References:
    """What the text of one statement refers to, with the views and macros of the database."""

    def __init__(self, connection: "DuckDBPyConnection", text: str, *, in_database: bool) -> None:
        self._connection = connection
        self._in_database = in_database
        self._tree = self._parsed(text)
        self._nodes = [*self._read(self._tree)]

    def check(self, query: Query) -> None:
        """Raise a QueryError if a function is used that does more than look."""
        for node in self._nodes:
            name = str(node.get("function_name", "")).lower()
            if name in REFUSED_FUNCTIONS:
                raise _refused(query, name)

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        """The names and patterns of the files that are read, as the query has them."""
        found = (pattern for node in self._nodes for pattern in self._patterns_of(node))
        return tuple(dict.fromkeys(found))

    def narrowed(self, listed: Callable[[list[str]], list[str]]) -> Iterator[tuple[str, str]]:
        """Each file of a pattern that stands for several, and the query with it in that place.

        `listed` says which files there are of patterns.
        """
        for node in _parts(self._tree):
            files = listed([*self._patterns_of(node)])
            for file in files if len(files) > 1 else ():
                with _changed(node, self._literal(file)):
                    text = self._text(self._tree)
                yield file, text

    def _read(self, tree: Any, seen: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
        """The parts of a statement, and of the views and macros that it names."""
        named: list[str] = []
        for node in _parts(tree):
            yield node
            named += [str(node[key]) for key in ("table_name", "function_name") if key in node]
            # `query('...')` is the statement in its text, which could otherwise hide anything.
            if node.get("function_name") == "query":
                for inner in self._texts(_arguments(node)[:1]):
                    yield from self._read(self._parsed(inner), seen | {inner})
        for name in dict.fromkeys(map(str.lower, named)):
            # A view may name itself by way of others: each is gone into once.
            if name not in seen and name in self._definitions:
                yield from self._read(self._parsed(self._definitions[name]), seen | {name})

    def _parsed(self, text: str) -> Any:
        """A statement as a tree; without any part if DuckDB has no tree for it."""
        # DuckDB's own parser: another would find other files than those that are read.
        asked = self._connection.execute("SELECT json_serialize_sql($1)", [text]).fetchall()
        return json.loads(asked[0][0])

    def _text(self, tree: Any) -> str:
        asked = self._connection.execute(
            "SELECT json_deserialize_sql($1::JSON)", [json.dumps(tree)]
        ).fetchall()
        return str(asked[0][0])

    def _literal(self, text: str) -> Any:
        """A text as an expression."""
        quoted = text.replace("'", "''")
        return self._parsed(f"SELECT '{quoted}'")["statements"][0]["node"]["select_list"][0]

    @cached_property
    def _definitions(self) -> dict[str, str]:
        """The views and macros of the database by their names, each as a statement."""
        if not self._in_database:
            return {}
        views = self._connection.execute(
            "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal AND sql IS NOT NULL"
        ).fetchall()
        macros = self._connection.execute(
            "SELECT function_name, function_type, macro_definition FROM duckdb_functions() "
            "WHERE function_type IN ('macro', 'table_macro') AND NOT internal"
        ).fetchall()
        return {
            **{name.lower(): _VIEW_BODY.split(sql, maxsplit=1)[-1] for name, sql in views},
            **{
                name.lower(): body if kind == "table_macro" else f"SELECT {body}"
                for name, kind, body in macros
            },
        }

    def _patterns_of(self, node: Mapping[str, Any]) -> Iterator[str]:
        """The names and patterns of the files that this part of a query reads."""
        if node.get("type") == "BASE_TABLE" and not node.get("schema_name"):
            if _LOOKS_LIKE_FILE.search(node["table_name"]):
                yield node["table_name"]
        elif node.get("type") == "TABLE_FUNCTION":
            function = node["function"]
            name = str(function["function_name"])
            if _READS_FILES.fullmatch(name):
                yield from self._texts(_arguments(function)[:1])
            elif name.lower() in self._definitions:
                yield from self._texts(_arguments(function))

    def _texts(self, expressions: Iterable[Any]) -> Iterator[str]:
        """The texts, or lists of texts, that expressions are; what is neither is left out."""
        from duckdb import Error as DuckDBError

        for expression in expressions:
            literal = expression.get("literal", {})
            if literal.get("kind") == "STRING":
                yield literal["text"]
                continue
            statement = self._parsed("SELECT 1")
            statement["statements"][0]["node"]["select_list"] = [expression]
            # A column or a parameter has no value here.
            with suppress(DuckDBError):
                [value] = self._connection.execute(self._text(statement)).fetchall()[0]
                listed = value if isinstance(value, list) else [value]
                yield from (one for one in listed if isinstance(one, str))


def _refused(query: Query, name: str) -> QueryError:
    what = f"A query only looks at data, and {name}() does more than that"
    allowed = "docs/duckdb.md lists what a query may use"
    if found := re.search(rf"\b{re.escape(name)}\b", query.text, re.IGNORECASE):
        return query.error(what, at=found.start(), allowed=allowed)
    where = f"{query.file}, or a view or macro that it names"
    return QueryError(what, where=where, allowed=allowed, fix=f"Leave {name}() out")


@contextmanager
def _changed(node: dict[str, Any], file: Any) -> Iterator[None]:
    """Meanwhile this part of a query reads the one file instead of its pattern."""
    if node["type"] == "BASE_TABLE":
        before = {key: node[key] for key in ("table_name", "qualified_name")}
        name = file["literal"]["text"]
        node |= {"table_name": name, "qualified_name": {"path": [name]}}
        yield
        node |= before
    else:
        first = node["function"]["arguments"][0]
        before = first["expression"]
        first["expression"] = file
        yield
        first["expression"] = before


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree of JSON, the outer ones first."""
    left = [tree]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left += reversed(list(one.values()))
        elif isinstance(one, list):
            left += reversed(one)


def _arguments(function: Mapping[str, Any]) -> list[Any]:
    """The expressions that a function is given by their places."""
    given = [one for one in function.get("arguments", ()) if not one.get("name")]
    return [
        one["expression"]
        for one in given
        # `name = value` is a named argument, too, which the parser takes for a comparison.
        if one["expression"].get("type") != "COMPARE_EQUAL"
    ]
