"""The difference between two looks is what a comparison of all keys finds, however it is listed."""

import itertools
import re
import threading
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.errors import SourceError
from flowproject.sources.s3 import pages, scope
from flowproject.sources.s3.lister import Lister
from flowproject.sources.s3.pages import ListingPage
from flowproject.sources.s3.scope import Scope
from flowproject.sources.s3.work_queue import ListingOptions
from flowproject.tables.builder import Built
from tests.s3_pages import MemoryBucket, Query, Stored, amazon, seaweed
from tests.unit.sources.s3.bucketfuls import (
    MUTATIONS,
    SHAPES,
    Archive,
    Objects,
    brute_force,
    fill,
    in_scope,
    keys_of,
)

SCOPES = st.builds(
    Scope,
    bucket=st.just("lake"),
    prefix=st.sampled_from([b"", b"raw/", "ü/".encode()]),
    include=st.sampled_from([(), ("**/*0*",), ("*", "*/*1*")]),
    marker=st.sampled_from(["", "a"]),
    ignore=st.sampled_from([(), ("last_modified",), ("etag", "last_modified")]),
)
PACES = st.builds(
    ListingOptions,
    at_once=st.integers(1, 8),
    page_size=st.sampled_from([3, 7, 10]),
    span_rows=st.sampled_from([10, 20, 40]),
)
QUICK = ListingOptions(at_once=4, page_size=10, span_rows=20)
LAKE = Scope(bucket="lake", prefix=b"raw/")


def numbered(count: int) -> MemoryBucket:
    return MemoryBucket({b"raw/%06d" % number: Stored() for number in range(count)})


def look(
    bucket: MemoryBucket, past: Built | None = None, *, options: ListingOptions = QUICK
) -> Built:
    known = None if past is None else Archive().record(past)
    return Lister(bucket, LAKE, known, options=options).run()


