"""Asks, before a query runs, whether the tables behind it were written to.

The gate only ever saves a query. Whatever it can't vouch for opens it, and it says why.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, digest, digest_value, dumps
from flowproject.changes.observation import Memo
from flowproject.config.data import SnowflakeData
from flowproject.dialect import table_names, unknown_functions, volatile_parts
from flowproject.errors import FlowprojectError, QueryError
from flowproject.sql import Query, statement

__all__ = ["UNGATED", "Ask", "Gate", "QueryPlan", "ask_gate", "check_gateable", "read_plan"]

Ask = Callable[[str, Sequence[str]], Sequence[Sequence[Any]]]
"""Runs a statement whose `?` are bound to texts, and returns its rows; raises FlowprojectError."""

_FORMAT: Final = 1
_DIALECT: Final = "snowflake"
_LONGEST: Final = 100
_ASK_TOKEN: Final = "SYSTEM$LAST_CHANGE_COMMIT_TIME(?)"  # noqa: S105  # a function's name


# The shape of a plan is that of EXPLAIN USING JSON in Snowflake's documentation.
_SCAN: Final = "TableScan"
_IDENTIFIER: Final = r'(?:[A-Z_][A-Z0-9_$]*|"(?:[^"]|"")+")'
_TABLE: Final = re.compile(rf"{_IDENTIFIER}\.{_IDENTIFIER}\.{_IDENTIFIER}")
_ESCAPES: Final = re.compile(
    r"(?i:archive|dynamic|external|internal|secure|stage|stream|udtf|(?<!window)function)"
)
_MOVES: Final = re.compile(
    r"(?i:\b(?:current_(?:date|time|timestamp)|localtime(?:stamp)?|nextval)\b|"
    r"\b(?:sys(?:date|timestamp)|getdate|random|randstr|uniform|normal|zipf|uuid_string|seq[1248])"
    r"(?=\s*\())"
)
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")


@dataclass(frozen=True, kw_only=True)
class QueryPlan:
    """What a plan says: its tables, and a digest of what it does.

    `hidden` is why there may be more than these tables, `moving`
    what gives another result by itself; both are empty if there is nothing of the kind.
    """

    tables: tuple[str, ...]
    digest: str
    hidden: str = ""
    moving: str = ""


def read_plan(text: str) -> QueryPlan:
    """The plan that Snowflake gave as JSON.

    Raises:
        ValueError: if it is not of the documented shape.
    """
    operations = _operations(json.loads(text))
    if not operations:
        raise ValueError("it has no operations")
    scanned = (
        table for operation in operations if operation.name == _SCAN for table in operation.objects
    )
    # Not how much is read: the digest moves when a view is defined anew or a policy is set, and not
    # with every row.
    done: list[Json] = [[one.name, [*one.objects], [*one.expressions]] for one in operations]
    return QueryPlan(
        tables=tuple(dict.fromkeys(scanned)),
        digest=digest_value(done),
        hidden=next((why for one in operations for why in _hidden(one)), ""),
        moving=next((why for one in operations for why in _moving(one)), ""),
    )


@dataclass(frozen=True, kw_only=True)
class _Operation:
    name: str
    objects: tuple[str, ...]
    expressions: tuple[str, ...]


def _operations(document: Any) -> list[_Operation]:
    try:
        return [
            _Operation(
                name=str(operation["operation"]),
                objects=tuple(map(str, operation.get("objects") or ())),
                expressions=tuple(map(str, operation.get("expressions") or ())),
            )
            for step in document["Operations"]
            for operation in step
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("it is not of the shape that Snowflake documents") from error


def _hidden(operation: _Operation) -> Iterator[str]:
    if _ESCAPES.search(operation.name) or (operation.objects and operation.name != _SCAN):
        yield f"its plan does not show what is behind {operation.name}"
    for table in operation.objects:
        if not _TABLE.fullmatch(table):
            yield f"its plan names {table!r}, which is no table's full name"


# Both err on the side of running the query: a name that only looks like one of these costs a run.
def _moving(operation: _Operation) -> Iterator[str]:
    for expression in operation.expressions:
        # Words within a text are none that run. Where a backslash is, nobody here knows where its
        # text ends.
        text = expression if "\\" in expression else _QUOTED.sub("''", expression)
        if found := _MOVES.search(text):
            yield f"its plan has {found[0].upper()}, which changes by itself"


class _OpenError(Exception):
    """The gate can't vouch for this query now. Its text says why."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the gate says: whether nothing was written, why, and what to remember of this moment.

    An empty `memo` is that of a gate which can't vouch for the query.
    """

    is_shut: bool
    reason: str
    memo: Memo

    def after(self, ask: Ask) -> Self:
        """The gate after the query ran: without its memo, if a table was written to meanwhile."""
        # Tokens that were read before the query are no newer than what it saw. That they are the
        # same after it shows that it saw what they stand for, even where tables are swapped and
        # swapped back.
        tokens = self.memo.get("tokens")
        if not isinstance(tokens, dict):
            return self
        try:
            again = _tokens(ask, tuple(tokens))
        except (_OpenError, FlowprojectError) as error:
            return replace(self, memo={}, reason=f"{self.reason}; then {_brief(error)}")
        if again == tokens:
            return self
        return replace(self, memo={}, reason=f"{self.reason}; written to while it ran")


UNGATED: Final = Gate(is_shut=False, reason="", memo={})
"""The gate of a query that has none."""


def ask_gate(
    ask: Ask, query: Query, data: SnowflakeData, session: Mapping[str, str], memo: Memo
) -> Gate:
    """The gate for a query, in a session that is described by `session`, and the memo of the past.

    It is shut if the memo is that of this very moment: the same query, asked in the same way by the
    same role, of the same plan and tables, and no token moved.
    """
    try:
        _check_steady(query, data.tables)
        plan, lack = _plan(ask, query)
        tables = data.tables or _tables(query, plan)
        tokens = _tokens(ask, tables)
    except (_OpenError, FlowprojectError) as error:
        return Gate(is_shut=False, reason=f"not gated: {_brief(error)}", memo={})
    definition = _definition(query, data, session, plan)
    now: Memo = {"v": _FORMAT, "definition": definition, "tokens": {**tokens}}
    by = f"; {lack}, so the names in the query were asked, and not what is behind views"
    by = by if lack and not data.tables else ""
    if memo == now:
        number = f"{len(tokens)} table{'s' if len(tokens) > 1 else ''}"
        return Gate(
            is_shut=True, reason=f"no commit to {number}, the query did not run{by}", memo=now
        )
    return Gate(is_shut=False, reason=f"the query ran: {_moved(memo, now)}{by}", memo=now)


def check_gateable(query: Query, tables: Sequence[str]) -> None:
    """Raise a QueryError if the query can't be gated, as far as its text tells.

    `tables` are those that were listed by hand: nobody has to find them then.
    """
    for doubt in _doubts(query, tables):
        raise QueryError(
            f"The gate is of no use to this query: {doubt}",
            where=f"{query.file}, gate in [data] of flowproject.toml",
            allowed="A tick runs such a query every time",
            fix='Write the query without it, or gate = ""; if it is a function that reads known '
            "tables, list them in `tables`",
        )
    if not tables:
        table_names(query, _DIALECT)


def _doubts(query: Query, tables: Sequence[str]) -> Iterator[str]:
    """Why the result may differ although no table was written to."""
    for part in volatile_parts(query, _DIALECT):
        yield f"it has {part}, which changes by itself"
    for function in () if tables else unknown_functions(query, _DIALECT):
        yield f"it calls {function}, which may read anything"


def _check_steady(query: Query, tables: Sequence[str]) -> None:
    for doubt in _doubts(query, tables):
        raise _OpenError(doubt)


def _plan(ask: Ask, query: Query) -> tuple[QueryPlan | None, str]:
    """Snowflake's plan of the query, or None and why there is none."""
    try:
        [[text, *_], *_] = ask(f"EXPLAIN USING JSON {statement(query.text)}", ())
        plan = read_plan(str(text))
    except (FlowprojectError, ValueError) as error:
        return None, f"there is no plan ({_brief(error)})"
    if plan.moving:
        raise _OpenError(plan.moving)
    return plan, ""


