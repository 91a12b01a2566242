"""What a plan says of a query: the tables that it scans, and whether anything escapes them.

The shape is that of `EXPLAIN USING JSON` in Snowflake's documentation: steps of operations, each
with its `operation`, `objects` and `expressions`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from flowproject.changes.canonical import Json, digest_value

__all__ = ["Plan", "read_plan"]

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
class Plan:
    """What a plan says: its tables, and a digest of what it does.

    The digest leaves out how much is read, so that it moves when a view is defined anew or a policy
    is set, and not with every row. `hidden` is why there may be more than these tables, `moving`
    what gives another result by itself; both are empty if there is nothing of the kind.
    """

    tables: tuple[str, ...]
    digest: str
    hidden: str = ""
    moving: str = ""


def read_plan(text: str) -> Plan:
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
    done: list[Json] = [[one.name, [*one.objects], [*one.expressions]] for one in operations]
    return Plan(
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


def _moving(operation: _Operation) -> Iterator[str]:
    for expression in operation.expressions:
        # Where a backslash is, nobody here knows where its text ends.
        text = expression if "\\" in expression else _QUOTED.sub("''", expression)
        if found := _MOVES.search(text):
            yield f"its plan has {found[0].upper()}, which changes by itself"
