"""Tells what moved in a result by digests that Snowflake makes of it: no other row is fetched.

A digest only ever saves fetching. It may move although the result is the same by the rule of
`changes.canonical`: then the rows are fetched and compared. Results that this rule tells apart
never share one. Rows are kept apart in buckets by their keys, so that a change fetches few of them.
"""

import re
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import md5
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.difference import Item
from flowproject.changes.observation import Past
from flowproject.sources import Rows
from flowproject.sources.snowflake.results import columns
from flowproject.sql import Query, statement

__all__ = ["NOTED_AS", "BucketDigests"]

NOTED_AS: Final = "rows"
"""What stands in a memo of the digests, beside what the gate noted."""

_FORMAT: Final = 1
_SALT_BYTES: Final = 16
_MODULUS: Final = 2**128
_MOST_BUCKETS: Final = 1024  # some 40 bytes of the memo each
_BUCKET_ROWS: Final = 500
_NOTED: Final = re.compile(r"\d+:[0-9a-f]{32}")
_BUCKET, _UPPER, _LOWER, _COUNT, _WRITTEN = (
    f"flowproject_{part}" for part in ("bucket", "upper", "lower", "count", "text")
)

# By the connector's numbers for types of columns (FIELD_TYPES in its constants.py): texts without a
# semicolon, two for two values that have two forms. A type that is not here is fetched as before.
_PLAIN: Final = {
    0: ("TO_VARCHAR({0})",),
    # Of a float the text has fewer digits than the value. What it lacks is exact, because floats
    # that lie so close are subtracted without rounding, and it has few digits itself.
    1: ("TO_VARCHAR({0})", "TO_VARCHAR({0} - TO_DOUBLE(TO_VARCHAR({0})))"),
    3: ("TO_VARCHAR(DATEDIFF(day, '1970-01-01'::DATE, {0}))",),
    # With the seconds, because nobody says what is written of the year 10000, in which a moment of
    # the calendar's last day may lie in UTC.
    **dict.fromkeys(
        [6, 7],
        (
            "TO_VARCHAR({0}, 'YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM')",
            "TO_VARCHAR(DATE_PART(epoch_second, {0}))",
        ),
    ),
    8: ("TO_VARCHAR({0}, 'YYYY-MM-DD HH24:MI:SS.FF9')",),
    11: ("HEX_ENCODE({0})",),
    12: ("TO_VARCHAR({0}, 'HH24:MI:SS.FF9')",),
    13: ("TO_VARCHAR({0})",),
}
# Texts that may hold any character. TO_JSON writes what the server sends of such a value.
_ANY: Final = {2: "{0}", 5: "TO_JSON({0})", 9: "TO_JSON({0})", 10: "TO_JSON({0})"}

# Columns of `key` that have the same text here and on the server; a NUMBER only if it is whole.
_KEYS: Final = {0: "TO_VARCHAR({0})", 2: "{0}", 3: "TO_VARCHAR({0}, 'YYYY-MM-DD')"}
_BETWEEN: Final = "|"


