"""What happens to the objects between two ticks."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from benchmarks.replay.rows import KEY, PREFIX, ROW_BYTES, Maker, Rows

__all__ = ["MUTATIONS", "Mutated", "mutate"]

_NEW: Final = 5_000
_OVERWRITTEN: Final = 1_000
_DELETED: Final = 200
_ONE_IN: Final = 1_000
_LATER: Final = datetime(2026, 11, 22, 10, tzinfo=UTC)


class Mutated(NamedTuple):
    """How many objects are new, overwritten (the size is the same) and deleted."""

    added: int
    modified: int
    removed: int


class _Edit(NamedTuple):
    """The rows from `start` up to `stop` become others."""

    start: int
    stop: int
    rows: bytes = b""


def mutate(rows: Rows, kind: str, turn: int) -> tuple[Rows, Mutated]:
    """The bucket after a mutation of that kind, other objects each turn; `rows` stay as they are.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in MUTATIONS:
        raise ValueError(f"{kind!r} is no mutation: use one of {', '.join(MUTATIONS)}")
    maker = Maker(seed=turn, written=_LATER + timedelta(minutes=turn))
    edits = sorted(MUTATIONS[kind](rows, maker, turn))
    replaced = [min(edit.stop - edit.start, len(edit.rows) // ROW_BYTES) for edit in edits]
    added = sum(len(edit.rows) // ROW_BYTES for edit in edits) - sum(replaced)
    removed = sum(edit.stop - edit.start for edit in edits) - sum(replaced)
    return _edited(rows, edits), Mutated(added, sum(replaced), removed)


def _clustered(rows: Rows, maker: Maker, turn: int) -> Iterable[_Edit]:
    """A new day arrives, a stretch of an old one is written again, one of another is deleted."""
    year, month, day = rows[-1].removeprefix(PREFIX.encode()).split(b"/")[:3]
    tomorrow = date(int(year), int(month), int(day)) + timedelta(days=1)
    yield _Edit(len(rows), len(rows), maker.partition(tomorrow, range(_NEW)))
    first = (len(rows) * 2 // 5 + turn * _OVERWRITTEN) % (len(rows) // 2)
    written = (maker.overwritten(rows.row(number)) for number in range(first, first + _OVERWRITTEN))
    yield _Edit(first, first + _OVERWRITTEN, b"".join(written))
    first = len(rows) * 3 // 4
    yield _Edit(first, first + _DELETED)


def _scattered(rows: Rows, maker: Maker, turn: int) -> Iterable[_Edit]:
    """One in a thousand, everywhere: half of them overwritten, a quarter new, a quarter deleted."""
    chosen = Random(turn).sample(range(len(rows)), len(rows) // _ONE_IN)  # noqa: S311
    for place, number in enumerate(chosen):
        match place % 4:
            case 0:
                new = maker.beside(rows[number])
                at = rows.after(new[KEY])
                yield _Edit(at, at, new)
            case 1:
                yield _Edit(number, number + 1)
            case _:
                yield _Edit(number, number + 1, maker.overwritten(rows.row(number)))


def _edited(rows: Rows, edits: Iterable[_Edit]) -> Rows:
    pieces: list[bytes | memoryview] = []
    kept = 0
    for edit in edits:
        pieces += (rows.xml(kept, edit.start), edit.rows)
        kept = edit.stop
    return Rows(b"".join([*pieces, rows.xml(kept, len(rows))]))


MUTATIONS: Final[dict[str, Callable[[Rows, Maker, int], Iterable[_Edit]]]] = {
    "clustered": _clustered,
    "scattered": _scattered,
}
