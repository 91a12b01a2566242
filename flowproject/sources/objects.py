"""Chooses the keys that are watched in any object store, and makes observations of what is found.

How a store is listed or asked for one object stands in its own module; here its answer is there.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.difference import Difference, Item, item
from flowproject.changes.observation import (
    Cost,
    Observation,
    Past,
    fingerprint_items,
    fingerprint_value,
)
from flowproject.config.data import ObjectProperty, ObjectsMode
from flowproject.errors import SourceError
from flowproject.globs import Globs
from flowproject.tables.builder import Built
from flowproject.tables.object_rows import FOLDER_ENDINGS
from flowproject.tables.table import ObjectTable

__all__ = [
    "StoredObject",
    "Watch",
    "identity",
    "is_folder",
    "known_position",
    "known_table",
    "new_objects_observation",
    "object_observation",
    "table_observation",
    "view",
]

# `last_modified` is what S3 calls it; in tables it is `modified`, as it is of files.
_COLUMNS: Final[dict[ObjectProperty, str]] = {
    "size": "size",
    "etag": "etag",
    "last_modified": "modified",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """Describes an object that is there, as its store does without sending the content.

    What the store does not say is None, or an empty text.
    """

    key: str
    size: int | None
    etag: str
    modified: dt.datetime | None
    version_id: str = ""

    @property
    def data(self) -> dict[str, Json]:
        """What a reader sees of it; the time in UTC, with microseconds, so that it sorts."""
        moment = None
        if self.modified is not None:
            moment = self.modified.astimezone(dt.UTC).isoformat(timespec="microseconds")
        known: dict[str, Json] = {"size": self.size, "etag": self.etag, "modified": moment}
        said = {name: value for name, value in known.items() if value not in (None, "")}
        more: dict[str, Json] = {"version_id": self.version_id} if self.version_id else {}
        return {"key": self.key, **said, **more}


class Watch:
    """Chooses the keys below a prefix that are watched: what `include` lets by, and markers."""

    def __init__(self, prefix: str, include: Sequence[str], marker: str) -> None:
        self._below = len(prefix)
        self._globs = Globs(include)
        self._marker = marker
        self._everything = not include

    def match(self, key: str) -> bool:
        """Whether the object with this whole key, which begins with the prefix, is watched."""
        # For a million keys without `include` this one question is all that is asked.
        if self._everything:
            return True
        path = key[self._below :]
        return self._globs.match(path) or (
            bool(self._marker) and path.rpartition("/")[2] == self._marker
        )


def is_folder(key: bytes, size: bytes | int) -> bool:
    """Whether an object holds nothing and only stands for a folder, as consoles and Hadoop make it.

    Its key ends with a slash, or with `_$folder$`.
    """
    # The size as it comes, which is bytes from S3: most of a million numbers would be for nothing.
    return size in (0, b"0") and key.endswith(FOLDER_ENDINGS)


def identity(ignore: Sequence[ObjectProperty]) -> tuple[str, ...]:
    """The columns in which a difference is a change."""
    return tuple(column for name, column in _COLUMNS.items() if name not in ignore)


def view(*place: str, include: Sequence[str], marker: str, columns: Sequence[str]) -> str:
    """A digest of what is listed and how it is compared: tables of one view can be compared."""
    # As JSON, because texts put one after the other could mean two things.
    described: Json = [[*place], [*include], marker, [*columns]]
    return digest("view 1", dumps(described))


def known_table(past: Past | None) -> ObjectTable | None:
    """The table of objects that was known before, if it was one and not a single object.

    Raises:
        DamagedTableError: if it was, and can't be read.
    """
    items = past.items if past else None
    return items if isinstance(items, ObjectTable) else None


def known_position(past: Past | None, prefix: str) -> str | None:
    """The last key that was known below this prefix, empty if there was none.

    None if nothing was known, or something else: another check mode or prefix was watched then.
    """
    value = past.value if past else None
    if not isinstance(value, str) or (value and not value.startswith(prefix)):
        return None
    return value


def table_observation(built: Built, cost: Cost, *, compared: bool) -> Observation:
    """A listed table as an observation; the value is the number of objects.

    `compared` says whether the table was built upon all that was known before, so that what the
    builder found is the difference.
    """
    return Observation(
        value=len(built.items),
        fingerprint=built.fingerprint,
        items=built.items,
        difference=built.difference if compared else None,
        cost=cost,
    )


def object_observation(mode: ObjectsMode, found: StoredObject | None, cost: Cost) -> Observation:
    """One object as an observation of its property `mode`; the value is None if it is missing.

    Raises:
        SourceError: if the store does not say this one property of it.
    """
    items: dict[str, Item] = {}
    value: Json = None
    if found:
        data = found.data
        if _PROPERTY[mode] not in data:
            raise _unsaid(mode, found.key)
        value = data[_PROPERTY[mode]]
        # Only this property makes a version: a new time with the old size is no change of the size.
        items[found.key] = item(found.key, data, identity=value)
    return Observation(
        value=value, fingerprint=fingerprint_items(items.values()), items=items, cost=cost
    )


def new_objects_observation(last: str, new: Difference | None, cost: Cost) -> Observation:
    """What came after the last key that was known: `new`, or None at the first look.

    The value is the last key there is now, an empty text if there is none.
    """
    return Observation(value=last, fingerprint=fingerprint_value(last), difference=new, cost=cost)


def _unsaid(mode: ObjectsMode, key: str) -> SourceError:
    there = ", ".join(name for name in _PROPERTY if name != mode)
    return SourceError(
        f"The server does not say what check_mode = {mode!r} compares of {key!r}",
        allowed=f"There are also: {there}",
        fix="Choose another check_mode; or check that `endpoint_url` is the address of such a "
        "server",
    )


_PROPERTY: Final[dict[ObjectsMode, str]] = {
    "file_size": "size",
    "file_modified_ts": "modified",
    "file_etag": "etag",
}
