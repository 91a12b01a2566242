"""What a listing gave: the objects that are watched, column by column."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flowproject.sources.containers.failures import is_unsure, odd_key
from flowproject.sources.containers.location import Location
from flowproject.sources.objects import Watch
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

    def __init__(self, place: Location, watch: Watch, *, after: str = "") -> None:
        self.count = 0
        self.early: list[str] = []
        self.keys: list[bytes] = []
        self._sizes: list[int] = []
        self._etags: list[str] = []
        self._modified: list[Any] = []
        self._place = place
        self._watch = watch
        self._after = key_bytes(after)

    def add(self, chunk: "Iterable[ObjectMeta]") -> None:
        """Take the next objects of the listing.

        Raises:
            SourceError: if a key is surely not what it is in the store.
        """
        for meta in chunk:
            key = meta["path"]
            if is_unsure(key):
                raise odd_key(key, self._place)
            # What is named like the folder itself is not in it.
            if not key.startswith(self._place.prefix):
                continue
            raw = key_bytes(key)
            if self._after < raw:
                self.count += 1
                if self._watch.match(key):
                    self._take(raw, meta)
            elif self._after < raw + b"/":
                self.early.append(key)

    def texts(self) -> Iterator[str]:
        """The keys as text."""
        return map(key_text, self.keys)

    def rows(self) -> Any:
        """The objects as a table of Arrow."""
        return object_rows(self.keys, self._sizes, self._etags, self._modified)

    def repeated(self) -> str:
        """A key that was listed more than once."""
        return key_text(Counter(self.keys).most_common(1)[0][0])

    def _take(self, raw: bytes, meta: "ObjectMeta") -> None:
        self.keys.append(raw)
        self._sizes.append(meta["size"])
        self._etags.append((meta["e_tag"] or "").strip('"'))
        self._modified.append(meta["last_modified"])
