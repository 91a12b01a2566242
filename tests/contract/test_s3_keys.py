"""Every key that an S3 server can hold is seen as boto3 sees it, on servers of four makers.

The truth is boto3's own listing of the same server. What a server refuses or renames when an
object is put there is that server's business: each is held to the share of keys that it has.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, diff
from flowproject.changes.observation import Observation
from flowproject.config.data import S3Data
from flowproject.errors import SourceError
from flowproject.sources import open_source
from flowproject.sources.s3 import source
from flowproject.sources.s3.work_queue import ListingOptions
from tests.observations import remembered, table
from tests.proxy import Proxy, proxied
from tests.servers import Moto, S3Server

KEYS: Final = [
    *("plain", "with space", " leading space", "trailing space ", "two  spaces"),
    *("plus+plus", "50%", "%41", "%2F", "a%20b", "%", "%zz", "a=b&c=d", "?q=1", "#frag"),
    *("é", "e\u0301", "日本", "\N{PARTY POPPER}", "\N{GRINNING FACE}/x", "\u200b", "\ufeffmark"),
    *("\u2028line", "\x85next", "\uffff", "x" * 1024, "é" * 512),
    *("a//b", "//", "a/", "dir", "dir/", "dir/file", "/leading", "//twice"),
    *("./x", "../y", "a/./b", "a/../b", ".", "..", "..."),
    *('quo"te', "it's", "<&>", "&amp;", "&#10;", "</Key>", "</Contents>", "]]>", "back\\slash"),
    *("tab\there", "new\nline", "cr\rline", "crlf\r\n", "bell\x07", "start\x01", "del\x7f"),
    *("raw", "raw/x", "raw/y/z", "raw2/x", "raw-x", "raw0", "*", "[a]", "a,b", "a;b", "~", "@:"),
]
HELD: Final = {
    "moto": len(KEYS) - 2,  # no line feeds
    "ministack": len(KEYS),
    "rclone": 50,  # keys are paths of files
    "weed": 50,  # paths are cleaned, and long names refused
}
Truth = dict[str, tuple[int, str, str]]


class Filled:
    """A bucket with every key that its server takes, and what boto3 says of it."""

    def __init__(self, server: S3Server, keys: Iterable[str] = KEYS) -> None:
        self.server = server
        self.client = server.client()
        self.bucket = server.bucket()
        for key in filter(_is_path, keys) if server.name == "rclone" else keys:
            self.put(key, "1")

    def put(self, key: str, content: str) -> None:
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=content.encode())
        except ClientError:
            assert self.server.name != "ministack"

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def truth(self, prefix: str = "") -> Truth:
        """Every key with its size, ETag and time, as boto3 lists it, except for empty folders."""
        paginator = self.client.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=self.bucket, Prefix=prefix)
        return {
            entry["Key"]: (
                entry["Size"],
                entry["ETag"].strip('"'),
                entry["LastModified"].strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"),
            )
            for page in pages
            for entry in page.get("Contents", [])
            if entry["Size"] or not entry["Key"].endswith("/")
        }

    def look(
        self, key: str = "", past: Observation | None = None, *, through: Proxy | None = None
    ) -> Observation:
        """What our source sees below `key`."""
        data = S3Data(
            bucket=self.bucket,
            key=key,
            endpoint_url=through.endpoint_url if through else self.server.endpoint_url,
        )
        return open_source(data, Path()).observe(remembered(past) if past else None)


def _is_path(key: str) -> bool:
    """Whether a file can have this path; rclone thinks about any other for a second."""
    return not {"", ".", ".."} & set(key.split("/")) and key not in ("raw", "dir")


@pytest.fixture(scope="module")
def filled(server: S3Server) -> Filled:
    """One bucket for all tests that only read."""
    return Filled(server)


STATES: Final = st.dictionaries(
    st.text(st.sampled_from("ab/+% é\N{FIRE}"), min_size=1, max_size=4).map("k{}".format),
    st.sampled_from("123"),
    max_size=30,
)
PACES: Final = {
    "one after the other": ListingOptions(at_once=1, page_size=7, span_rows=10),
    "many at once": ListingOptions(at_once=8, page_size=7, span_rows=10),
}


@pytest.fixture(params=PACES)
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ListingOptions:
    """Seven keys on a page and ten to a span, so that even these few are many of both."""
    chosen = PACES[request.param]
    monkeypatch.setattr(source, "ListingOptions", lambda: chosen)
    return chosen


def told(seen: Observation) -> Truth:
    """What our source says, in the form of `Filled.truth`."""
    rows = [item.data for item in table(seen).values()]
    return {row["key"]: (row["size"], row["etag"], row["modified"]) for row in rows}


def test_each_server_holds_its_share_of_the_keys(filled: Filled):
    held = filled.truth().keys() & set(KEYS)
    assert len(held) >= HELD[filled.server.name], sorted(set(KEYS) - held)


def test_every_key_is_seen_as_boto3_lists_it(filled: Filled):
    seen = filled.look()
    assert told(seen) == filled.truth()
    assert seen.value == len(filled.truth())


def test_many_short_pages_say_the_same_as_boto3(filled: Filled, options: ListingOptions):
    seen = filled.look()
    assert told(seen) == filled.truth()
    assert seen.cost.requests >= options.pages(len(filled.truth()))


@pytest.mark.usefixtures("options")
def test_what_stays_the_same_stays_the_same(filled: Filled):
    before = filled.look()
    after = filled.look(past=before)
    assert after.fingerprint == before.fingerprint
    assert told(after) == told(before)
    assert (after.difference or Difference()).counts == {"added": 0, "modified": 0, "removed": 0}


@pytest.mark.usefixtures("options")
def test_a_change_of_any_key_is_that_change(server: S3Server):
    filled = Filled(server)
    before = filled.look()
    keys = sorted(filled.truth())
    random.Random(7).shuffle(keys)
    for key in keys[:9]:
        filled.delete(key)
    for key in keys[9:18]:
        filled.put(key, "2")
    for key in keys[18:27]:
        filled.put(f"{key[:99]}~new", "1")
    after = filled.look(past=before)
    expected = diff(table(before), table(after))
    assert told(after) == filled.truth()
    assert all(expected.counts.values())
    assert (after.difference or expected).first(999) == expected


@pytest.mark.parametrize("chosen", PACES)
@settings(max_examples=4, deadline=None)
@given(states=st.lists(STATES, min_size=2, max_size=4))
def test_whatever_happens_is_what_boto3_says_happened(
    moto: Moto, chosen: str, states: list[dict[str, str]]
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "ListingOptions", lambda: PACES[chosen])
        filled = Filled(moto, keys=())
        before, seen = filled.truth(), filled.look()
        for state in states:
            for key in before.keys() - state.keys():
                filled.delete(key)
            for key, content in state.items():
                filled.put(key, content)
            after, seen = filled.truth(), filled.look(past=seen)
            assert told(seen) == after
            assert seen.difference is not None
            difference = {
                "added": [item.key for item in seen.difference.added],
                "modified": [new.key for _, new in seen.difference.modified],
                "removed": [item.key for item in seen.difference.removed],
            }
            assert difference == _brute_force(before, after)
            before = after


def _brute_force(before: Truth, after: Truth) -> dict[str, list[str]]:
    """What happened to which keys, in the order of their bytes."""
    kept = before.keys() & after.keys()
    found = {
        "added": after.keys() - before.keys(),
        "modified": {key for key in kept if before[key] != after[key]},
        "removed": before.keys() - after.keys(),
    }
    return {kind: sorted(keys, key=str.encode) for kind, keys in found.items()}


@pytest.mark.parametrize("name", ["moto", "ministack", "rclone"])
def test_only_new_keys_are_told_of_in_the_order_of_their_bytes(
    name: str, request: pytest.FixtureRequest
):
    server: S3Server = request.getfixturevalue(name)
    filled = Filled(server)
    data = S3Data(bucket=filled.bucket, check_mode="files_new", endpoint_url=server.endpoint_url)
    first = open_source(data, Path()).observe()
    assert first.value == max(filled.truth(), key=str.encode)
    filled.put("earlier", "1")
    new = ["\N{ROCKET}a", "\N{ROCKET}b+c", "\N{ROCKET}é"]
    for key in new:
        filled.put(key, "1")
    second = open_source(data, Path()).observe(remembered(first))
    assert second.value == new[-1]
    assert second.difference is not None
    assert [item.key for item in second.difference.added] == new
    third = open_source(data, Path()).observe(remembered(second))
    assert (third.value, third.fingerprint) == (second.value, second.fingerprint)


def test_a_server_without_order_has_no_last_key_and_that_is_an_error(weed: S3Server):
    filled = Filled(weed, [f"{folder}{n}" for folder in ("raw/", "raw-") for n in range(9)])
    data = S3Data(bucket=filled.bucket, check_mode="files_new", endpoint_url=weed.endpoint_url)
    with pytest.raises(SourceError, match="order"):
        open_source(data, Path()).observe()


def test_a_server_that_turns_out_to_have_no_order_has_nothing_new_but_an_error(weed: S3Server):
    filled = Filled(weed, [f"raw/{n}" for n in range(9)])
    data = S3Data(bucket=filled.bucket, check_mode="files_new", endpoint_url=weed.endpoint_url)
    first = open_source(data, Path()).observe()
    filled.put("raw-1", "1")
    with pytest.raises(SourceError, match="order"):
        open_source(data, Path()).observe(remembered(first))


def test_a_server_may_put_fewer_keys_on_a_page_than_it_was_asked_for(moto: Moto):
    filled = Filled(moto)
    with proxied(moto.endpoint_url) as proxy:
        proxy.page_size = 7
        before = filled.look(through=proxy)
        after = filled.look(past=before, through=proxy)
        assert len(proxy.pages) > 2 * len(KEYS) / 7 - 2
    assert told(before) == told(after) == filled.truth()
    assert after.fingerprint == before.fingerprint == filled.look().fingerprint


@pytest.mark.parametrize("key", ["raw", "raw/", "dir", "a", "a/", "é", "\N{GRINNING FACE}", "no"])
def test_a_folder_is_what_lies_below_it_and_nothing_beside_it(filled: Filled, key: str):
    prefix = f"{key.rstrip('/')}/"
    below = {key: said for key, said in filled.truth().items() if key.startswith(prefix)}
    assert told(filled.look(key)) == filled.truth(prefix) == below


def test_a_folder_may_begin_with_a_slash(filled: Filled):
    if any(not key.startswith("/") for key in filled.truth("/")):
        assert filled.server.name == "rclone"  # it takes such a prefix for none at all
        with pytest.raises(SourceError, match="which is not below '/'"):
            filled.look("/")
        return
    assert told(filled.look("/")) == filled.truth("/")


@pytest.mark.parametrize(
    "key",
    [
        *("a//b", "/leading", "dir/", "a/../b", "..", "%41", "plus+plus", "new\nline", "?q=1"),
        *("#frag", "<&>", "e\u0301", "x" * 1024),
    ],
)
def test_an_odd_key_can_be_watched_alone(filled: Filled, key: str):
    truth = filled.truth()
    if key not in truth:
        assert filled.server.name != "ministack"
        return
    data = S3Data(
        bucket=filled.bucket,
        key=key,
        check_mode="file_etag",
        endpoint_url=filled.server.endpoint_url,
    )
    seen = open_source(data, Path()).observe()
    assert seen.value == truth[key][1]
    assert list(table(seen)) == [key]


def test_what_only_stands_for_a_folder_is_no_object(server: S3Server):
    filled = Filled(server, ["raw/a"])
    before = filled.look("raw")
    for key in ("raw/e/", "raw/f_$folder$"):
        if server.name != "rclone" or _is_path(key):  # it makes an empty file of another one
            filled.client.put_object(Bucket=filled.bucket, Key=key, Body=b"")
    seen = filled.look("raw", before)
    assert (seen.value, seen.fingerprint) == (before.value, before.fingerprint)
    assert told(seen) == told(before)


@pytest.mark.usefixtures("options")
@pytest.mark.parametrize("early, late", [("raw-", "raw/"), ("raw/", "raw-"), ("b/", "b!/")])
def test_a_server_that_turns_out_to_have_no_order_is_seen_whole(
    weed: S3Server, early: str, late: str
):
    filled = Filled(weed, [f"{early}{n:02}" for n in range(30)])
    before = filled.look()
    for n in range(30):
        filled.put(f"{late}{n:02}", "1")
    after = filled.look(past=before)
    assert told(after) == filled.truth()
    assert after.difference is not None
    assert after.difference.counts == {"added": 30, "modified": 0, "removed": 0}
