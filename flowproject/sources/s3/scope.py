"""What of a bucket is watched, and by which properties. Pure."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any, Final

from flowproject.config.data import ObjectProperty
from flowproject.sources.objects import Watch, identity, is_folder, view
from flowproject.sources.s3.page import Raw, parse_rows
from flowproject.tables.columns import object_rows
from flowproject.tables.spans import key_text

__all__ = ["Columns", "Scope"]

_FORM: Final = "raw rows 2"
"""What spans' digests are of; another one makes all of them worthless."""


@dataclass(slots=True)
class Columns:
    """Objects as a server listed them: each column as a list of what it wrote."""

    keys: list[bytes] = field(default_factory=list)
    sizes: list[bytes] = field(default_factory=list)
    etags: list[bytes] = field(default_factory=list)
    modified: list[bytes] = field(default_factory=list)

    def add(self, raw: Raw, *, encoded: bool) -> None:
        """Add raw rows.

        Raises:
            ValueError: if they can't be read.
        """
        keys, sizes, etags, modified = parse_rows(raw, encoded=encoded)
        self.keys += keys
        self.sizes += sizes
        self.etags += etags
        self.modified += modified


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The objects below `prefix` that match one of the patterns `include`, or are markers.

    `ignore` are properties in which a difference is none.
    """

    bucket: str
    prefix: bytes = b""
    include: tuple[str, ...] = ()
    marker: str = ""
    ignore: tuple[ObjectProperty, ...] = ()

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The columns that make a version."""
        return identity(self.ignore)

    @cached_property
    def view(self) -> str:
        """A digest of everything that decides what a listing means."""
        return view(
            *("s3", self.bucket, self.prefix.hex(), _FORM),
            include=self.include,
            marker=self.marker,
            columns=self.identity,
        )

    def holds(self, key: bytes) -> bool:
        """Whether the object with this key, which is below the prefix, is watched."""
        return self._watch.match(key_text(key))

    def rows(self, columns: Columns) -> Any:
        """The table of those of the objects that are watched.

        Raises:
            ValueError: if a size or a time can't be read.
        """
        every = (columns.keys, columns.sizes, columns.etags, columns.modified)
        if self.identity == ("etag",) and not all(columns.etags):
            raise ValueError("an object has no ETag, and everything else is ignored")
        wanted = [
            not is_folder(key, size) and (not self.include or self.holds(key))
            for key, size in zip(columns.keys, columns.sizes, strict=True)
        ]
        if all(wanted):
            return object_rows(*every)
        return object_rows(*(list(compress(column, wanted)) for column in every))

    @cached_property
    def _watch(self) -> Watch:
        return Watch(key_text(self.prefix), self.include, self.marker)
