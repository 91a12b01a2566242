"""What a server sent becomes columns, or an error that says what can't be read."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.tables.manifest import IDENTITY, key_text
from flowproject.tables.object_rows import (
    content_digest,
    object_items,
    object_rows,
    object_schema,
    total,
)
from tests.unit.tables.objects import IDENTITIES, START, TABLES, Objects, rows_of

AS_SENT = "2026-11-22T10:00:00.000Z"


def test_text_as_a_server_sends_it_is_read():
    rows = object_rows([b"a/\xff"], [b"12"], [b"tag"], [AS_SENT.encode()])
    assert rows.schema.equals(object_schema())
    (item,) = object_items(rows, IDENTITY)
    assert item.key == key_text(b"a/\xff")
    assert item.data == {
        "key": item.key,
        "size": 12,
        "etag": "tag",
        "modified": "2026-11-22T10:00:00.000000+00:00",
    }


@pytest.mark.parametrize(
    "modified",
    [
        AS_SENT,
        AS_SENT.encode(),
        b"2026-11-22T10:00:00Z",
        b"2026-11-22T10:00:00.000000000Z",
        b"2026-11-22T12:00:00.000000+02:00",
        START,
        START.astimezone(dt.timezone(dt.timedelta(hours=5))),
    ],
)
def test_a_moment_can_be_written_in_many_ways(modified: Any):
    expected = object_rows([b"a"], [1], ["e"], [START])
    assert object_rows([b"a"], [1], ["e"], [modified]).equals(expected)


def test_arrow_columns_are_taken_as_they_are():
    rows = object_rows(
        pa.array([b"a"]), pa.array([1], pa.uint64()), pa.array(["e"]), pa.array([START])
    )
    assert rows.equals(object_rows([b"a"], [1], ["e"], [START]))


def test_a_version_id_is_shown_where_there_is_one():
    rows = object_rows([b"a", b"b"], [1, 1], ["e", "e"], [START, START], ["v1", None])
    assert [item.data.get("version_id") for item in object_items(rows, IDENTITY)] == ["v1", None]
    assert len({item.version for item in object_items(rows, IDENTITY)}) == 1


def test_none_are_a_table_too():
    assert object_rows([], [], [], []).schema.equals(object_schema())
    assert total(object_rows([], [], [], []), IDENTITY) == 0


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(([b"a"], [b"many"], ["e"], [AS_SENT]), id="a size that is no number"),
        pytest.param(([b"a"], [2**70], ["e"], [AS_SENT]), id="a size beyond all bounds"),
        pytest.param(([b"a"], [1], [b"\xff"], [AS_SENT]), id="a tag that is no text"),
        pytest.param(([b"a"], [1], ["e"], [b"yesterday"]), id="a moment that is none"),
        pytest.param(([b"a"], [1], ["e"], [b"2026-11-22T10:00:00"]), id="a moment without zone"),
        pytest.param(([None], [1], ["e"], [AS_SENT]), id="no key"),
        pytest.param(([b"a"], [None], ["e"], [AS_SENT]), id="no size"),
        pytest.param(([b"a"], [1], ["e"], [None]), id="no moment"),
        pytest.param(([b"a", b"b"], [1], ["e"], [AS_SENT]), id="columns of different lengths"),
        pytest.param(([b"a"], [1], [1], [AS_SENT]), id="a tag that is a number"),
    ],
)
def test_what_can_not_be_read_is_an_error_of_one_line(columns: Any):
    with pytest.raises(ValueError, match=r"\w") as caught:
        object_rows(*columns)
    assert "\n" not in str(caught.value)


@given(objects=TABLES, identity=IDENTITIES)
def test_a_total_is_the_sum_of_its_parts(objects: Objects, identity: tuple[str, ...]):
    rows = rows_of(objects)
    parts = (total(rows.slice(place, 1), identity) for place in range(len(rows)))
    assert total(rows, identity) == sum(parts) % 2**128


@given(one=TABLES, other=TABLES, identity=IDENTITIES)
def test_contents_have_the_same_digest_exactly_if_they_look_the_same(
    one: Objects, other: Objects, identity: tuple[str, ...]
):
    def seen(objects: Objects) -> dict[bytes, tuple[object, ...]]:
        return {key: facts.seen(identity) for key, facts in objects.items()}

    digests = {content_digest(rows_of(objects), identity) for objects in (one, other)}
    assert (len(digests) == 1) == (seen(one) == seen(other))


@given(objects=TABLES, identity=IDENTITIES)
def test_versions_differ_exactly_if_the_identity_does(objects: Objects, identity: tuple[str, ...]):
    items = list(object_items(rows_of(objects), identity))
    seen = [objects[key].seen(identity) for key in sorted(objects)]
    assert all(
        (items[one].version == items[other].version) == (seen[one] == seen[other])
        for one in range(len(items))
        for other in range(one)
    )


@given(moment=st.datetimes(timezones=st.just(dt.UTC)))
def test_moments_are_shown_as_python_shows_them(moment: dt.datetime):
    (item,) = object_items(object_rows([b"a"], [1], ["e"], [moment]), IDENTITY)
    assert item.data["modified"] == moment.isoformat(timespec="microseconds")