@dataclass(frozen=True, kw_only=True)
class BucketDigests:
    """The digests of a result whose rows may come in any order, one for each bucket of keys.

    `noted` has the number of rows and the sum of their digests of every bucket, and is empty while
    nothing is known. `rule` says how they are made, and of which columns: others are not compared.
    """

    rule: str
    salt: str
    names: tuple[str, ...]
    texts: tuple[str, ...]
    key: tuple[str, ...]
    key_texts: tuple[str, ...]
    buckets: int = 1
    noted: tuple[str, ...] = ()

    @classmethod
    def expected(cls, past: Past, described: Sequence[Any], key: Sequence[str]) -> Self | None:
        """Give the digests of the past, or empty ones; None if the columns can't have any.

        `described` are the columns as the connector describes them.
        """
        names = columns(described)
        places = {name: (f"c{at}", described[at]) for at, name in enumerate(names)}
        texts = [_text(place, about[1]) for place, about in places.values()]
        if not all(texts) or not places.keys().isdisjoint((_BUCKET, _UPPER, _LOWER, _WRITTEN)):
            return None
        key_texts = [_key_text(*places[column]) for column in key]
        told: list[Json] = [[about[0], about[1]] for about in described]
        new = cls(
            rule=digest(str(_FORMAT), dumps([*key]), dumps(told)),
            salt=secrets.token_hex(_SALT_BYTES),
            names=tuple(about[0] for about in described),
            texts=tuple(texts),
            key=tuple(key),
            key_texts=tuple(key_texts) if all(key_texts) else (),
        )
        return new._of_memo(past) or new._of_size(past.total or 0)

    def _of_memo(self, past: Past) -> Self | None:
        memo = past.memo.get(NOTED_AS)
        if not isinstance(memo, dict) or memo.get("v") != _FORMAT:
            return None
        salt, noted = memo.get("salt"), str(memo.get("digests")).split(",")
        is_comparable = (memo.get("rule"), memo.get("fingerprint")) == (self.rule, past.fingerprint)
        if not is_comparable or not isinstance(salt, str) or not all(map(_NOTED.fullmatch, noted)):
            return None
        # A table that has grown is divided anew: its buckets have become too large to fetch.
        wanted = _division(past.total or 0) if self.key_texts else 1
        if wanted > 4 * len(noted) or (len(noted) > 1 and not self.key_texts):
            return None
        return replace(self, salt=salt, buckets=len(noted), noted=tuple(noted))

    def _of_size(self, rows: int) -> Self:
        return replace(self, buckets=_division(rows) if self.key_texts else 1)

    def told(self, query: Query) -> tuple[str, list[str]]:
        """SQL for the digest of each bucket that has rows, and what is bound to it."""
        sums = ", ".join(f"SUM({half}::NUMBER(20, 0)) AS {half}" for half in (_UPPER, _LOWER))
        told = f"SELECT {_BUCKET}, COUNT(*) AS {_COUNT}, {sums} FROM digested GROUP BY {_BUCKET}"  # noqa: S608  # names of ours
        return f"{self._digested(query)} {told}", self._salts

    def fetched(self, query: Query, buckets: Collection[int] = ()) -> tuple[str, list[str]]:
        """SQL for the rows of these buckets (default: all), each with its digest; what is bound."""
        # Named as they are named, so that what reads them need not know of it.
        shown = ", ".join(f"c{place} AS {_quoted(name)}" for place, name in enumerate(self.names))
        where = f" WHERE {_BUCKET} IN ({', '.join(map(str, sorted(buckets)))})" if buckets else ""
        rows = f"SELECT {shown}, {_BUCKET}, {_UPPER}, {_LOWER} FROM digested{where}"  # noqa: S608  # names of columns
        return f"{self._digested(query)} {rows}", self._salts

    def noting(self, told: Iterable[Sequence[Any]]) -> Self:
        """Give the digests that the rows of `told` tell."""
        sums = {
            int(bucket): _note(int(rows), (int(upper) << 64) + int(lower))
            for bucket, rows, upper, lower in told
        }
        return replace(
            self, noted=tuple(sums.get(bucket, _note(0, 0)) for bucket in range(self.buckets))
        )

    def split(self, rows: Rows) -> tuple[Self, bool]:
        """Give the digests of rows that `fetched` gave, and take them off the rows.

        And whether each row is in the bucket in which an item with its key is looked for here.
        """
        counts, sums, is_sound = Counter[int](), Counter[int](), True
        for row in rows:
            bucket, upper, lower = (int(str(row.pop(name))) for name in (_BUCKET, _UPPER, _LOWER))
            counts[bucket] += 1
            sums[bucket] += (upper << 64) + lower
            is_sound = is_sound and bucket == self._bucket(row)
        noted = (_note(counts[bucket], sums[bucket]) for bucket in range(self.buckets))
        return replace(self, noted=tuple(noted)), is_sound

    @property
    def rows(self) -> int:
        """How many rows the result has."""
        return sum(int(noted.partition(":")[0]) for noted in self.noted)

    def moved(self, now: Self) -> frozenset[int]:
        """The buckets whose digests are others now."""
        pairs = enumerate(zip(self.noted, now.noted, strict=True))
        return frozenset(bucket for bucket, (one, other) in pairs if one != other)

    def unmoved_items(self, items: Iterable[Item], moved: Collection[int]) -> list[Item] | None:
        """Pick the items of the past whose buckets have not moved.

        None if they are not as many as these buckets have rows.
        """
        counts, kept = Counter[int](), list[Item]()
        for item in items:
            bucket = self._bucket(item.data)
            counts[bucket] += 1
            if bucket not in moved:
                kept.append(item)
        expected = (int(noted.partition(":")[0]) for noted in self.noted)
        return kept if all(counts[at] == rows for at, rows in enumerate(expected)) else None

    def memo(self, fingerprint: str) -> dict[str, Json]:
        """What the next look wants to know of the state with this fingerprint."""
        return {
            "v": _FORMAT,
            "rule": self.rule,
            "salt": self.salt,
            "digests": ",".join(self.noted),
            "fingerprint": fingerprint,
        }

    @property
    def _salts(self) -> list[str]:
        return [self.salt] * (2 if self.buckets > 1 else 1)

    def _bucket(self, row: Mapping[str, Json]) -> int:
        """The bucket that `_digested` finds for a row."""
        if self.buckets == 1:
            return 0
        text = self.salt + _BETWEEN.join(str(row.get(column)) for column in self.key)
        number = md5(text.encode(), usedforsecurity=False).digest()
        return int.from_bytes(number[8:]) % self.buckets

    def _digested(self, query: Query) -> str:
        """The result with three columns more: the bucket of a row, and the halves of its MD5.

        MD5, because nobody promises that HASH of Snowflake's stays the same, and a sum of each
        half, which is the same in any order, and moves with what is there twice. Whoever writes the
        rows does not know the salt, and so can't make two of them that have one digest.
        """
        places = [f"c{place}" for place in range(len(self.names))]
        bucket = "0"
        if self.buckets > 1:
            text = f" || '{_BETWEEN}' || ".join(self.key_texts)
            bucket = f"MOD(MD5_NUMBER_LOWER64(? || {text}), {self.buckets})"
        halves = ", ".join(
            f"MD5_NUMBER_{half}64({_WRITTEN})::NUMBER(20, 0) AS {name}"
            for half, name in (("UPPER", _UPPER), ("LOWER", _LOWER))
        )
        return (
            f"WITH result ({', '.join(places)}) AS (SELECT * FROM ({statement(query.text)}\n)), "  # noqa: S608  # SQL is the input
            f"written AS (SELECT *, ? || {' || '.join(self.texts)} AS {_WRITTEN}, "
            f"{bucket} AS {_BUCKET} FROM result), "
            f"digested AS (SELECT *, {halves} FROM written)"
        )


def _division(rows: int) -> int:
    """Into how many buckets so many rows are divided: a power of two."""
    return min(_MOST_BUCKETS, 1 << (rows // _BUCKET_ROWS).bit_length())


def _key_text(column: str, about: Sequence[Any]) -> str:
    """SQL for the text of a column of `key`; empty if ours of the same value may be another one."""
    _, kind, _, _, _, scale, *_ = about
    return "" if scale and kind == 0 else _KEYS.get(kind, "").format(column)


def _text(column: str, kind: int) -> str:
    """SQL for a text that is another one for each form of a value, and tells where it ends."""
    if kind in _ANY:
        text = _ANY[kind].format(column)
        return f"COALESCE(LENGTH({text}) || ':' || {text}, ';')"
    parts = (f"COALESCE({part.format(column)}, '') || ';'" for part in _PLAIN.get(kind, ()))
    return " || ".join(parts)


def _note(rows: int, total: int) -> str:
    return f"{rows}:{total % _MODULUS:032x}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
