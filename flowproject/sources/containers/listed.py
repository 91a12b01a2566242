"""What a listing gave: the objects that are watched, column by column."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any

from flowproject.sources.containers.failures import (
    is_unsure,
    odd_key,
    outside,
    repeated,
    without_etag,
)
from flowproject.sources.containers.location import Location
from flowproject.sources.objects import Watch, is_folder
from flowproject.tables.columns import object_rows
from flowproject.tables.spans import key_bytes, key_text

if TYPE_CHECKING:
    from obstore import ObjectMeta

__all__ = ["Listed"]


class Listed:
    """The watched ones of the objects that were listed and come after the key `after`.

    `count` is how many were listed, watched or not; `early` are the keys up to `after` that would
    come after it if they had a slash at the end, which obstore takes away.
    """

    def __init__(
        self, place: Location, watch: Watch, *, after: str = "", needs_etag: bool = False
    ) -> None:
        self.count = 0
        self.early: list[str] = []
        self.keys: list[bytes] = []
        self._sizes: list[int] = []
        self._etags: list[str] = []
        self._modified: list[Any] = []
        # The first two keys of each chunk: a listing that comes back to them may have no end.
        self._firsts: set[tuple[str, str]] = set()
        self._place = place
        self._watch = watch
        self._needs_etag = needs_etag
        self._after = key_bytes(after)

    def add(self, chunk: "Iterable[ObjectMeta]") -> None:
        """Take the next objects of the listing.

        Raises:
            SourceError: if a key is surely not what it is in the store.
        """
        before = ""
        for number, meta in enumerate(chunk):
            key = meta["path"]
            if is_unsure(key):
                raise odd_key(key, self._place)
            if (before, key) in self._firsts:
                raise repeated(before, self._place)
            if number == 1:
                self._firsts.add((before, key))
            before = key
            if key == self._place.folder:
                continue  # what is named like the folder itself is not in it
            if not key.startswith(self._place.prefix):
                raise outside(key, self._place)
            raw = key_bytes(key)
            if self._after < raw:
                self.count += 1
                if self._watch.match(key) and not is_folder(raw, meta["size"]):
                    self._take(raw, meta)
            elif self._after < raw + b"/" and meta["size"]:
                self.early.append(key)

    def empty(self) -> set[str]:
        """The keys of objects that hold nothing, as a folder's does, whose slash is not told."""
        pairs = zip(self.keys, self._sizes, strict=True)
        return {key_text(key) for key, size in pairs if size == 0}

    def leave_out(self, keys: Collection[str]) -> None:
        """Forget the objects with these keys."""
        if not keys:
            return
        gone = set(map(key_bytes, keys))
        kept = [key not in gone for key in self.keys]
        self.keys[:] = compress(self.keys, kept)
        self._sizes[:] = compress(self._sizes, kept)
        self._etags[:] = compress(self._etags, kept)
        self._modified[:] = compress(self._modified, kept)

    def texts(self) -> Iterator[str]:
        """The keys as text."""
        return map(key_text, self.keys)

    def rows(self) -> Any:
        """The objects as a table of Arrow."""
        return object_rows(self.keys, self._sizes, self._etags, self._modified)

    def doubled(self) -> str:
        """A key that was listed more than once."""
        return key_text(Counter(self.keys).most_common(1)[0][0])

    def _take(self, raw: bytes, meta: "ObjectMeta") -> None:
        self.keys.append(raw)
        self._sizes.append(meta["size"])
        etag = (meta["e_tag"] or "").strip('"')
        if not etag and self._needs_etag:
            raise without_etag(key_text(raw), self._place)
        self._etags.append(etag)
        self._modified.append(meta["last_modified"])
