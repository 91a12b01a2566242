"""A listing of files has one digest, and is compared with a table span by span."""

import os
from collections.abc import Callable
from itertools import groupby
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, Item, diff
from flowproject.changes.observation import fingerprint_items
from flowproject.tables import file_listing
from flowproject.tables.builder import Built
from flowproject.tables.file_listing import FileListing
from flowproject.tables.file_rows import file_item, name_text, raw_name
from flowproject.tables.table import ObjectTable

Files = dict[str, tuple[int, int]]
"""Keys, with size and time."""

NAMES = st.lists(st.sampled_from(["a", "a-", "b", "é", "\udcff"]), min_size=1, max_size=3)
FILES = st.dictionaries(
    NAMES.map("/".join), st.tuples(st.integers(0, 3), st.integers(-2, 10**20)), max_size=25
)


@pytest.fixture(autouse=True, scope="module")
def _small_spans() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_listing, "SPAN_ROWS", 3)
        yield


def listed(files: Files, view: str = "view", at_once: int = 2) -> FileListing:
    """Made of them as a walk does, with so many of a folder at once."""
    listing = FileListing(view)
    in_order = sorted(files, key=os.fsencode)
    for prefix, keys in groupby(
        in_order, lambda key: key[: len(key) - len(PurePosixPath(key).name)]
    ):
        few = [*keys]
        for start in range(0, len(few), at_once):
            lines = [
                f"{key.removeprefix(prefix)}\0{files[key][0]}\0{files[key][1]}"
                for key in few[start : start + at_once]
            ]
            listing.add(prefix, lines)
    return listing


def items(files: Files) -> dict[str, Item]:
    return {name_text(key): file_item(key, *seen) for key, seen in files.items()}


def as_sets(difference: Difference) -> list[set[str]]:
    kinds = (difference.added, difference.modified, difference.removed)
    return [{repr(one) for one in kind} for kind in kinds]


def recorded(built: Built, name: str) -> ObjectTable:
    return built.items.recorded(name)


@settings(max_examples=25)
@given(st.lists(FILES, min_size=1, max_size=4), st.data())
def test_what_a_listing_says_of_the_table_before_is_what_happened(
    looks: list[Files], data: st.DataObject
):
    """With the same total, which follows from what moved; also if the question was edited."""
    known: ObjectTable | None = None
    before: Files = {}
    for number, drawn in enumerate(looks):
        # Most looks find most files as they were.
        is_like_before = number and data.draw(st.booleans())
        files = before | dict([*drawn.items()][:2]) if is_like_before else drawn
        view = data.draw(st.sampled_from(["view", "edited"]))
        built = listed(files, view, data.draw(st.integers(1, 4))).compared(known)
        expected = diff(items(before), items(files))
        assert as_sets(built.difference) == as_sets(expected)
        assert built.fingerprint == fingerprint_items(items(files).values())
        assert {item.key: item for item in built.items.values()} == items(files)
        known, before = recorded(built, f"look {number}"), files


@settings(max_examples=20)
@given(FILES, FILES)
def test_spans_without_a_change_are_kept_as_they_are(files: Files, others: Files):
    known = recorded(listed(files).compared(None), "first")
    again = listed(files, at_once=3).compared(known)
    assert not again.moved
    moved = listed(files | others).compared(known)
    kept = {span for span in moved.items.manifest.spans if span in known.manifest.spans}
    untouched = {
        span
        for place, span in enumerate(known.manifest.spans)
        if not any(
            (
                known.manifest.low(place) is None
                or os.fsencode(known.manifest.low(place) or "") < raw
            )
            and raw <= os.fsencode(span.last)
            for raw in (os.fsencode(key) for key in others if files.get(key) != others[key])
        )
    }
    assert {span.digest for span in untouched} <= {span.digest for span in kept} | {
        span.digest for span in known.manifest.spans[-1:]
    }


def exchanged(
    files: Files,
    keys: list[str],
    part: Callable[[tuple[int, int], tuple[int, int]], tuple[int, int]],
) -> Files:
    """Each of the files gets something of the next one, the last of the first one."""
    return files | {
        key: part(files[key], files[other])
        for key, other in zip(keys, keys[1:] + keys[:1], strict=True)
    }


@settings(max_examples=15)
@given(FILES.filter(lambda files: len(files) > 2), st.data())
def test_the_digest_moves_if_files_exchange_anything(files: Files, data: st.DataObject):
    """Two or three at a time: sizes, times, both (which is their names), a folder, a file twice."""
    keys = data.draw(st.lists(st.sampled_from(sorted(files)), min_size=2, max_size=3, unique=True))
    some = keys[0]
    others: list[Files] = [
        exchanged(files, keys, lambda own, other: (other[0], own[1])),
        exchanged(files, keys, lambda own, other: (own[0], other[1])),
        exchanged(files, keys, lambda _, other: other),
        {key: seen for key, seen in files.items() if key != some} | {f"{some}x": files[some]},
        {key: seen for key, seen in files.items() if key != some} | {f"x/{some}": files[some]},
        files | {f"{some}x": files[some]},
        {key: seen for key, seen in files.items() if key != some},
        {key: (mtime % 100, size) for key, (size, mtime) in files.items()},
    ]
    known = recorded(listed(files).compared(None), "first")
    for other in others:
        if other == files:
            continue
        assert listed(other).digest != listed(files).digest
        built = listed(other).compared(known)
        assert built.fingerprint != known.manifest.fingerprint
        assert as_sets(built.difference) == as_sets(diff(items(files), items(other)))


def test_the_digest_is_of_the_files_and_the_question_and_not_of_the_pieces():
    files: Files = {"a": (1, 1), "b/c": (2, 2), "b/d": (3, 3)}
    assert listed(files, at_once=1).digest == listed(files, at_once=9).digest
    assert listed(files, "edited").digest != listed(files).digest


@given(NAMES.map("".join) | st.text(st.sampled_from("\\xf9é\udcff")))
def test_the_name_of_a_text_is_the_one_it_was_made_of(name: str):
    assert raw_name(name_text(name)) == os.fsencode(name)
