"""Tells, without a look at any table, that nothing can have changed; and what a result rests on.

While the text of `pg_current_snapshot()` stays the same, no transaction that wrote has ended in the
server. Counters of rows, the place in the log and `xmin` say less, and are not asked (ADR 0052).
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.observation import Memo
from flowproject.config.data import PostgresData
from flowproject.errors import SourceError
from flowproject.sources.postgres.connection import Session, array_text
from flowproject.sql import Query

__all__ = ["EXPLAIN", "Moment", "Plan", "begin", "plan_of"]

EXPLAIN: Final = "EXPLAIN (VERBOSE, COSTS false, FORMAT json) "
_OLDEST: Final = 140_000

# Of the session and not of the query: two sessions of one program may differ in each of them, by
# what ALTER ROLE, PGOPTIONS or PGTZ say.
_PINNED: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
}
_IDENTITY: Final = "(SELECT system_identifier FROM pg_catalog.pg_control_system())::text"
_MOMENT: Final = """
SELECT {pinned},
    pg_catalog.pg_current_snapshot()::text AS snapshot,
    extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text AS started,
    {identity} AS server,
    pg_catalog.current_database()::text AS database,
    CURRENT_USER::text AS role,
    pg_catalog.current_setting('search_path') AS search_path,
    pg_catalog.current_setting('server_version_num')::int AS version,
    pg_catalog.pg_is_in_recovery() AS is_standby
"""

_RELATIONS: Final = """
SELECT it.name, it.is_own AND coalesce(c.relkind IN ('r', 'p', 'm'), true) AS is_kept,
    it.is_own AND (
        c.oid IS DISTINCT FROM pg_catalog.to_regclass(it.name)::oid
        OR pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM NULLIF(c.relfilenode, 0)
    ) AS is_beneath
FROM (
    SELECT r.*, pg_catalog.format('%I.%I', r.schema, r.relation) AS name,
        r.schema NOT IN ('pg_catalog', 'information_schema') AS is_own
    FROM pg_catalog.json_to_recordset($1::text::json) AS r(schema text, relation text)
) AS it
LEFT JOIN (
    pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
) ON n.nspname = it.schema AND c.relname = it.relation
"""
_FUNCTIONS: Final = """
SELECT p.proname::text AS name,
    pg_catalog.bool_and(
        p.provolatile = 'i'
        OR p.provolatile = 's' AND p.proname = ANY ($2::text::text[])
            AND p.pronamespace = 'pg_catalog'::regnamespace
    ) AS is_steady
FROM pg_catalog.pg_proc AS p WHERE p.proname = ANY ($1::text::text[]) GROUP BY 1
"""

# Built-in functions that the server calls stable, and that read neither the clock nor a setting
# that is not pinned. Of all others nobody has made sure.
_STEADY: Final = (
    *("array_agg", "array_to_json", "array_to_string", "concat", "concat_ws", "date_bin"),
    *("date_part", "date_trunc", "extract", "format", "json_agg", "json_build_array"),
    *("json_build_object", "json_object_agg", "jsonb_agg", "jsonb_build_array"),
    *("jsonb_build_object", "jsonb_object_agg", "quote_literal", "quote_nullable", "row_to_json"),
    *("string_agg", "timestamptz", "timezone", "to_char", "to_date", "to_json", "to_jsonb"),
    *("to_number", "to_timestamp", "date", "generate_series", "unnest", "text", "make_timestamptz"),
)
_WORDS_OF_THE_MOMENT: Final = re.compile(
    r"\b(CURRENT_(?:DATE|TIME|TIMESTAMP|CATALOG|SCHEMA)|LOCALTIME(?:STAMP)?)\b"
)
_CALL: Final = re.compile(r'(?:"((?:[^"]|"")+)"|(?<!:)\b([a-z_][\w$]*))\(')  # no ::numeric(5,1)
# The words by which the parser reads the clock, as a constant: the plan has what it read.
_CLOCK_TEXT: Final = re.compile(
    r"(?i)['$][^'$]*\b(now|today|tomorrow|yesterday)\b(?!\s*\()[^'$]*['$]"
)
_UNSTEADY_NODES: Final = {
    "Foreign Scan": "it reads a table of another server",
    "Custom Scan": "an extension reads for it",
    "Sample Scan": "it reads a sample",
}
# What the plan says besides expressions: names, and words for how it is done.
_NO_EXPRESSIONS: Final = frozenset(
    {
        *("Alias", "CTE Name", "Command", "Function Name", "Index Name", "Join Type", "Node Type"),
        *("Parent Relationship", "Partial Mode", "Relation Name", "Scan Direction", "Schema"),
        *("Strategy", "Subplan Name"),
    }
)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What the server says of itself, in the snapshot that the look has.

    `snapshot` moves with every transaction that ends; `server` is all else that must be the same
    for two of them to be compared. `place` are the database and the major version: what a hash of
    a row may depend on.
    """

    snapshot: str
    server: str
    place: str
    doubt: str = ""

    def memo(self) -> Memo:
        """What the next look wants to know of it."""
        return {"snapshot": self.snapshot, "server": self.server}

    def is_of(self, memo: Memo) -> bool:
        """Whether nothing was committed since the look that left this memo."""
        return not self.doubt and self.memo() == {name: memo.get(name) for name in self.memo()}


