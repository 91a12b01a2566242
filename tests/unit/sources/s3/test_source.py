"""What a sensor learns of a bucket: everything below a key, or one property of one object."""

import re
from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.difference import item
from flowproject.changes.observation import Observation, Past
from flowproject.config.data import S3Data
from flowproject.errors import SourceError
from flowproject.sources.s3.source import S3Source
from flowproject.sources.s3.work_queue import ListingOptions
from flowproject.tables.table import ObjectTable
from tests.s3_pages import MemoryBucket, Query, Stored
from tests.unit.sources.s3.bucketfuls import Archive, keys_of

QUICK = ListingOptions(at_once=2, page_size=10, span_rows=20)


@pytest.fixture
def bucket() -> MemoryBucket:
    names = ["raw/a.csv", "raw/b/c.csv", "raw/b/_SUCCESS", "raw/d.txt", "raw2/e.csv", "raw"]
    return MemoryBucket({name.encode(): Stored(size=len(name)) for name in names})


def source(bucket: MemoryBucket, **settings: Any) -> S3Source:
    data = S3Data(bucket="lake", **{"key": "raw", **settings})
    return S3Source(data, Path(), opener=lambda *_: bucket, options=QUICK)


def names(seen: Observation) -> set[str]:
    assert seen.items is not None
    return {item.key for item in seen.items.values()}


def after(seen: Observation) -> Past:
    """What the journal would know after this look."""
    items = seen.items
    if isinstance(items, ObjectTable):
        from flowproject.tables.builder import Built

        built = Built(items=items, difference=None, fingerprint="", moved=True)  # type: ignore[arg-type]
        items = Archive().record(built)
    return Past(seen.value, lambda: items)


def test_everything_below_the_key_is_seen_and_nothing_beside_it(bucket: MemoryBucket):
    seen = source(bucket).observe()
    assert names(seen) == {"raw/a.csv", "raw/b/c.csv", "raw/b/_SUCCESS", "raw/d.txt"}
    assert seen.value == 4


def test_a_whole_bucket_is_seen_without_a_key(bucket: MemoryBucket):
    assert source(bucket, key="").observe().value == 6


def test_an_empty_prefix_is_an_observation(bucket: MemoryBucket):
    seen = source(bucket, key="nothing").observe()
    assert (seen.value, names(seen)) == (0, set())


def test_items_carry_what_the_store_says_of_them(bucket: MemoryBucket):
    bucket.objects = {b"raw/a": Stored(size=7, generation=3)}
    [found] = source(bucket).observe().items.values()  # type: ignore[union-attr]
    assert found.data == {
        "key": "raw/a",
        "size": 7,
        "etag": f"{3:032x}",
        "modified": "2026-11-22T10:00:03.000000+00:00",
    }


def test_patterns_are_for_the_path_below_the_key(bucket: MemoryBucket):
    assert names(source(bucket, include=("*.csv",)).observe()) == {"raw/a.csv"}


def test_a_marker_is_seen_whatever_the_patterns_say(bucket: MemoryBucket):
    seen = source(bucket, include=("*.csv",), marker="_SUCCESS").observe()
    assert names(seen) == {"raw/a.csv", "raw/b/_SUCCESS"}


def test_the_difference_comes_with_the_look(bucket: MemoryBucket):
    past = after(source(bucket).observe())
    bucket.objects[b"raw/new"] = Stored()
    bucket.objects[b"raw/d.txt"] = Stored(size=9, generation=1)
    del bucket.objects[b"raw/a.csv"]
    seen = source(bucket).observe(past)
    assert seen.difference is not None
    assert keys_of(seen.difference) == ({b"raw/new"}, {b"raw/d.txt"}, {b"raw/a.csv"})


def test_the_first_look_finds_everything_added(bucket: MemoryBucket):
    seen = source(bucket).observe()
    assert seen.difference is not None
    assert seen.difference.counts == {"added": 4, "modified": 0, "removed": 0}


def test_a_past_of_another_source_is_left_to_others_to_compare(bucket: MemoryBucket):
    known = {"x": item("x", {"n": 1})}
    assert source(bucket).observe(Past(1, lambda: known)).difference is None


@pytest.mark.parametrize(
    "ignore,counts",
    [
        ((), 1),
        (("last_modified",), 1),
        (("etag", "last_modified"), 0),
        (("size", "etag", "last_modified"), 0),
    ],
)
def test_ignored_properties_make_no_change(
    bucket: MemoryBucket, ignore: tuple[str, ...], counts: int
):
    past = after(source(bucket, ignore=ignore).observe())
    first = bucket.objects[b"raw/d.txt"]
    bucket.objects[b"raw/d.txt"] = Stored(size=first.size, generation=1)
    seen = source(bucket, ignore=ignore).observe(past)
    assert seen.difference is not None
    assert seen.difference.counts["modified"] == counts


def test_the_cost_is_told(bucket: MemoryBucket):
    cost = source(bucket).observe().cost
    assert (cost.requests, cost.rows) == (1, 4)
    assert cost.bytes == bucket.received > 500
    assert cost.seconds > 0


def test_the_bucket_is_closed_after_a_look(bucket: MemoryBucket):
    source(bucket).observe()
    assert bucket.closed


def test_progress_is_told_in_keys_of_those_that_were_there(bucket: MemoryBucket):
    watched = source(bucket)
    assert watched.progress() is None
    past = after(watched.observe())
    watched.observe(past)
    progress = watched.progress()
    assert progress is not None
    assert (progress.seen, progress.expected) == (4, 4)


