"""Tells a result that is as it was by a digest that DuckDB makes of it: no row is read for it.

A digest only ever saves reading. It may move although the result is the same by the rule of
`changes.canonical` (a column of decimals that became integers): then the rows are read and
compared, and there is a new one. Results that this rule tells apart never share one.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.observation import Memo, Past
from flowproject.sources.duckdb.values import BUILT_IN, casts, distinct_text
from flowproject.sql import statement
from flowproject.tables.row_table import Marks

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

__all__ = [
    "KNOWN_MARKS",
    "ResultDigest",
    "digested",
    "digested_with_rows",
    "marked_rows",
    "moved_rows",
]

KNOWN_MARKS: Final = "flowproject_marks"
"""The name under which `moved_rows` finds the marks of the past."""

_FORMAT: Final = 1
_SALT_BYTES: Final = 16
_LOW_HALF: Final = 2**64 - 1
_TEXT: Final = re.compile(r"\d+ \d* \d*")


@dataclass(frozen=True, kw_only=True)
class ResultDigest:
    """The digest of a whole result, whose rows may come in any order.

    `text` has the number of rows and two sums over their digests; it is empty while nothing is
    known. `rule` says how it is made, and of which columns: two are compared only if both agree.
    `files` is a digest of how the files were that the result was read from.
    """

    rule: str
    salt: str
    text: str = ""
    files: str = ""

    @classmethod
    def expected(
        cls, past: Past | None, kinds: "Mapping[str, DuckDBPyType]", key: Sequence[str]
    ) -> Self | None:
        """Give the digest of the past, or an empty one; None if the columns can't have one."""
        if not all(distinct_text("c", kind) for kind in kinds.values()):
            return None
        rule = _rule(kinds, key)
        noted = past.memo if past else {}
        is_comparable = (
            past is not None
            and noted.get("v") == _FORMAT
            and noted.get("rule") == rule
            and noted.get("fingerprint") == past.fingerprint
        )
        salt, text = noted.get("salt"), noted.get("digest")
        if is_comparable and isinstance(salt, str) and _TEXT.fullmatch(str(text)):
            return cls(rule=rule, salt=salt, text=str(text), files=str(noted.get("files", "")))
        return cls(rule=rule, salt=secrets.token_hex(_SALT_BYTES))

    def seen(self, text: str) -> Self:
        """Give the digest of another result, made by the same rule, with this text."""
        return replace(self, text=text)

    def seen_in(self, count: int, high: int, low: int) -> Self:
        """Give the digest of a result of so many rows, whose halves of marks come to these sums."""
        # As the engine writes it: the sum of no rows is NULL, and NULL is no text.
        return self.seen(f"{count} {high} {low}" if count else "0  ")

    @property
    def marks(self) -> Marks:
        """How the marks of rows are made which this digest adds up."""
        return Marks(rule=self.rule, salt=self.salt)

    @property
    def rows(self) -> int:
        """How many rows the result has."""
        return int(self.text.split()[0])

    def memo(self, fingerprint: str) -> Memo:
        """What the next look wants to know of the state with this fingerprint."""
        return {
            "v": _FORMAT,
            "rule": self.rule,
            "salt": self.salt,
            "digest": self.text,
            "files": self.files,
            "fingerprint": fingerprint,
        }


def digested(text: str, kinds: "Mapping[str, DuckDBPyType]", limit: int) -> str:
    """SQL for one row, the digest of the result of `text`; its parameter is `salt`.

    Rows are counted up to `limit`, and one more.
    """
    return f"WITH {_result(text, kinds, limit)} {_sums(kinds)}"


def digested_with_rows(text: str, kinds: "Mapping[str, DuckDBPyType]", limit: int) -> str:
    """SQL for the digest in a row of its own, and behind it all rows unless it is `known`.

    The query runs once: what is digested is what is read. Its parameters are `salt` and `known`.
    """
    nothing = ", ".join(f"NULL AS {place}" for place in _places(kinds))
    return (
        f"WITH {_result(text, kinds, limit, kept=True)}, told AS MATERIALIZED ({_sums(kinds)}) "  # noqa: S608  # SQL is the input
        f"SELECT digest, {nothing} FROM told UNION ALL "
        f"SELECT NULL, {_fetched(kinds)} FROM result, told WHERE digest IS DISTINCT FROM $known"
    )