def _tables(query: Query, plan: QueryPlan | None) -> tuple[str, ...]:
    """The tables that the query names, and those that its plan scans behind views."""
    # Both: a plan leaves out what Snowflake answers from what it knows of a table, as for count(*).
    if plan and plan.hidden:
        raise _OpenError(plan.hidden)
    named = table_names(query, _DIALECT)
    tables = dict.fromkeys([*named, *(plan.tables if plan else ())])
    if not tables:
        raise _OpenError("it reads no table")
    return tuple(tables)


def _tokens(ask: Ask, tables: Sequence[str]) -> dict[str, str]:
    """The token of each table, in one statement."""
    # In one: each is a request, and the tokens are of one moment.
    columns = ", ".join(_ASK_TOKEN for _ in tables)
    [row, *_] = ask(f"SELECT {columns}", tables) or [()]
    if len(row) != len(tables):
        raise _OpenError(f"{len(tables)} tokens were asked for, and {len(row)} came")
    tokens = {}
    for table, token in zip(tables, row, strict=True):
        if not _is_token(token):
            raise _OpenError(f"{table} has no commit time ({token!r})")
        tokens[table] = str(int(token))
    return tokens


def _is_token(value: object) -> bool:
    """Whether it is a whole number, as the documentation says."""
    # NULL is none: a table that has no commit time must not look like one that was left alone.
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return type(value) is int


def _definition(
    query: Query, data: SnowflakeData, session: Mapping[str, str], plan: QueryPlan | None
) -> str:
    """A digest of all that decides the result, apart from what is in the tables."""
    # The role among it: row access policies show each its own rows.
    described: dict[str, Json] = {key: str(value) for key, value in asdict(data).items()}
    return digest(query.text, dumps(described), dumps({**session}), plan.digest if plan else "")


def _moved(memo: Memo, now: Memo) -> str:
    """What is not as the memo says, in words."""
    before, after = memo.get("tokens"), now["tokens"]
    if not isinstance(before, dict) or not isinstance(after, dict):
        return "nothing was known of its tables yet"
    moved = [table for table in after if before.get(table) != after[table]]
    if moved and before.keys() == after.keys():
        return f"written to {', '.join(moved)}"
    return "it, its plan or who asks is not the same as before"


def _brief(error: Exception) -> str:
    """The first line of what was said: it becomes part of a reason."""
    # Of a journal entry, an event and a card, which have no room for more.
    text = str(error).partition("\n")[0].strip().rstrip(".:")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
