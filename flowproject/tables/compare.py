"""Compares old and new rows of one range of keys, column by column."""

from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import TYPE_CHECKING, Any, Final

from flowproject.tables.columns import COLUMNS, no_rows, object_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FOLDER_ENDINGS",
    "RowDifference",
    "after",
    "before",
    "compare",
    "edit_schema",
    "edits",
    "without_folders",
]

FOLDER_ENDINGS: Final = (b"/", b"_$folder$")
"""What the keys of empty objects end with that only stand for a folder."""


@dataclass(frozen=True, slots=True)
class RowDifference:
    """Rows that were added, modified (old and new side by side) and removed."""

    added: "pa.Table"
    modified: "pa.Table"
    removed: "pa.Table"

    def __bool__(self) -> bool:
        return bool(len(self.added) or len(self.modified) or len(self.removed))


@cache
def edit_schema() -> "pa.Schema":
    """The columns of modified objects: the key, what it was, what it is."""
    import pyarrow as pa

    key, *columns = object_schema()
    return pa.schema(
        [
            key,
            *(
                column.with_name(f"{when}_{column.name}")
                for when in ("old", "new")
                for column in columns
            ),
        ]
    )


def compare(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...]) -> RowDifference:
    """What must happen to `old` to become `new`; both have each key once, in the same order.

    What no column of `identity` shows is no change.
    """
    # Without one side there is nothing to look up; a first look takes this way for each row.
    if not (len(old) and len(new)):
        return RowDifference(new, edit_schema().empty_table(), old)
    # The usual case: something was overwritten, and no key came or went. Then rows stand side by
    # side already, and no index of keys is made.
    if old["key"].equals(new["key"]):
        places = _modified(old, new, identity)
        return RowDifference(no_rows(), edits(old.take(places), new.take(places)), no_rows())
    return _compare_keys(old, new, identity)


def without_folders(found: RowDifference) -> RowDifference:
    """The difference without removed objects that only stood for a folder."""
    import pyarrow.compute as pc

    # Versions before listed them, so they are in tables of the past; of what is listed none is, so
    # that one is missing says nothing of the store, and a new version must start no flow.
    removed = found.removed
    ends = reduce(
        pc.or_, (pc.ends_with(removed["key"], pattern=ending) for ending in FOLDER_ENDINGS)
    )
    is_folder = pc.and_(ends, pc.equal(removed["size"], 0))
    return replace(found, removed=removed.filter(pc.invert(is_folder)))


def edits(old: "pa.Table", new: "pa.Table") -> "pa.Table":
    """Old and new rows of the same keys, side by side."""
    import pyarrow as pa

    columns = [new["key"], *(table[name] for table in (old, new) for name in COLUMNS)]
    return pa.Table.from_arrays(columns, schema=edit_schema())


def before(rows: "pa.Table") -> "pa.Table":
    """The old rows of what `edits` put side by side."""
    return _side(rows, "old")


def after(rows: "pa.Table") -> "pa.Table":
    """The new rows of what `edits` put side by side."""
    return _side(rows, "new")


def _side(rows: "pa.Table", when: str) -> "pa.Table":
    import pyarrow as pa

    columns = [rows["key"], *(rows[f"{when}_{name}"] for name in COLUMNS)]
    return pa.Table.from_arrays(columns, schema=object_schema())


def _compare_keys(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...]) -> RowDifference:
    import pyarrow.compute as pc

    # `index_in` gives null for a key that was not there before.
    found = pc.index_in(new["key"], value_set=old["key"]).combine_chunks()
    is_known = found.is_valid()
    old_places, new_places = found.drop_null(), pc.indices_nonzero(is_known)
    # Only what is compared is gathered; whole rows only of those that differ.
    columns = [*identity]
    places = _modified(
        old.select(columns).take(old_places), new.select(columns).take(new_places), identity
    )
    return RowDifference(
        added=new.filter(pc.invert(is_known)),
        modified=edits(old.take(old_places.take(places)), new.take(new_places.take(places))),
        removed=old.take(_missing(old_places, len(old))),
    )


def _missing(places: "pa.Array", count: int) -> "pa.Array":
    """The places below `count` that are not among these, which rise."""
    # Gaps are looked for, and not all places counted off: of a span of thousands few are gone.
    import pyarrow as pa
    import pyarrow.compute as pc

    edges = pa.concat_arrays([pa.array([-1], places.type), places, pa.array([count], places.type)])
    steps = pc.subtract(edges[1:], edges[:-1])
    gaps = pc.indices_nonzero(pc.greater(steps, 1)).to_pylist()
    missing = [
        place for gap in gaps for place in range(edges[gap].as_py() + 1, edges[gap + 1].as_py())
    ]
    return pa.array(missing, places.type)


def _modified(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...]) -> "pa.Array":
    """The places at which rows differ; both tables have the same keys in the same order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Most columns are equal throughout, which Arrow sees at once.
    moved = [name for name in identity if not old[name].equals(new[name])]
    if not moved:
        return pa.array([], pa.int64())
    return pc.indices_nonzero(reduce(pc.or_, (_different(old[name], new[name]) for name in moved)))


def _different(old: Any, new: Any) -> Any:
    """Where two columns differ; a missing value equals only another one."""
    import pyarrow.compute as pc

    # `not_equal` has null for an answer where either side is missing.
    unequal = pc.fill_null(pc.not_equal(old, new), fill_value=False)
    return pc.or_(unequal, pc.xor(old.is_null(), new.is_null()))
