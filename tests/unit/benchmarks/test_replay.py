"""The replay server of the benchmarks lists as S3 does, and says truly how its bucket changed."""

import http.client
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.replay import BUCKET, PREFIX, Replay
from benchmarks.replay.listing import list_objects
from benchmarks.replay.mutations import MUTATIONS, mutate
from benchmarks.replay.rows import KEY_BYTES, ROW_BYTES, Rows, render

ROWS: Final = render(8_000)
KEYS: Final = [key.decode() for key in ROWS.keys(range(len(ROWS)))]
STARTS: Final = st.sampled_from(["", PREFIX, *KEYS[::97], "zzz"])
PREFIXES: Final = st.sampled_from(
    ["", "raw/", PREFIX, f"{PREFIX}2026/02/03/", f"{PREFIX}2026/01/0"]
)


def found(page: bytes, name: str) -> list[str]:
    return re.findall(f"<{name}>(.*?)</", page.decode())


def pages(rows: Rows, query: dict[str, str]) -> list[bytes]:
    """All pages, from one continuation token to the next."""
    listed = [b"".join(list_objects(rows, BUCKET, query))]
    while token := found(listed[-1], "NextContinuationToken"):
        again = {**query, "continuation-token": token[0]}
        listed.append(b"".join(list_objects(rows, BUCKET, again)))
    return listed


def test_keys_and_rows_are_as_long_as_the_results_say():
    assert {len(key) for key in KEYS} == {KEY_BYTES} == {92}
    assert len(ROWS.xml(0, len(ROWS))) == 8_000 * ROW_BYTES == 8_000 * 377


def test_keys_are_sorted_and_unique_and_spread_over_the_days():
    assert sorted(set(KEYS)) == KEYS
    assert len({key.rpartition("/")[0] for key in KEYS}) == 167


@given(prefix=PREFIXES, start=STARTS, most=st.integers(100, 2_000))
def test_the_pages_have_the_keys_below_the_prefix_and_after_the_start(
    prefix: str, start: str, most: int
):
    expected = [key for key in KEYS if key.startswith(prefix) and key > start]

    listed = pages(ROWS, {"prefix": prefix, "start-after": start, "max-keys": str(most)})

    assert [key for page in listed for key in found(page, "Key")] == expected
    assert {len(found(page, "Key")) for page in listed[:-1]} <= {min(most, 1_000)}
    assert sum(int(*found(page, "KeyCount")) for page in listed) == len(expected)


@given(prefix=PREFIXES, start=STARTS, most=st.integers(5, 50))
def test_what_is_below_a_delimiter_is_one_common_prefix(prefix: str, start: str, most: int):
    below = [key for key in KEYS if key.startswith(prefix) and key > start]
    cuts = [(key, key.find("/", len(prefix)) + 1) for key in below]

    query = {"prefix": prefix, "delimiter": "/", "start-after": start, "max-keys": str(most)}
    listed = b"".join(pages(ROWS, query))

    assert found(listed, "Key") == [key for key, cut in cuts if not cut]
    folded = dict.fromkeys(key[:cut] for key, cut in cuts if cut)
    assert found(listed, "CommonPrefixes><Prefix") == list(folded)


@pytest.mark.seconds(20)  # three times a hundred thousand rows
@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutation_says_exactly_what_it_did_and_leaves_the_keys_sorted(kind: str):
    before = ROWS
    for turn in range(1, 4):
        after, said = mutate(before, kind, turn)
        old = {row.key: row for row in map(before.row, range(len(before)))}
        new = {row.key: row for row in map(after.row, range(len(after)))}
        both = old.keys() & new.keys()

        assert list(new) == sorted(new)
        assert len(new) == len(after)
        assert said.added == len(new.keys() - old.keys())
        assert said.removed == len(old.keys() - new.keys())
        assert said.modified == sum(old[key] != new[key] for key in both)
        assert all(old[key].size == new[key].size for key in both)
        before = after


def test_there_are_no_other_mutations():
    with pytest.raises(ValueError, match="clustered, scattered"):
        mutate(ROWS, "random", 1)


@pytest.fixture(scope="module")
def server() -> Iterator[Replay]:
    with Replay(2_500) as server:
        yield server


def ask(server: Replay, *targets: str, method: str = "GET") -> list[tuple[int, bytes]]:
    """The answers to requests on one connection."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    answers = []
    for target in targets:
        connection.request(method, target)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
    connection.close()
    return answers


def test_the_server_counts_what_it_is_asked_and_not_what_it_is_told(server: Replay):
    server.reset()

    [(status, page), _] = ask(server, *[f"/{BUCKET}?list-type=2&prefix=raw%2F&max-keys=7"] * 2)

    assert (status, len(found(page, "Key"))) == (200, 7)
    assert (server.counts().requests, server.counts().most_at_once) == (2, 1)


def test_the_server_has_one_bucket_and_knows_its_objects(server: Replay):
    [key] = server.every(2_500)

    heads = ask(server, f"/{BUCKET}", f"/{BUCKET}/{key}", f"/{BUCKET}/{key}x", method="HEAD")

    assert [status for status, _ in heads] == [200, 200, 404]
    [(status, error)] = ask(server, "/elsewhere?list-type=2")
    assert (status, found(error, "Code")) == (404, ["NoSuchBucket"])


def test_the_server_changes_its_bucket_when_told_to(server: Replay):
    before = server.counts().objects

    said = server.mutate("scattered")

    assert server.counts().objects == before + said.added - said.removed