def marked_rows(text: str, kinds: "Mapping[str, DuckDBPyType]", limit: int) -> str:
    """SQL for all rows, with the two halves of the mark of each behind its columns.

    A mark is what the digest of the result adds up. The parameter is `salt`.
    """
    return (
        f"WITH {_result(text, kinds, limit)} "  # noqa: S608  # SQL is the input
        f"SELECT {_fetched(kinds)}, {', '.join(_halves())} FROM ({_numbered(kinds)})"
    )


def moved_rows(text: str, kinds: "Mapping[str, DuckDBPyType]", limit: int) -> str:
    """SQL for the rows of which the marks of the past have none, and the marks that no row has.

    Behind the columns of a row stand the two halves of its mark; then the place that the past has
    a mark at, and how many rows there are in all, in the last one only. The parameter is `salt`.
    """
    places = ", ".join(_places(kinds))
    high, low = _halves()
    # One pass, in which the engine keeps nothing but the marks of the past. Rows that are there
    # twice as they were find their mark twice: their number tells.
    return (
        f"WITH {_result(text, kinds, limit)}, "  # noqa: S608  # SQL is the input
        f"seen AS NOT MATERIALIZED (SELECT {places}, {high} AS high, {low} AS low, "
        "row_number() OVER () AS number, lead(true) OVER () IS NULL AS is_last "
        f"FROM ({_numbered(kinds)})) "
        f"SELECT {_fetched(kinds)}, seen.high, seen.low, known.high, known.low, place, "
        "CASE WHEN is_last THEN number END "
        f"FROM seen FULL OUTER JOIN temp.{KNOWN_MARKS} AS known "
        "ON seen.high = known.high AND seen.low = known.low "
        "WHERE seen.high IS NULL OR place IS NULL OR is_last"
    )


def _rule(kinds: "Mapping[str, DuckDBPyType]", key: Sequence[str]) -> str:
    import duckdb

    # How DuckDB writes a value may differ in its next version.
    columns: list[Json] = [[name, str(kind)] for name, kind in kinds.items()]
    return digest(str(_FORMAT), duckdb.__version__, dumps([*key]), dumps(columns))


def _result(
    text: str, kinds: "Mapping[str, DuckDBPyType]", limit: int, *, kept: bool = False
) -> str:
    """The query's result as a table, whose columns have names that no query has to avoid."""
    how = "MATERIALIZED" if kept else "NOT MATERIALIZED"
    # A result without end must not be read to its end.
    rows = f"SELECT * FROM ({statement(text)}\n) LIMIT {limit + 1}"  # noqa: S608  # SQL is the input
    return f"result({', '.join(_places(kinds))}) AS {how} ({rows})"


def _sums(kinds: "Mapping[str, DuckDBPyType]") -> str:
    """The number of rows and the sums of both halves of their digests.

    A sum is the same in any order, and moves with what is there twice. MD5 and not the engine's own
    `hash`, which may be another one in its next version. Whoever writes the rows does not know the
    salt, and so can't make two of them that have one digest.
    """
    high, low = (f"{BUILT_IN}.sum({half})" for half in _halves())
    return (
        f"SELECT {BUILT_IN}.concat({BUILT_IN}.count(*), ' ', {high}, ' ', {low}) "  # noqa: S608  # SQL is the input
        f"AS digest FROM ({_numbered(kinds)})"
    )


def _numbered(kinds: "Mapping[str, DuckDBPyType]") -> str:
    """The rows of the result, and the MD5 of each as the number n."""
    parts = map(distinct_text, _places(kinds), kinds.values())
    number = f"{BUILT_IN}.md5_number({BUILT_IN}.concat($salt, {', '.join(parts)}))"
    return f"SELECT *, {number} AS n FROM result"  # noqa: S608  # SQL is the input


def _halves() -> list[str]:
    # The operators by their names, which can be those of macros as well.
    halves = [f'{BUILT_IN}.">>"(n, 64)', f'{BUILT_IN}."&"(n, {_LOW_HALF})']
    return [f"CAST({half} AS UBIGINT)" for half in halves]


def _fetched(kinds: "Mapping[str, DuckDBPyType]") -> str:
    """The columns of the result as Python can hold them."""
    places = _places(kinds)
    return casts(dict(zip(places, kinds.values(), strict=True))) or ", ".join(places)


def _places(kinds: "Mapping[str, DuckDBPyType]") -> list[str]:
    return [f"c{place}" for place in range(len(kinds))]