@given(
    scope=SCOPES,
    shape=st.sampled_from(sorted(SHAPES)),
    row=st.sampled_from([amazon, seaweed]),
    count=st.sampled_from([0, 1, 30, 300]),
    option_sets=st.lists(PACES, min_size=4, max_size=4),
    mutations=st.lists(st.sampled_from(MUTATIONS), min_size=3, max_size=3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25)
def test_each_look_finds_exactly_what_happened(
    scope: Scope,
    shape: str,
    row: Callable[[str, Stored], str],
    count: int,
    option_sets: list[ListingOptions],
    mutations: list[Callable[[Objects, Random], object]],
    seed: int,
):
    chance, archive = Random(seed), Archive()
    bucket = MemoryBucket({b"ra": Stored(), b"raw2/x": Stored()}, row=row)
    fill(bucket, chance, scope.prefix, shape, count)
    past, before = None, {}
    for options, mutate in zip(option_sets, [*mutations, MUTATIONS[0]], strict=True):
        now, bucket.requests = in_scope(bucket.objects, scope), 0
        built = Lister(bucket, scope, past, options=options).run()
        assert keys_of(built.difference) == brute_force(before, now, scope)
        assert keys_of(built.difference)[0] | now.keys() == now.keys()
        assert len(built.items) == len(now)
        assert built.fingerprint == from_scratch(bucket, scope)
        assert bucket.requests <= most_requests(bucket, scope, options)
        past, before = archive.record(built), now
        mutate(bucket.objects, chance)


def from_scratch(bucket: MemoryBucket, scope: Scope) -> str:
    one_by_one = ListingOptions(at_once=1, page_size=1000)
    return Lister(MemoryBucket(bucket.objects), scope, options=one_by_one).run().fingerprint


def most_requests(bucket: MemoryBucket, scope: Scope, options: ListingOptions) -> float:
    """A page for so many keys, a twentieth more, and four for each worker."""
    listed = sum(key.startswith(scope.prefix) for key in bucket.objects)
    return listed / options.page_size * 1.05 + 4 * options.at_once + 2


def test_an_unchanged_look_reads_nothing_that_was_recorded():
    bucket = numbered(500)
    table = Archive().record(look(bucket))
    table.between = lambda *_: pytest.fail("the past was read")  # type: ignore[method-assign]
    again = Lister(bucket, LAKE, table, options=QUICK).run()
    assert not again.moved
    assert again.difference.counts == {"added": 0, "modified": 0, "removed": 0}


def test_a_small_prefix_takes_one_request():
    bucket = numbered(9)
    look(bucket)
    assert bucket.requests == 1


def test_a_large_one_is_listed_by_several_at_once():
    bucket = numbered(400)
    past = look(bucket)
    meeting = threading.Barrier(4, timeout=60)
    arrived: list[Query] = []

    class Meeting(MemoryBucket):
        def page(self, query: Query) -> ListingPage:  # the lock is taken afterwards only
            arrived.append(query)
            if len(arrived) <= 4:
                meeting.wait()
            return super().page(query)

    look(Meeting(bucket.objects), past)
    assert len(arrived) >= 40


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_first_look_finds_where_to_cut(shape: str):
    bucket = MemoryBucket()
    fill(bucket, Random(0), b"raw/", shape, 800)
    starts: set[str | bytes] = set()
    workers: set[str] = set()

    def hears(query: Query) -> Query:
        starts.add(query.get("start-after", b""))
        workers.add(threading.current_thread().name)
        return query

    bucket.hears = hears
    built = look(bucket)
    assert len(built.items) == len(in_scope(bucket.objects, LAKE))
    assert len(workers) > 1
    assert bucket.requests <= most_requests(bucket, LAKE, QUICK)


def test_spans_hold_about_as_many_keys_as_they_should():
    spans = look(numbered(1000)).items.manifest.spans
    assert max(span.listed for span in spans) <= 40
    assert len(spans) <= 1000 / 20 + 4


def test_a_prefix_that_doubles_is_cut_into_more_spans():
    bucket = numbered(200)
    past = look(bucket)
    bucket.objects |= {b"raw/~%06d" % number: Stored() for number in range(1000)}
    built = look(bucket, past)
    assert built.difference.counts == {"added": 1000, "modified": 0, "removed": 0}
    assert max(span.listed for span in built.items.manifest.spans) <= 60


def test_a_page_that_comes_twice_does_no_harm():
    bucket = numbered(200)
    heard: list[Query] = []

    def hears(query: Query) -> Query:
        heard.append(query)
        return heard[-2] if len(heard) % 7 == 0 else query

    bucket.hears = hears
    built = look(bucket, options=ListingOptions(at_once=1, page_size=10, span_rows=20))
    assert keys_of(built.difference)[0] == bucket.objects.keys()
    assert built.items.manifest.ordered


def test_pages_that_come_for_ever_are_an_error():
    bucket = numbered(200)
    bucket.hears = lambda query: {
        name: value
        for name, value in query.items()
        if name not in ("start-after", "continuation-token")
    }
    with pytest.raises(SourceError, match="has no end: the same page comes again and again"):
        look(bucket)


class OddBucket(MemoryBucket):
    """A bucket whose answers `answers` changes: it gets the query, and the body that was due."""

    answers: Callable[[Query, bytes], bytes] = staticmethod(lambda _, body: body)

    def _answer(self, query: Query) -> bytes:
        return self.answers(query, super()._answer(query))


def odd_bucket(
    answers: Callable[[Query, bytes], bytes],
    keys: list[bytes],
    order: Callable[[bytes], object] = bytes,
) -> OddBucket:
    bucket = OddBucket(dict.fromkeys(keys, Stored()), order=order)
    bucket.answers = answers
    return bucket


_TRUNCATED = "<IsTruncated>true</IsTruncated>"


def without_made_up_tokens(query: Query) -> Query:
    made_up = "none" in str(query.get("continuation-token", ""))
    return {name: it for name, it in query.items() if not made_up or name != "continuation-token"}


IN_ORDER = [b"raw/%06d" % number for number in range(40)]
BY_FOLDER = [b"raw/a/%06d" % number for number in range(20)] + [
    b"raw/a-%06d" % number for number in range(20)
]


@pytest.mark.parametrize("keys", [IN_ORDER, BY_FOLDER])
def test_the_first_page_once_more_as_the_last_is_refused(keys: list[bytes]):
    first = ""

    def answers(query: Query, body: bytes) -> bytes:
        nonlocal first
        if not ({"start-after", "continuation-token"} & query.keys()):
            first = body.decode()
            return body
        last = re.sub("<NextContinuationToken>.*</NextContinuationToken>", "", first)
        return last.replace("<IsTruncated>true", "<IsTruncated>false").encode()

    with pytest.raises(SourceError, match="the same page comes again and again"):
        look(odd_bucket(answers, keys, by_folder))


def test_a_page_that_was_meant_for_another_question_is_asked_for_again():
    tokens: list[object] = []

    def hears(query: Query) -> Query:
        token = query.get("continuation-token")
        tokens.append(token)
        # Each page of the listing in turn comes for the next question, too, the first time.
        return {**query, "continuation-token": tokens[-2]} if _is_second(tokens) else query

    def _is_second(asked: list[object]) -> bool:
        return len(asked) > 1 and bool(asked[-1]) and bool(asked[-2]) and asked[-1] != asked[-2]

    bucket = MemoryBucket(dict.fromkeys(BY_FOLDER, Stored()), order=by_folder)
    bucket.hears = hears
    assert keys_of(look(bucket).difference)[0] == set(BY_FOLDER)


@pytest.mark.parametrize("keys", [IN_ORDER, BY_FOLDER])
def test_pages_without_keys_that_never_end_are_refused(
    keys: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "_MOST_EMPTY", 50)
    numbers = itertools.count(1)

    def answers(_: Query, body: bytes) -> bytes:
        text = re.sub("<Contents>.*</Contents>|<NextC.*NextContinuationToken>", "", body.decode())
        token = f"<NextContinuationToken>none {next(numbers)}</NextContinuationToken>"
        return re.sub("<IsTruncated>.*</IsTruncated>", _TRUNCATED + token, text).encode()

    bucket = odd_bucket(answers, keys, by_folder)
    bucket.hears = without_made_up_tokens
    with pytest.raises(SourceError, match="has no end"):
        look(bucket)
    assert bucket.requests < 1000


def test_pages_without_keys_before_the_first_ones_are_passed_over():
    numbers = itertools.count(1)

    def answers(query: Query, body: bytes) -> bytes:
        if "start-after" in query or (number := next(numbers)) > 20:
            return body
        token = f"<NextContinuationToken>none {number}</NextContinuationToken>"
        text = re.sub("<Contents>.*</Contents>|<NextC.*NextContinuationToken>", "", body.decode())
        return re.sub("<IsTruncated>.*</IsTruncated>", _TRUNCATED + token, text).encode()

    bucket = odd_bucket(answers, IN_ORDER)
    bucket.hears = without_made_up_tokens
    assert keys_of(look(bucket).difference)[0] == set(IN_ORDER)


@pytest.mark.parametrize("order", [bytes, lambda key: key.split(b"/")], ids=["keys", "folders"])
@pytest.mark.parametrize("stray", [b"other/1", b"raw", b"zzz/1", b"raw-/1"])
def test_a_key_outside_of_the_prefix_is_refused_by_name(
    order: Callable[[bytes], object], stray: bytes
):
    bucket = MemoryBucket(dict.fromkeys([*BY_FOLDER, stray], Stored()), order=order)
    bucket.hears = lambda query: {**query, "prefix": b""}
    with pytest.raises(SourceError, match=rf"lists the object '{stray.decode()}', which is not"):
        look(bucket)


@pytest.mark.parametrize("key", ["raw/a%20b", "raw/a+b"])
def test_a_listing_that_does_not_say_whether_keys_are_encoded_is_refused_if_that_matters(key: str):
    def answers(_: Query, body: bytes) -> bytes:
        text = body.decode().replace("<EncodingType>url</EncodingType>", "")
        return text.replace("raw/ambiguous", key).encode()

    bucket = odd_bucket(answers, [b"raw/plain"])
    assert keys_of(look(bucket).difference)[0] == {b"raw/plain"}
    bucket.objects[b"raw/ambiguous"] = Stored()
    with pytest.raises(SourceError, match=rf"whether its keys are encoded.*'{re.escape(key)}'"):
        look(bucket)


def by_folder(key: bytes) -> list[bytes]:
    """The order of seaweedfs, which lists folders among files: `a/b` comes before `a-b`."""
    return key.split(b"/")


@given(seed=st.integers(0, 2**32), options=PACES)
@settings(max_examples=20)
def test_a_server_with_an_order_of_its_own_is_listed_right(seed: int, options: ListingOptions):
    chance = Random(seed)
    bucket = MemoryBucket(order=by_folder)
    past, before, archive = None, {}, Archive()
    for _ in range(3):
        for _ in range(60):
            key = "/".join(chance.choice(["a", "a-", "a.b", "b", "b c"]) for _ in range(3))
            bucket.objects[b"raw/" + key.encode()] = Stored(generation=chance.randrange(99))
        built = Lister(bucket, LAKE, past, options=options).run()
        assert keys_of(built.difference) == brute_force(before, bucket.objects, LAKE)
        past, before = archive.record(built), dict(bucket.objects)


def test_a_key_that_two_workers_would_both_miss_is_found():
    # To the server raw/x/1 comes before raw/x-5, where one worker ends and the next one begins.
    names = [b"raw/%02d" % number for number in range(20)] + [b"raw/x-5"]
    names += [b"raw/y%02d" % number for number in range(40)]
    bucket = MemoryBucket(dict.fromkeys(names, Stored()), order=by_folder)
    options = ListingOptions(at_once=2, page_size=21, span_rows=21)
    past = look(bucket, options=ListingOptions(at_once=1, page_size=21, span_rows=21))
    del bucket.objects[b"raw/x-5"]
    bucket.objects[b"raw/x/1"] = Stored()
    built = look(bucket, past, options=options)
    assert keys_of(built.difference) == ({b"raw/x/1"}, set(), {b"raw/x-5"})


def test_what_was_not_in_order_is_listed_in_turn_next_time():
    bucket = MemoryBucket(dict.fromkeys([b"raw/a/b", b"raw/a-b"], Stored()), order=by_folder)
    built = look(bucket)
    assert not built.items.manifest.ordered
    bucket.requests = 0
    assert not look(bucket, built).moved
    assert bucket.requests == 1


def test_a_server_that_does_not_know_where_to_start_is_listed_in_turn():
    bucket = numbered(100)
    bucket.hears = lambda query: {
        name: value for name, value in query.items() if name != "start-after"
    }
    built = look(bucket)
    assert keys_of(built.difference)[0] == bucket.objects.keys()
    assert not built.items.manifest.ordered


@given(seed=st.integers(0, 2**32), options=PACES, shape=st.sampled_from(sorted(SHAPES)))
@settings(max_examples=20)
def test_objects_that_change_meanwhile_are_right_the_next_time(
    seed: int, options: ListingOptions, shape: str
):
    chance, archive = Random(seed), Archive()
    bucket = MemoryBucket()
    fill(bucket, chance, b"raw/", shape, 200)
    past = archive.record(Lister(bucket, LAKE, options=options).run())

    def hears(query: Query) -> Query:
        fill(bucket, chance, b"raw/", shape, 3)
        for key in chance.sample(sorted(bucket.objects), 3):
            del bucket.objects[key]
        return query

    bucket.hears = hears
    meanwhile = Lister(bucket, LAKE, past, options=options).run()
    bucket.hears = lambda query: query
    seen = archive.record(meanwhile)
    before = {item.key.encode(): item for item in seen.values()}
    built = Lister(bucket, LAKE, seen, options=options).run()
    added, _, removed = keys_of(built.difference)
    there = in_scope(bucket.objects, LAKE)
    assert (added, removed) == (
        there.keys() - before.keys(),
        before.keys() - there.keys(),
    )
    assert built.fingerprint == from_scratch(bucket, LAKE)


def test_an_error_of_one_worker_ends_all_and_is_told():
    bucket = numbered(1000)
    past = look(bucket)

    def hears(query: Query) -> Query:
        if query.get("start-after", b"") > b"raw/0005":
            raise SourceError("no access to the upper half")
        return query

    bucket.hears = hears
    with pytest.raises(SourceError, match="no access to the upper half"):
        look(bucket, past)
    assert bucket.cancelled


def test_a_cancelled_look_ends():
    bucket = numbered(1000)

    def hears(query: Query) -> Query:
        bucket.cancelled = bucket.requests > 20
        return query

    bucket.hears = hears
    with pytest.raises(SourceError, match="told to stop"):
        look(bucket)
    assert bucket.requests <= 21


def test_rows_that_make_no_sense_are_an_error():
    bucket = numbered(5)
    bucket.row = lambda key, _: f"<Contents><Key>{key}</Key><Size>many</Size></Contents>"
    with pytest.raises(SourceError, match="The server's list of objects can't be read"):
        look(bucket)


def test_another_view_compares_everything_and_finds_only_what_changed():
    bucket = numbered(300)
    past = Archive().record(look(bucket))
    bucket.objects[b"raw/000100"] = Stored(generation=5)
    scope = Scope(bucket="lake", prefix=b"raw/", include=("*",))
    built = Lister(bucket, scope, past, options=QUICK).run()
    assert keys_of(built.difference) == (set(), {b"raw/000100"}, set())


def test_another_prefix_removes_everything_below_the_old_one():
    bucket = numbered(50)
    bucket.objects[b"new/1"] = Stored()
    past = Archive().record(look(bucket))
    built = Lister(bucket, Scope(bucket="lake", prefix=b"new/"), past, options=QUICK).run()
    assert built.difference.counts == {"added": 1, "modified": 0, "removed": 50}


def test_progress_is_told_in_keys():
    lister = Lister(numbered(300), LAKE, options=QUICK)
    assert lister.seen == 0
    lister.run()
    assert lister.seen == 300


def test_a_folder_that_a_version_before_watched_is_not_told_as_removed(
    monkeypatch: pytest.MonkeyPatch,
):
    bucket = numbered(40)
    bucket.objects[b"raw/000020/"] = Stored(size=0)
    with monkeypatch.context() as before_that_was_left_out:
        before_that_was_left_out.setattr(scope, "is_folder", lambda *_: False)
        known = look(bucket)
    assert known.items.manifest.count == 41
    assert not any(look(bucket, known).difference.counts.values())
    bucket.objects[b"raw/000020.more"] = Stored()  # in the page of which the folder was
    del bucket.objects[b"raw/000021"]
    after = look(bucket, known)
    assert after.difference.counts == {"added": 1, "modified": 0, "removed": 1}
    assert [item.key for item in after.difference.removed] == ["raw/000021"]
    assert b"raw/000020/" not in {
        key for table in after.items.tables() for key in table["key"].to_pylist()
    }
    assert after.fingerprint == look(bucket).fingerprint
