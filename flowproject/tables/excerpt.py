"""A few of very many rows: those from some place on, or those in which a text occurs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from flowproject.tables.lazy import Form, LazyRows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Excerpt", "excerpt", "matching"]

T = TypeVar("T")
_SEARCHED: Final = 400_000
"""Rows that one search looks at; the next one goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Excerpt(Generic[T]):
    """Some rows, and the place from which the next ones are to be looked for; 0 at the end."""

    rows: tuple[T, ...] = ()
    following: int = 0


def excerpt(collection: Collection[T], start: int, limit: int) -> Excerpt[T]:
    """At most `limit` rows from the `start`-th on, counted from 0. Only their groups are read."""
    found: list[T] = []
    for table, form in _tables(collection, start):
        found += form.decode(table.slice(0, limit - len(found)))
        if len(found) == limit:
            break
    end = start + len(found)
    return Excerpt(rows=tuple(found), following=end if end < len(collection) else 0)


def matching(collection: Collection[T], text: str, start: int, limit: int) -> Excerpt[T]:
    """At most `limit` rows with `text`, in either case of letters, in their key or data.

    It begins at the `start`-th row, and looks at some hundred thousand of them.
    """
    found: list[T] = []
    place = start
    for table, form in _tables(collection, start):
        for hit in _hits(table, text):
            if len(found) == limit:
                return Excerpt(rows=tuple(found), following=place + hit)
            found += form.decode(table.slice(hit, 1))
        place += len(table)
        if place - start >= _SEARCHED:
            break
    return Excerpt(rows=tuple(found), following=place if place < len(collection) else 0)


def _tables(collection: Collection[T], start: int) -> "Iterator[tuple[pa.Table, Form[T]]]":
    """The rows from the `start`-th on as they are kept, and how they are read."""
    if isinstance(collection, LazyRows):
        yield from ((table, collection.form) for table in collection.tables_from(start))
    elif len(collection):
        raise TypeError(f"{type(collection).__name__} was not read from a difference")


def _hits(rows: "pa.Table", text: str) -> list[int]:
    """Where in these rows the text occurs; letters outside ASCII only match in their own case."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.repeat(False, len(rows))  # noqa: FBT003  # a value, not a switch
    for field in rows.schema:
        if field.name.rpartition("_")[2] in {"key", "data"}:
            options = {"pattern": text.encode(), "ignore_case": True}
            hits = pc.match_substring(rows[field.name].combine_chunks(), **options)
            found = pc.or_(found, pc.fill_null(hits, False))  # noqa: FBT003
    return [int(place) for place in pc.indices_nonzero(found).to_pylist()]
