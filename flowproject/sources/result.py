"""Makes an observation of a query's rows, the same for every engine that speaks SQL.

How an engine is asked stands in its own module; here its answer is already there.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from flowproject.changes.canonical import Json, digest, dumps, dumps_rows
from flowproject.changes.difference import Item
from flowproject.changes.observation import Observation, fingerprint_items, fingerprint_value
from flowproject.errors import QueryError, closest
from flowproject.sources import Rows

__all__ = [
    "UNKEYED_LIMIT",
    "VALUE_BYTES",
    "check_columns",
    "folded",
    "keyed",
    "keys_and_texts",
    "keys_and_texts_of_columns",
    "not_unique",
    "texts",
    "unkeyed",
    "value_of_rows",
    "without_garbage_collection",
]

UNKEYED_LIMIT: Final = 1000
"""Rows that a result without `key` may have: it travels whole in journal entries and events."""

VALUE_BYTES: Final = 64 * 1024
"""Bytes of JSON that such a result may have, for the same reason."""


def folded(name: str) -> str:
    """The name of a column of Snowflake's as other engines give it: small, if it was not quoted."""
    # Snowflake writes unquoted names in capitals. SQLAlchemy has the same rule.
    return name.lower() if name.isupper() else name


def check_columns(columns: Sequence[str], key: Sequence[str], file: str, why: str = "") -> None:
    """Raise a QueryError if two columns have one name, or a column of `key` is not there.

    Engines take names that differ only in case for one. `why` says what is wrong with the columns.
    """
    caseless = [column.casefold() for column in columns]
    for column in columns:
        if (count := caseless.count(column.casefold())) > 1:
            raise QueryError(
                f"The result has {count} columns named {column!r}",
                where=file,
                fix="Give each column a name of its own with AS",
            )
    for column in key:
        if column not in columns:
            raise QueryError(
                f"The result has no column {column!r}, which `key` names",
                where=file,
                allowed=f"Its columns: {_listed(columns)}. {why or closest(column, columns)}",
            )


def _listed(columns: Sequence[str]) -> str:
    """Names in a row; one of a CSV file that is read as a single column has commas of its own."""
    return ", ".join(f'"{name}"' if "," in name else name for name in columns)


def unkeyed(rows: Rows, file: str) -> Observation:
    """A result compared as a whole: a scalar, one row, or all rows, whose order does not matter."""
    if len(rows) > UNKEYED_LIMIT:
        raise QueryError(
            f"The result has more than {UNKEYED_LIMIT:,} rows, too many to compare as one value",
            where=file,
            fix='Name the columns that identify a row, key = ["..."], to watch each row by '
            "itself; or aggregate, for example with count(*) or max(...)",
        )
    value = value_of_rows(rows)
    size = len(dumps(value).encode())
    if size > VALUE_BYTES:
        raise QueryError(
            f"The result has {size:,} bytes, too many to compare as one value",
            where=file,
            allowed=f"At most {VALUE_BYTES:,}",
            fix='Name the columns that identify a row, key = ["..."]; or select fewer columns',
        )
    # No row and a row that holds an empty list look alike as a value, and are not the same data.
    columns = dict.fromkeys(rows[0] if rows else (), "")
    shape: list[Json] = [len(rows), len(columns)]
    return Observation(value=value, fingerprint=fingerprint_value([shape, value]), columns=columns)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector from looking for cycles meanwhile."""
    # Rows form no cycles, and the collector would visit each of very many again and again: about a
    # quarter of the time that it takes to make a hundred thousand.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@without_garbage_collection()
def keyed(rows: Rows, key: Sequence[str], file: str) -> Observation:
    """A result compared row by row; the value is the number of rows."""
    items: dict[str, Item] = {}
    for row, name, text in zip(rows, *keys_and_texts(rows, key, file), strict=True):
        if name in items:
            raise not_unique(name, key, file)
        items[name] = Item(key=name, version=digest(text), data=row)
    fingerprint = fingerprint_items(items.values())
    return Observation(value=len(items), fingerprint=fingerprint, items=items)


def keys_and_texts(rows: Rows, key: Sequence[str], file: str) -> tuple[list[str], list[str]]:
    """The key of each row, and what `dumps` says of its data.

    Raises:
        QueryError: if a row has no key.
    """
    return [_key(row, key, file) for row in rows], texts(rows)


def keys_and_texts_of_columns(
    columns: Mapping[str, Sequence[Json]], key: Sequence[str], file: str
) -> tuple[list[str], list[str]]:
    """The same of rows that are given by their columns, which spares a dictionary for each.

    Raises:
        QueryError: if a row has no key.
    """
    told = [*dumps_rows(columns)]
    first = columns[key[0]]
    if len(key) == 1 and {*map(type, first)} <= {str, int}:
        return [*map(str, first)], told
    of_keys = zip(*(columns[name] for name in key), strict=True)
    return [_key(dict(zip(key, values, strict=True)), key, file) for values in of_keys], told


def texts(rows: Rows) -> list[str]:
    """What `dumps` says of each row."""
    columns = {column: [row[column] for row in rows] for column in (rows[0] if rows else ())}
    return [*dumps_rows(columns)]


def value_of_rows(rows: Rows) -> Json:
    """A result without a key as its reader wants it: a scalar, one row, or all rows in order."""
    if len(rows) != 1:
        return [*sorted(rows, key=dumps)]
    [row] = rows
    if len(row) == 1:
        [scalar] = row.values()
        return scalar
    return row


def _key(row: dict[str, Json], key: Sequence[str], file: str) -> str:
    """The key of a row as text: of one column its plain text, of several a JSON array."""
    # As JSON, because a separator of ours could stand in a value, and two rows have one key then.
    if len(key) == 1 and type(value := row[key[0]]) in (str, int):
        return str(value)  # for a number that is what dumps says, six times faster
    values = [row[column] for column in key]
    if None in values:
        shown = ", ".join(f"{column} = {dumps(row[column])}" for column in key)
        raise QueryError(
            f"A row has no key: {shown}",
            where=file,
            fix=f"Leave such rows out: WHERE {key[values.index(None)]} IS NOT NULL",
        )
    return dumps(values if len(values) > 1 else values[0])


def not_unique(name: str, key: Sequence[str], file: str) -> QueryError:
    """The error of a key that two rows have."""
    return QueryError(
        f"Two rows have the key {name!r} ({', '.join(key)})",
        where=file,
        fix="Add the columns to `key` that tell them apart, or make the rows unique with "
        "DISTINCT or GROUP BY",
    )