def begin(session: Session, data: PostgresData, query: Query) -> Moment:
    """Ask the first question of a transaction, which gives it its snapshot, and pin its settings.

    Raises:
        SourceError: if the server is too old.
    """
    pinned = {**_PINNED, "statement_timeout": str(max(round(data.timeout * 1000), 1))}
    settings = ", ".join(
        f"pg_catalog.set_config('{name}', {_literal(value)}, true)"
        for name, value in pinned.items()
    )
    if data.schema:
        # Before the role's own, where extensions have their types and operators.
        own = _literal('"' + data.schema.replace('"', '""') + '", ')
        path = f"{own} || pg_catalog.current_setting('search_path')"
        settings += f", pg_catalog.set_config('search_path', {path}, true)"
    # In one statement, and the settings first: a transaction has the snapshot of its first one.
    [told] = session.rows(_MOMENT.format(pinned=settings, identity=_IDENTITY))
    if told["version"] < _OLDEST:
        raise SourceError(
            f"The server is PostgreSQL {told['version'] // 10_000}",
            where=query.file,
            allowed="Watched are PostgreSQL 14 and newer: older ones can't hash a row",
        )
    described: dict[str, Json] = {
        name: told[name] for name in ("started", "server", "database", "role", "search_path")
    }
    asked: list[Json] = [query.text, data.schema, [*data.key], told["version"], {**_PINNED}]
    return Moment(
        snapshot=told["snapshot"],
        server=digest(dumps(described), dumps(asked)),
        place=digest(str(told["server"]), told["database"], str(told["version"] // 10_000)),
        # Its snapshot follows from what its primary has sent, and nobody has made sure of it.
        doubt="the server is a standby" if told["is_standby"] else "",
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the server's plan of a query says that its result rests on.

    `doubt` is why the result may change without a commit. `is_beneath` is whether a table was
    emptied, rewritten or swapped after the snapshot was taken, in which it reads as empty.
    """

    doubt: str
    is_beneath: bool


def plan_of(session: Session, query: Query, text: str) -> Plan:
    """Ask what a query rests on; it is planned, and not run."""
    # The plan has views and functions opened up, and all that they read. It also locks the tables:
    # what was not emptied or swapped until now isn't before the transaction ends.
    [asked] = session.rows(f"{EXPLAIN}{text}", copied=False)
    found = _Read()
    found.node(json.loads(next(iter(asked.values()))))
    relations = [{"schema": schema, "relation": name} for schema, name in sorted(found.relations)]
    told = session.rows(_RELATIONS, [json.dumps(relations)]) if relations else []
    doubts = [
        *found.doubts,
        *(f"it reads {one['name']}, which is no table" for one in told if not one["is_kept"]),
        *(f"it has {word}" for word in _CLOCK_TEXT.findall(query.text)),
    ]
    if not doubts:
        doubts += _doubts_of_functions(session, found.functions)
    return Plan(doubt=doubts[0] if doubts else "", is_beneath=any(o["is_beneath"] for o in told))


class _Read:
    """What was read from a plan: tables, functions, and why the result may change by itself."""

    def __init__(self) -> None:
        self.relations: set[tuple[str, str]] = set()
        self.functions: set[str] = set()
        self.doubts: list[str] = []

    def node(self, part: Any, name: str = "") -> None:
        """Read a part of a plan, which has this name in the part around it."""
        match part:
            case dict():
                self._step(part)
                for key, value in part.items():
                    self.node(value, key)
            case list():
                for value in part:
                    self.node(value, name)
            case str() if name not in _NO_EXPRESSIONS:
                self._expression(part)

    def _step(self, step: dict[str, Any]) -> None:
        if "Relation Name" in step:
            self.relations.add((step["Schema"], step["Relation Name"]))
        if doubt := _UNSTEADY_NODES.get(step.get("Node Type", "")):
            self.doubts.append(doubt)
        # Which ones is decided as the query begins, and the plan no longer says by what.
        if step.get("Subplans Removed"):
            self.doubts.append("it leaves out partitions by what is so at the moment")

    def _expression(self, text: str) -> None:
        bare = _TEXT.sub("''", text)
        self.functions |= {quoted or plain for quoted, plain in _CALL.findall(bare)}
        self.doubts += [f"it has {word}" for word in _WORDS_OF_THE_MOMENT.findall(bare)]


def _doubts_of_functions(session: Session, names: set[str]) -> list[str]:
    if not names:
        return []
    found = session.rows(_FUNCTIONS, [array_text(sorted(names)), array_text(_STEADY)])
    return [f"it calls {one['name']}" for one in found if not one["is_steady"]]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
