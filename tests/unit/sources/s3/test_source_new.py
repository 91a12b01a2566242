"""`files_new` sees what comes after the last key, at a cost that follows what is new."""

from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.observation import Past
from flowproject.config.data import S3Data
from flowproject.errors import SourceError
from flowproject.sources.s3.source import S3Source
from flowproject.sources.s3.work_queue import ListingOptions
from tests.s3_pages import MemoryBucket, Stored

QUICK = ListingOptions(at_once=2, page_size=10, span_rows=20)


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket({b"raw/%04d" % number: Stored() for number in range(500)})


def source(bucket: MemoryBucket, **settings: Any) -> S3Source:
    data = S3Data(bucket="lake", key="raw", check_mode="files_new", **settings)
    return S3Source(data, Path(), opener=lambda *_: bucket, options=QUICK)


def after(value: Any) -> Past:
    return Past(value, lambda: None)


def test_the_first_look_finds_the_last_key_and_lists_little(bucket: MemoryBucket):
    seen = source(bucket).observe()
    assert (seen.value, seen.items, seen.difference) == ("raw/0499", None, None)
    assert bucket.requests < 25


def test_an_empty_prefix_has_no_last_key():
    assert source(MemoryBucket()).observe().value == ""


def test_only_what_is_new_is_listed(bucket: MemoryBucket):
    bucket.objects |= {b"raw/%04d" % number: Stored(size=3) for number in range(500, 525)}
    bucket.requests = 0
    seen = source(bucket).observe(after("raw/0499"))
    assert seen.difference is not None
    assert [item.key for item in seen.difference.added] == [f"raw/0{n}" for n in range(500, 525)]
    assert (seen.value, seen.cost.rows) == ("raw/0524", 25)
    assert bucket.requests <= 10


def test_new_objects_carry_what_the_store_says_of_them(bucket: MemoryBucket):
    bucket.objects[b"raw/9"] = Stored(size=3)
    seen = source(bucket).observe(after("raw/0499"))
    assert seen.difference is not None
    [found] = seen.difference.added
    assert found.data["size"] == 3


def test_nothing_new_takes_one_request_and_changes_nothing(bucket: MemoryBucket):
    first = source(bucket).observe()
    bucket.requests = 0
    again = source(bucket).observe(after(first.value))
    assert (again.fingerprint, again.value) == (first.fingerprint, first.value)
    assert bucket.requests == 1


def test_what_was_empty_sees_everything_that_comes():
    bucket = MemoryBucket({b"raw/1": Stored()})
    seen = source(bucket).observe(after(""))
    assert seen.difference is not None
    assert seen.difference.counts["added"] == 1


def test_objects_that_are_not_included_move_nothing(bucket: MemoryBucket):
    bucket.objects[b"raw/9.tmp"] = Stored()
    seen = source(bucket, include=("*.csv",)).observe(after("raw/0499"))
    assert seen.difference is not None
    assert (seen.value, seen.difference.counts["added"]) == ("raw/0499", 0)


def test_the_value_is_the_last_one_included(bucket: MemoryBucket):
    bucket.objects |= {b"raw/8.csv": Stored(), b"raw/9.tmp": Stored()}
    assert source(bucket, include=("*.csv",)).observe(after("raw/0499")).value == "raw/8.csv"


@pytest.mark.parametrize("value", [None, 7, "other/0499"])
def test_a_value_of_another_place_begins_anew(bucket: MemoryBucket, value: object):
    seen = source(bucket).observe(after(value))
    assert (seen.value, seen.difference) == ("raw/0499", None)


def test_overwritten_and_deleted_objects_are_not_seen(bucket: MemoryBucket):
    bucket.objects[b"raw/0100"] = Stored(generation=9)
    del bucket.objects[b"raw/0200"]
    seen = source(bucket).observe(after("raw/0499"))
    assert seen.difference is not None
    assert seen.difference.counts == {"added": 0, "modified": 0, "removed": 0}


def by_folder(key: bytes) -> list[bytes]:
    return key.split(b"/")


def test_a_server_without_order_has_no_last_key():
    bucket = MemoryBucket(dict.fromkeys([b"raw/a/b", b"raw/a-b"], Stored()), order=by_folder)
    with pytest.raises(SourceError, match="needs a server that lists keys in order"):
        source(bucket).observe()


@pytest.mark.parametrize("known", ["", "raw/a/b"])
def test_nothing_is_new_to_a_server_without_order(known: str):
    bucket = MemoryBucket(dict.fromkeys([b"raw/a/b", b"raw/a-b"], Stored()), order=by_folder)
    with pytest.raises(SourceError, match="needs a server that lists keys in order"):
        source(bucket).observe(after(known))
