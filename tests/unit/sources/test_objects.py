import datetime as dt
from typing import get_args

import pytest

from flowproject.changes.observation import Cost, Past
from flowproject.config.data import ObjectProperty, ObjectsMode
from flowproject.sources.objects import (
    StoredObject,
    Watch,
    identity,
    known_position,
    known_table,
    new_objects_observation,
    object_observation,
    view,
)

NORTH = dt.timezone(dt.timedelta(hours=2))
FOUND = StoredObject(
    key="in/a", size=5, etag="abc", modified=dt.datetime(2026, 11, 22, 12, 0, 1, tzinfo=NORTH)
)


def test_an_object_is_told_in_utc_and_with_its_version_only_if_it_has_one():
    data = {"key": "in/a", "size": 5, "etag": "abc", "modified": "2026-11-22T10:00:01.000000+00:00"}
    assert FOUND.data == data
    versioned = StoredObject(
        key="in/a", size=5, etag="abc", modified=FOUND.modified, version_id="v1"
    )
    assert versioned.data == {**data, "version_id": "v1"}


@pytest.mark.parametrize(
    "mode, value",
    [
        ("file_size", 5),
        ("file_etag", "abc"),
        ("file_modified_ts", "2026-11-22T10:00:01.000000+00:00"),
    ],
)
def test_one_object_is_compared_by_the_property_that_its_mode_names(
    mode: ObjectsMode, value: object
):
    seen = object_observation(mode, FOUND, Cost(rows=1))
    assert seen.value == value
    assert seen.items is not None
    assert [item.data for item in seen.items.values()] == [FOUND.data]


def test_only_that_property_moves_the_fingerprint():
    other = StoredObject(key="in/a", size=5, etag="def", modified=FOUND.modified)
    sizes = {object_observation("file_size", found, Cost()).fingerprint for found in (FOUND, other)}
    etags = {object_observation("file_etag", found, Cost()).fingerprint for found in (FOUND, other)}
    assert (len(sizes), len(etags)) == (1, 2)


def test_a_missing_object_is_an_observation_without_items():
    seen = object_observation("file_size", None, Cost())
    assert (seen.value, seen.items) == (None, {})
    assert seen.fingerprint != object_observation("file_size", FOUND, Cost()).fingerprint


def test_what_is_ignored_makes_no_version():
    assert identity(()) == ("size", "etag", "modified")
    assert identity(("etag", "last_modified")) == ("size",)
    assert identity(get_args(ObjectProperty)) == ()


def test_patterns_are_about_the_path_below_the_prefix():
    watch = Watch("raw/", ("*.csv",), "")
    assert [watch.match(key) for key in ("raw/a.csv", "raw/b/a.csv", "raw/a.txt")] == [
        True,
        False,
        False,
    ]


def test_markers_are_watched_at_every_depth_whatever_the_patterns_say():
    watch = Watch("raw/", ("*.csv",), "_SUCCESS")
    assert watch.match("raw/_SUCCESS")
    assert watch.match("raw/a/b/_SUCCESS")
    assert not watch.match("raw/a/not_SUCCESS")


def test_everything_that_decides_what_a_listing_means_moves_the_view():
    base = view("place", include=(), marker="", columns=("size",))
    others = {
        view("elsewhere", include=(), marker="", columns=("size",)),
        view("place", include=("*",), marker="", columns=("size",)),
        view("place", include=(), marker="*", columns=("size",)),
        view("place", include=(), marker="", columns=("size", "etag")),
        view("pla", "ce", include=(), marker="", columns=("size",)),
    }
    assert len(others | {base}) == 6
    assert base == view("place", include=(), marker="", columns=("size",))


def test_what_is_new_is_told_by_the_last_key_alone():
    one, same = (
        new_objects_observation("in/1", None, Cost()),
        new_objects_observation("in/1", None, Cost(rows=1)),
    )
    assert (one.value, one.items, one.difference) == ("in/1", None, None)
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != new_objects_observation("in/2", None, Cost()).fingerprint


def test_one_object_or_nothing_is_no_table_to_build_upon():
    assert known_table(None) is None
    assert known_table(Past(5, dict)) is None


@pytest.mark.parametrize(
    "value, position", [("in/1", "in/1"), ("", ""), ("out/1", None), ("in", None), (5, None)]
)
def test_a_position_is_a_key_below_the_same_prefix(value: str | int, position: str | None):
    assert known_position(Past(value, dict), "in/") == position
    assert known_position(None, "in/") is None
