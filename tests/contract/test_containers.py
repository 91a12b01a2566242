"""Azure Blob Storage and Google Cloud Storage as sources, on real servers of both."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowproject import sensing
from flowproject.changes.difference import Item
from flowproject.changes.observation import Observation, Past
from flowproject.config import Project, Schedule, Sensor
from flowproject.errors import SourceError
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext
from flowproject.sources import Source, clouds, open_source, read_item
from flowproject.sources.containers import container as container_module
from flowproject.tables.table import ObjectTable
from tests.containers import Azurite, Store
from tests.proxy import HANG, Answer, Asked, Proxy, proxied
from tests.waiting import hold_for_too_long

SECONDS = 60.0
LEGAL = [
    *("plain", "with space", " space", "space ", "a,b", "a+b", "a..b", "end.", "x/ y/z"),
    *("é", "e\u0301", "日本", "😀", "\u00a0", "\u2028", 'quo"te', "it's", "&amp;", "<>"),
    *("50%", "a%20b", "%2F", "*", "[a]", "{b}", "~", "#", "?x=1", "k/" * 200 + "x"),
]
ILLEGAL = ["/a", "//a", "a/", "a//b", "a/b//", "./a", "a/./b", "a/../b", "..", ".", "t\tx", "n\nx"]


@pytest.fixture(scope="session", params=["azurite", "fake_gcs"])
def store(request: pytest.FixtureRequest) -> Store:
    return cast("Store", request.getfixturevalue(request.param))


@pytest.fixture
def container(store: Store) -> str:
    return store.container()


@pytest.fixture
def proxy(store: Store) -> Iterator[Proxy]:
    with proxied(store.endpoint_url) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
    monkeypatch.setattr(clouds, "RETRIES", retries)


def source(store: Store, container: str, proxy: Proxy | None = None, **keys: Any) -> Source:
    if proxy:
        path = store.endpoint_url.partition("://")[2].partition("/")[2]
        keys["endpoint_url"] = f"{proxy.endpoint_url}/{path}".rstrip("/")
    return open_source(store.data(container, **keys), Path("/"))


def look(store: Store, container: str, past: Past | None = None, **keys: Any) -> Observation:
    return source(store, container, **keys).observe(past)


def known(seen: Observation) -> Past:
    """What a journal would tell the next look."""
    items = seen.items
    recorded = items.recorded("first") if isinstance(items, ObjectTable) else items
    return Past(seen.value, lambda: recorded)


def table(seen: Observation) -> dict[str, Item]:
    return {item.key: item for item in seen.items.values()} if seen.items else {}


def moved(seen: Observation) -> dict[str, list[str]]:
    """The keys that were added, modified and removed."""
    assert seen.difference is not None
    return {
        "added": [item.key for item in seen.difference.added],
        "modified": [new.key for _, new in seen.difference.modified],
        "removed": [item.key for item in seen.difference.removed],
    }


def put(store: Store, container: str, *keys: str) -> None:
    for key in keys:
        store.put(container, key)


# --------------------------------------------------------------------------------- the table


def test_a_folder_is_watched_at_every_depth_and_is_no_start_of_a_name(store: Store, container: str):
    put(store, container, "raw/a", "raw/b/c", "raw", "raw2/a", "rawer", "a/raw/b")
    seen = look(store, container, key="raw")
    assert table(seen).keys() == {"raw/a", "raw/b/c"}
    assert seen.value == seen.cost.rows == 2
    assert look(store, container, key="raw/").fingerprint == seen.fingerprint


def test_without_a_key_the_whole_container_is_watched(store: Store, container: str):
    put(store, container, "a", "b/c")
    assert table(look(store, container)).keys() == {"a", "b/c"}


def test_the_container_may_be_written_as_an_address_with_a_path(store: Store, container: str):
    put(store, container, "in/raw/a", "in/b", "c")
    scheme = "az" if isinstance(store, Azurite) else "gs"
    assert table(look(store, f"{scheme}://{container}/in", key="raw")).keys() == {"in/raw/a"}
    assert table(look(store, f"{container}/in/")).keys() == {"in/raw/a", "in/b"}


def test_an_object_is_told_with_its_size_its_etag_and_its_time(store: Store, container: str):
    store.put(container, "a", b"12345")
    data = table(look(store, container))["a"].data
    assert data == {"key": "a", "size": 5, "etag": data["etag"], "modified": data["modified"]}
    assert data["etag"]
    assert '"' not in str(data["etag"])
    assert str(data["modified"]).endswith(".000000+00:00")


def test_what_was_added_overwritten_and_removed_is_said_exactly(store: Store, container: str):
    put(store, container, "stays", "changes", "goes")
    past = known(look(store, container))
    put(store, container, "comes")
    store.put(container, "changes", b"CONTENT")  # of the same size
    store.delete(container, "goes")
    seen = look(store, container, past)
    assert moved(seen) == {"added": ["comes"], "modified": ["changes"], "removed": ["goes"]}
    assert seen.fingerprint == look(store, container).fingerprint


def test_a_second_look_at_the_same_objects_finds_no_difference(store: Store, container: str):
    put(store, container, "a", "b/c")
    before = look(store, container)
    after = look(store, container, known(before))
    assert moved(after) == {"added": [], "modified": [], "removed": []}
    assert after.fingerprint == before.fingerprint


def test_an_empty_container_is_a_state_like_any_other(store: Store, container: str):
    empty = look(store, container)
    assert (empty.value, table(empty)) == (0, {})
    put(store, container, "a")
    filled = look(store, container, known(empty))
    assert moved(filled)["added"] == ["a"]
    store.delete(container, "a")
    assert look(store, container, known(filled)).fingerprint == empty.fingerprint


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.sets(st.sampled_from("abcdefgh")),
    after=st.dictionaries(st.sampled_from("abcdefgh"), st.booleans()),
)
def test_whatever_happens_the_difference_says_it(
    store: Store, before: set[str], after: dict[str, bool]
):
    container = store.container()
    put(store, container, *before)
    past = known(look(store, container))
    for key in before - after.keys():
        store.delete(container, key)
    for key in {key for key, is_new in after.items() if is_new or key not in before}:
        store.put(container, key, b"other content")
    assert moved(look(store, container, past)) == {
        "added": sorted(after.keys() - before),
        "modified": sorted(key for key, is_new in after.items() if is_new and key in before),
        "removed": sorted(before - after.keys()),
    }


def test_include_looks_at_the_path_below_the_key_and_markers_are_always_seen(
    store: Store, container: str
):
    put(store, container, "raw/a.csv", "raw/b/c.csv", "raw/b/_SUCCESS", "raw/d.json")
    top = look(store, container, key="raw", include=("*.csv",))
    assert table(top).keys() == {"raw/a.csv"}
    deep = look(store, container, key="raw", include=("**/*.csv",), marker="_SUCCESS")
    assert table(deep).keys() == {"raw/a.csv", "raw/b/c.csv", "raw/b/_SUCCESS"}


def test_what_is_ignored_makes_no_difference(store: Store, container: str):
    store.put(container, "same size", b"123")
    store.put(container, "other size", b"123")
    ignore = ("etag", "last_modified")
    past = known(look(store, container, ignore=ignore))
    store.put(container, "same size", b"456")
    store.put(container, "other size", b"4567")
    assert moved(look(store, container, past, ignore=ignore))["modified"] == ["other size"]


def test_a_listing_of_many_pages_is_seen_whole(azurite: Azurite, monkeypatch: pytest.MonkeyPatch):
    # Without a signature, which would cover it, the size of a page can be set on the way.
    container = azurite.public_container()
    put(azurite, container, *(f"many/{number}" for number in range(11)))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
    with proxied(azurite.endpoint_url) as proxy:
        proxy.plan = lambda asked, _: proxy._forward(
            replace(asked, target=f"{asked.target}&maxresults=4")
        )
        watching = source(azurite, container, proxy)
        assert watching.observe().value == 11
        assert [bool(asked.query.get("marker")) for asked in proxy.asked[:3]] == [False, True, True]
    progress = watching.progress()
    assert progress is not None
    assert progress.seen == 11


def test_nothing_is_downloaded(store: Store, container: str, proxy: Proxy):
    put(store, container, "a", "b/c")
    source(store, container, proxy).observe()
    source(store, container, proxy, key="a", check_mode="file_etag").observe()
    assert not any(asked.method == "GET" and asked.target.endswith("/a") for asked in proxy.asked)


# ------------------------------------------------------------------------------- one object


def test_one_object_is_asked_for_once(store: Store, container: str, proxy: Proxy):
    store.put(container, "some/object", b"12345")
    seen = source(store, container, proxy, key="some/object", check_mode="file_size").observe()
    assert seen.value == 5
    assert [asked.method for asked in proxy.asked] == ["HEAD"]
    assert (seen.cost.requests, seen.cost.rows) == (1, 1)


@pytest.mark.parametrize("mode", ["file_size", "file_etag", "file_modified_ts"])
def test_an_object_appears_changes_and_disappears(store: Store, container: str, mode: str):
    def now() -> Observation:
        return look(store, container, key="a", check_mode=mode)

    missing = now()
    assert (missing.value, missing.items) == (None, {})
    store.put(container, "a", b"12345")
    there = now()
    assert (
        there.value
        == table(there)["a"].data[
            {"file_size": "size", "file_etag": "etag", "file_modified_ts": "modified"}[mode]
        ]
    )
    assert len({missing.fingerprint, there.fingerprint}) == 2
    store.delete(container, "a")
    assert now().fingerprint == missing.fingerprint


def test_one_object_looks_the_same_alone_and_in_the_table(store: Store, container: str):
    put(store, container, "a")
    alone = look(store, container, key="a", check_mode="file_etag")
    assert table(alone)["a"].data == table(look(store, container))["a"].data


def test_a_folder_is_not_one_object(store: Store, container: str):
    for key in ("", "raw/"):
        with pytest.raises(SourceError, match="watches one object.*files_metadata"):
            source(store, container, key=key, check_mode="file_size").check()


# ---------------------------------------------------------------------------- what is new


def test_the_first_look_for_new_objects_finds_the_last_key_and_fires_nothing(
    store: Store, container: str
):
    put(store, container, "in/2025/1", "in/2025/9", "in/2026/1/b", "in/2026/1-a", "in/2026-x", "z")
    first = look(store, container, key="in", check_mode="files_new")
    assert (first.value, first.items, first.difference) == ("in/2026/1/b", None, None)


def test_a_folder_without_objects_has_no_last_key(store: Store, container: str):
    put(store, container, "elsewhere/a")
    first = look(store, container, key="in", check_mode="files_new")
    assert first.value == ""
    put(store, container, "in/a")
    second = look(store, container, known(first), key="in", check_mode="files_new")
    assert (second.value, moved(second)["added"]) == ("in/a", ["in/a"])


def test_only_what_comes_after_the_last_key_is_new(store: Store, container: str):
    put(store, container, "in/1", "in/5")
    first = look(store, container, key="in", check_mode="files_new")
    store.put(container, "in/5", b"overwritten")
    put(store, container, "in/3", "in/6", "in/7/x", "out/9")
    second = look(store, container, known(first), key="in", check_mode="files_new")
    assert moved(second)["added"] == ["in/6", "in/7/x"]
    assert second.value == "in/7/x"
    assert second.items is None


def test_nothing_new_is_the_same_state(store: Store, container: str):
    put(store, container, "in/1")
    first = look(store, container, key="in", check_mode="files_new")
    second = look(store, container, known(first), key="in", check_mode="files_new")
    assert (second.value, second.fingerprint) == (first.value, first.fingerprint)
    assert moved(second)["added"] == []


def test_new_objects_that_are_not_watched_do_not_count(store: Store, container: str):
    put(store, container, "1.csv", "2.txt")
    keys: dict[str, Any] = {"include": ("*.csv",), "check_mode": "files_new"}
    first = look(store, container, **keys)
    assert first.value == "1.csv"
    put(store, container, "3.txt")
    assert look(store, container, known(first), **keys).fingerprint == first.fingerprint
    put(store, container, "4.csv")
    assert moved(look(store, container, known(first), **keys))["added"] == ["4.csv"]


def test_the_server_is_asked_to_begin_behind_the_last_key(
    store: Store, container: str, proxy: Proxy
):
    put(store, container, "in/1", "in/2")
    watching = source(store, container, proxy, key="in", check_mode="files_new")
    watching.observe(Past("in/1", lambda: None))
    [asked] = [asked for asked in proxy.asked if len(asked.query) > 1][:1]
    parameter = "startFrom" if isinstance(store, Azurite) else "start-after"
    assert asked.query[parameter] == "in/1"


# -------------------------------------------------------------------------------- odd keys


def test_odd_keys_are_kept_apart_and_as_they_are(store: Store, container: str):
    put(store, container, *LEGAL)
    assert table(look(store, container)).keys() == set(LEGAL)


@pytest.mark.parametrize("key", LEGAL)
def test_an_odd_key_can_be_watched_alone_and_as_a_folder(store: Store, container: str, key: str):
    put(store, container, key, f"{key}x/b")
    assert table(look(store, container, key=key, check_mode="file_size")).keys() == {key}
    assert table(look(store, container, key=f"{key}x")).keys() == {f"{key}x/b"}


@pytest.mark.parametrize("key", ILLEGAL)
def test_a_key_that_obstore_changes_or_refuses_is_an_error_and_never_left_out(
    store: Store, container: str, key: str
):
    put(store, container, "a thing", "zz", key)
    with pytest.raises(SourceError, match="can't be listed exactly"):
        look(store, container)


@pytest.mark.parametrize("beside", [1, 20], ids=["looked-up-alone", "looked-up-by-folder"])
@pytest.mark.parametrize("key", ["in/dir/", "in/sub/deep/"])
def test_a_slash_at_the_end_is_found_however_many_objects_arrive(
    store: Store, container: str, key: str, beside: int
):
    folder = key.removesuffix("/").rpartition("/")[0]
    put(store, container, *(f"{folder}/{number}" for number in range(beside)))
    past = known(look(store, container, key="in"))
    put(store, container, *(f"{folder}/new {number}" for number in range(beside)), key)
    with pytest.raises(SourceError, match="can't be listed exactly"):
        look(store, container, past, key="in")


def test_an_object_and_its_namesake_with_a_slash_are_never_taken_for_one(
    store: Store, container: str
):
    put(store, container, "in/dir", "in/dir-x")
    past = known(look(store, container, key="in"))
    put(store, container, "in/dir/")
    with pytest.raises(SourceError, match=r"can't be listed exactly.*'in/dir'"):
        look(store, container, past, key="in")


@pytest.mark.parametrize("last", ["in/dir", "in/dir-x"])
@pytest.mark.parametrize("new", ["in/dir/", "in/dir/y/"])
def test_a_new_key_with_a_slash_at_the_end_is_found_behind_the_last_key_too(
    store: Store, container: str, last: str, new: str
):
    put(store, container, "in/a", last)
    first = look(store, container, key="in", check_mode="files_new")
    assert first.value == last
    put(store, container, new)
    with pytest.raises(SourceError, match="can't be listed exactly"):
        look(store, container, known(first), key="in", check_mode="files_new")


def test_the_placeholder_of_the_watched_folder_itself_is_not_in_it(store: Store, container: str):
    put(store, container, "raw/", "raw/a")
    assert table(look(store, container, key="raw")).keys() == {"raw/a"}


def test_a_placeholder_that_include_leaves_out_does_no_harm(store: Store, container: str):
    put(store, container, "raw/a.csv", "raw/empty/")
    assert table(look(store, container, include=("**/*.csv",))).keys() == {"raw/a.csv"}


@pytest.mark.parametrize("mode", ["files_metadata", "files_new"])
def test_what_only_stands_for_a_folder_is_no_object(store: Store, container: str, mode: str):
    put(store, container, "raw/a", "raw/b/1")
    first = look(store, container, key="raw", check_mode=mode)
    for key in ("raw/e/", "raw/b/", "raw/e/deep/", "raw/f_$folder$"):
        store.put(container, key, b"")
    seen = look(store, container, known(first), key="raw", check_mode=mode)
    assert (seen.value, seen.fingerprint) == (first.value, first.fingerprint)
    assert not any(moved(seen).values())
    again = look(store, container, replace_memo(known(first), seen), key="raw", check_mode=mode)
    assert (again.value, again.fingerprint) == (first.value, first.fingerprint)
    store.put(container, "raw/h", b"")
    put(store, container, "raw/e/1")
    seen = look(store, container, replace_memo(known(first), seen), key="raw", check_mode=mode)
    assert moved(seen)["added"] == ["raw/e/1", "raw/h"]


def replace_memo(past: Past, seen: Observation) -> Past:
    """The same past, after the journal kept what an unchanged look noted."""
    return Past(past.value, lambda: past.items, load_memo=lambda: seen.memo)


def test_a_directory_of_a_hierarchical_namespace_is_no_object(azurite: Azurite):
    """As Azure tells of one: Azurite has no such accounts."""
    container = azurite.container()
    put(azurite, container, "raw/a")
    azurite.put(container, "raw/e", b"")

    def plan(_: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        before, name, after = answer.body.partition(b"<Name>raw/e</Name>")
        told = b"<Properties><ResourceType>directory</ResourceType>"
        return answer.with_body(before + name + after.replace(b"<Properties>", told, 1))

    with proxied(azurite.endpoint_url) as proxy:
        proxy.plan = plan
        assert table(source(azurite, container, proxy, key="raw").observe()).keys() == {"raw/a"}


def test_an_empty_object_in_the_place_of_a_folder_is_seen(store: Store, container: str):
    put(store, container, "raw/a")
    store.put(container, "raw/e/", b"")
    first = look(store, container, key="raw")
    assert table(first).keys() == {"raw/a"}
    store.delete(container, "raw/e/")
    store.put(container, "raw/e", b"")
    seen = look(store, container, replace_memo(known(first), first), key="raw")
    assert moved(seen) == {"added": ["raw/e"], "modified": [], "removed": []}


def test_a_key_outside_of_the_folder_is_refused_by_name(store: Store, container: str, proxy: Proxy):
    put(store, container, "raw/a", "raw/b")

    def plan(_: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        return answer.with_body(answer.body.replace(b"raw/b", b"other"))

    proxy.plan = plan
    with pytest.raises(SourceError, match="lists the object 'other', which is not below 'raw/'"):
        source(store, container, proxy, key="raw").observe()


def test_a_server_that_lists_the_same_again_and_again_is_refused(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(container_module, "_CHUNK", 3)
    container = azurite.container()
    put(azurite, container, "a", "b")
    first: list[Answer] = []

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if "comp=list" not in asked.target:
            return forward()
        if not first:
            answer = forward()
            body = answer.body.replace(b"<NextMarker/>", b"<NextMarker>more</NextMarker>")
            first.append(answer.with_body(body))
        return first[0]

    with proxied(azurite.endpoint_url) as proxy:
        proxy.plan = plan
        with pytest.raises(SourceError, match="lists the same objects again, from 'a' on"):
            source(azurite, container, proxy).observe()


@pytest.mark.parametrize("text", ["a\ufffdb", "a%EF%BF%BEb", "a%ef%bf%bfb"])
def test_what_may_stand_for_a_character_that_xml_can_not_hold_is_an_error(
    store: Store, container: str, text: str
):
    put(store, container, text)
    with pytest.raises(SourceError, match="can't be listed exactly"):
        look(store, container)


def test_an_object_that_is_deleted_while_it_is_listed_is_no_error(
    store: Store, container: str, proxy: Proxy
):
    put(store, container, "stays", "goes")

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if asked.method == "HEAD" and asked.target.endswith("/goes"):
            store.delete(container, "goes")
            proxy.plan = lambda _, forward: forward()
        return forward()

    proxy.plan = plan
    seen = source(store, container, proxy).observe()
    assert table(seen).keys() == {"stays", "goes"}
    assert table(look(store, container, known(seen))).keys() == {"stays"}


# ---------------------------------------------------------------------------------- faults


def test_a_container_that_does_not_exist_is_an_error_that_names_it(azurite: Azurite):
    for keys in ({}, {"key": "a", "check_mode": "file_size"}, {"check_mode": "files_new"}):
        with pytest.raises(SourceError, match="There is no container 'nowhere'"):
            look(azurite, "nowhere", **keys)


@pytest.mark.parametrize("mode", ["files_metadata", "files_new", "file_size"])
def test_a_missing_bucket_as_google_says_it_is_an_error_that_names_it(
    fake_gcs: Store, mode: str, impatient: None
):
    del impatient
    # The emulator says 500 where Google says 404, and this.
    body = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>No</Message></Error>"
    with proxied(fake_gcs.endpoint_url) as proxy:
        proxy.plan = lambda _, __: Answer(status=404, body=body)
        with pytest.raises(SourceError, match="There is no bucket 'nowhere'"):
            source(fake_gcs, "nowhere", proxy, key="a", check_mode=mode).observe()


@pytest.mark.parametrize("mode", ["files_metadata", "files_new", "file_size"])
def test_a_refusal_names_what_to_grant_and_no_secret(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, mode: str
):
    container = azurite.container()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm90IHRoZSBrZXk=")
    with pytest.raises(SourceError, match=r"refused.*Storage Blob Data Reader") as refused:
        look(azurite, container, key="a", check_mode=mode)
    assert "bm90IHRoZSBrZXk" not in str(refused.value)


def test_a_signature_in_the_address_is_not_repeated(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
):
    container = azurite.container()
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    query = "sv=2021-08-06&ss=b&srt=sco&sp=rl&se=2030-01-01T00%3A00%3A00Z&sig=c2VjcmV0c2VjcmV0"
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", query)
    with pytest.raises(SourceError, match="refused") as refused:
        look(azurite, container)
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize("mode", ["files_metadata", "files_new", "file_size"])
def test_a_refusal_of_google_names_the_role(fake_gcs: Store, mode: str):
    with proxied(fake_gcs.endpoint_url) as proxy:
        proxy.plan = lambda _, __: Answer(
            status=403, body=b"<Error><Code>AccessDenied</Code></Error>"
        )
        with pytest.raises(SourceError, match=r"refused.*Storage Object Viewer"):
            source(fake_gcs, "private", proxy, key="a", check_mode=mode).observe()


def test_a_busy_server_is_asked_again(store: Store, container: str, proxy: Proxy):
    put(store, container, "a")
    busy = Answer(status=503, body=b"<Error><Code>ServerBusy</Code></Error>")
    proxy.plan = lambda asked, forward: busy if asked.number < 3 else forward()
    assert table(source(store, container, proxy).observe()).keys() == {"a"}


@pytest.mark.usefixtures("impatient")
def test_a_server_that_can_not_be_reached_is_an_error_that_names_the_place(
    store: Store, container: str, proxy: Proxy
):
    watching = source(store, container, proxy)
    proxy.stop()
    with pytest.raises(SourceError, match=f"did not answer.*{container}"):
        watching.observe()


@pytest.mark.parametrize("mode", ["files_metadata", "files_new", "file_size"])
def test_a_look_that_hangs_ends_when_it_is_cancelled(
    store: Store, container: str, proxy: Proxy, mode: str
):
    asked = threading.Event()

    def plan(*_: object) -> Answer:
        asked.set()
        return HANG

    proxy.plan = plan
    watching = source(store, container, proxy, key="a", check_mode=mode)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(watching.observe)
        assert asked.wait(SECONDS)
        started = time.monotonic()
        watching.cancel()
        with pytest.raises(SourceError, match="told to stop"):
            running.result(SECONDS)
    assert time.monotonic() - started < SECONDS / 2
    with pytest.raises(SourceError, match="told to stop"):
        watching.observe()


def test_objects_have_no_query_language(store: Store, container: str):
    watching = source(store, container)
    with pytest.raises(SourceError, match="can't run queries"):
        watching.query("any", {})


def test_a_folder_that_is_finished_goes_and_one_that_is_not_waits(
    store: Store, container: str, tmp_path: Path
):
    data = store.data(container, key="raw", marker="_SUCCESS")
    sensor = Sensor(name="hours", data=data, event_name="hours_changed")
    context = ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors={"hours": sensor}),
        root=tmp_path,
        store=open_store(str(tmp_path / "store")),
        branch="user.tester",
    )
    put(store, container, "raw/h=0/a")
    sensing.observe(context)
    for hour in range(1, 4):
        put(store, container, f"raw/h={hour}/a", f"raw/h={hour - 1}/_SUCCESS")
        [seen] = sensing.observe(context)
        assert seen.outcome == "changed", seen.reason
        assert seen.counts["added"] == (1 if hour == 1 else 2)
        assert f"1 more must wait: waiting for '_SUCCESS' in 'raw/h={hour}'" in seen.reason
    put(store, container, "raw/h=3/_SUCCESS")
    [seen] = sensing.observe(context)
    assert seen.counts["added"] == 2
    [seen] = sensing.observe(context)
    assert seen.outcome == "unchanged"


def test_what_waits_for_too_long_is_told_or_fails_or_goes(
    store: Store, container: str, tmp_path: Path
):
    hold_for_too_long(
        tmp_path,
        lambda **keys: store.data(container, key="raw", **keys),
        lambda key: put(store, container, f"raw/{key}"),
    )


# ----------------------------------------------------------------------------- credentials


def test_azure_is_asked_with_the_token_of_metaflows_provider(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
):
    from metaflow.plugins.azure import azure_credential

    def create() -> Any:
        return SimpleNamespace(get_token=lambda scope: tokens[scope])

    tokens = {
        "https://storage.azure.com/.default": SimpleNamespace(
            token="a-token",  # noqa: S106  # nobody's
            expires_on=time.time() + 3600,
        )
    }
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setattr(azure_credential, "create_cacheable_azure_credential", create)
    with proxied(azurite.endpoint_url) as proxy:
        with pytest.raises(SourceError, match="refused") as refused:
            source(azurite, azurite.container(), proxy).observe()
        assert "a-token" not in str(refused.value)
        headers = {name.lower(): value for name, value in proxy.asked[0].headers.items()}
    assert headers["authorization"] == "Bearer a-token"


def test_credentials_that_can_not_be_had_are_told_from_a_refusal(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
):
    from metaflow.plugins.azure import azure_credential

    def get_token(_: str) -> None:
        raise RuntimeError("nobody is logged in")

    credential = SimpleNamespace(get_token=get_token)
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setattr(azure_credential, "create_cacheable_azure_credential", lambda: credential)
    with pytest.raises(SourceError, match=r"No credentials for Azure.*nobody is logged in"):
        look(azurite, azurite.container())


def test_metaflows_own_endpoint_is_used_where_none_is_given(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
):
    import metaflow.metaflow_config

    container = azurite.container()
    put(azurite, container, "a")
    setting = "AZURE_STORAGE_BLOB_SERVICE_ENDPOINT"
    monkeypatch.setattr(metaflow.metaflow_config, setting, f"{azurite.endpoint_url}/")
    assert look(azurite, container, endpoint_url="").value == 1


def test_without_an_account_the_places_to_name_it_are_named(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
):
    import metaflow.metaflow_config

    setting = "AZURE_STORAGE_BLOB_SERVICE_ENDPOINT"
    monkeypatch.setattr(metaflow.metaflow_config, setting, None)
    with pytest.raises(SourceError, match=r"which storage account.*account = "):
        look(azurite, "incoming", endpoint_url="")


def test_an_object_is_read_if_it_is_still_that_one(store: Store, container: str) -> None:
    data = store.data(container, key="raw")
    store.put(container, "raw/a b", b"seen")
    [item] = table(open_source(data, Path()).observe()).values()
    assert read_item(data, Path(), item.data) == b"seen"
    store.put(container, "raw/a b", b"other")
    with pytest.raises(SourceError, match="not the one any more that was seen"):
        read_item(data, Path(), item.data)
    store.delete(container, "raw/a b")
    with pytest.raises(SourceError, match="not there any more.*change.snapshot"):
        read_item(data, Path(), item.data)