@pytest.mark.parametrize(
    "check_mode,value",
    [
        ("file_size", 7),
        ("file_etag", f"{3:032x}"),
        ("file_modified_ts", "2026-11-22T10:00:03.000000+00:00"),
    ],
)
def test_one_object_is_watched_with_one_request(
    bucket: MemoryBucket, check_mode: str, value: object
):
    bucket.objects[b"raw/a.csv"] = Stored(size=7, generation=3)
    seen = source(bucket, key="raw/a.csv", check_mode=check_mode).observe()
    assert (seen.value, names(seen), bucket.requests) == (value, {"raw/a.csv"}, 1)


def test_only_the_watched_property_counts(bucket: MemoryBucket):
    watched = source(bucket, key="raw/a.csv", check_mode="file_size")
    first = watched.observe()
    bucket.objects[b"raw/a.csv"] = Stored(size=first.value, generation=9)  # type: ignore[arg-type]
    assert watched.observe().fingerprint == first.fingerprint
    bucket.objects[b"raw/a.csv"] = Stored(size=99)
    assert watched.observe().fingerprint != first.fingerprint


def test_a_missing_object_is_an_observation(bucket: MemoryBucket):
    seen = source(bucket, key="raw/nothing", check_mode="file_etag").observe()
    assert (seen.value, names(seen)) == (None, set())


def test_the_version_of_an_object_is_told_if_it_has_one(bucket: MemoryBucket):
    headers = Stored().headers() | {"x-amz-version-id": "v7"}
    bucket.head = lambda _: headers  # type: ignore[method-assign]
    seen = source(bucket, check_mode="file_size").observe()
    [found] = seen.items.values()  # type: ignore[union-attr]
    assert found.data["version_id"] == "v7"


HEADERS = {
    "file_size": "content-length",
    "file_etag": "etag",
    "file_modified_ts": "last-modified",
}


@pytest.mark.parametrize("unsaid", HEADERS)
@pytest.mark.parametrize("check_mode", HEADERS)
def test_an_answer_need_say_nothing_but_what_is_compared(
    bucket: MemoryBucket, check_mode: str, unsaid: str
):
    said = Stored(size=7).headers()
    del said[HEADERS[unsaid]]
    bucket.head = lambda _: said  # type: ignore[method-assign]
    watched = source(bucket, key="raw/a.csv", check_mode=check_mode)
    if check_mode != unsaid:
        assert watched.observe().value
        return
    with pytest.raises(SourceError, match=rf"does not say.*'{check_mode}'.*'raw/a\.csv'"):
        watched.observe()


@pytest.mark.parametrize(
    "name, value", [("content-length", "many"), ("last-modified", "yesterday")]
)
def test_an_answer_that_makes_no_sense_is_an_error(bucket: MemoryBucket, name: str, value: str):
    said = Stored().headers() | {name: value}
    bucket.head = lambda _: said  # type: ignore[method-assign]
    with pytest.raises(SourceError, match=r"The server's answer for 'raw' can't be read"):
        source(bucket, check_mode="file_etag").observe()


def test_what_only_stands_for_a_folder_is_no_object(bucket: MemoryBucket):
    before = source(bucket).observe()
    folders = {b"raw/e/": Stored(size=0), b"raw/b/": Stored(size=0), b"raw/f_$folder$": Stored(0)}
    bucket.objects |= folders
    seen = source(bucket).observe(after(before))
    assert (seen.value, seen.fingerprint) == (before.value, before.fingerprint)
    assert seen.difference is not None
    assert not any(seen.difference.counts.values())
    bucket.objects |= {b"raw/g/": Stored(size=1), b"raw/h": Stored(size=0)}
    seen = source(bucket).observe(after(before))
    assert names(seen) - names(before) == {"raw/g/", "raw/h"}


def test_what_only_stands_for_a_folder_is_nothing_new(bucket: MemoryBucket):
    first = source(bucket, check_mode="files_new").observe()
    bucket.objects[b"raw/e/"] = Stored(size=0)
    assert source(bucket, check_mode="files_new").observe(after(first)).value == first.value
    bucket.objects[b"raw/e/1"] = Stored()
    assert source(bucket, check_mode="files_new").observe(after(first)).value == "raw/e/1"


def test_a_listing_without_what_is_compared_is_an_error(bucket: MemoryBucket):
    row = bucket.row
    bucket.row = lambda key, stored: re.sub("<ETag>.*</ETag>", "<ETag></ETag>", row(key, stored))
    assert source(bucket).observe().value == 4
    with pytest.raises(SourceError, match="an object has no ETag, and everything else is ignored"):
        source(bucket, ignore=("size", "last_modified")).observe()


def test_one_object_needs_a_key(bucket: MemoryBucket):
    watched = source(bucket, key="", check_mode="file_size")
    with pytest.raises(SourceError, match="watches one object, and `key` is empty"):
        watched.check()


def test_a_bucket_that_cannot_be_is_refused_without_asking(bucket: MemoryBucket):
    with pytest.raises(SourceError, match="names no S3 bucket"):
        S3Source(S3Data(bucket="http://x"), Path(), opener=lambda *_: bucket).check()
    assert bucket.requests == 0


def test_a_bucket_has_no_query_language(bucket: MemoryBucket):
    with pytest.raises(SourceError, match="can't run queries"):
        source(bucket).query("q", {})


def test_a_cancelled_source_stays_so(bucket: MemoryBucket):
    watched = source(bucket)
    watched.cancel()
    with pytest.raises(SourceError, match="told to stop"):
        watched.observe()
    assert bucket.requests == 0


def test_a_running_look_can_be_cancelled(bucket: MemoryBucket):
    watched = source(bucket)

    def hears(query: Query) -> Query:
        watched.cancel()
        return query

    bucket.hears = hears
    bucket.objects = {b"raw/%03d" % number: Stored() for number in range(100)}
    with pytest.raises(SourceError, match="told to stop"):
        watched.observe()
