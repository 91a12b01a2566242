"""Version ids of objects, which no listing has and which are asked for afterwards."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.difference import Difference
from flowproject.tables.lazy import LazyRows
from flowproject.tables.spans import key_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

__all__ = ["with_versions"]

_NEW: Final = "version_id"
_AFTER: Final = "new_version_id"


def with_versions(difference: Difference, versions: Mapping[str, str]) -> Difference:
    """The same difference, in which the objects that arrived have the version ids of their keys."""
    return Difference(
        added=_versioned(difference.added, _NEW, versions),
        modified=_versioned(difference.modified, _AFTER, versions),
        removed=difference.removed,
    )


def _versioned(rows: Collection[Any], column: str, versions: Mapping[str, str]) -> Collection[Any]:
    if not isinstance(rows, LazyRows):
        return rows
    return LazyRows(len(rows), partial(_tables, rows, column, versions), rows.form)


def _tables(rows: LazyRows[Any], column: str, versions: Mapping[str, str]) -> "Iterator[pa.Table]":
    import pyarrow as pa

    for table in rows.tables():
        ids = [versions.get(key_text(key)) for key in table["key"].to_pylist()]
        place = table.schema.get_field_index(column)
        yield table.set_column(place, table.schema.field(place), pa.array(ids, pa.string()))
