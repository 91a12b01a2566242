"""The statements with which Snowflake digests rows: what the emulator can't run is read here."""

from typing import Any

import pytest

from flowproject.changes.observation import Past
from flowproject.sources.snowflake.digest import BucketDigests
from flowproject.sql import Query

QUERY = Query(file="it.sql", text="SELECT * FROM it; -- that is all")


def described(*kinds: int, scale: int = 0) -> list[Any]:
    """Columns as the connector describes them: the first is a whole number."""
    first = ("ID", 0, None, None, 38, scale, True)
    return [first, *((f"C{kind}", kind, None, None, None, None, True) for kind in kinds)]


def told(*kinds: int) -> str:
    digests = BucketDigests.expected(Past(0, dict, total=5000), described(*kinds), ("id",))
    assert digests is not None
    return digests.told(QUERY)[0]


def test_the_query_stands_within_and_ends_where_it_ends():
    assert "(SELECT * FROM (SELECT * FROM it\n))" in told(2)


def test_the_salt_is_bound_and_no_part_of_the_statement():
    digests = BucketDigests.expected(Past(0, dict, total=5000), described(2), ("id",))
    assert digests is not None
    sql, bound = digests.told(QUERY)
    assert (sql.count("?"), bound) == (2, [digests.salt] * 2)
    assert digests.salt not in sql


def test_no_digest_is_made_by_a_function_that_may_be_another_one_tomorrow():
    assert "MD5_NUMBER_UPPER64" in told(2)
    assert "HASH" not in told(2).replace("MD5", "")


@pytest.mark.parametrize(
    "kind, text",
    [
        (1, "TO_VARCHAR(c1 - TO_DOUBLE(TO_VARCHAR(c1)))"),  # what the text of a float lacks
        (5, "LENGTH(TO_JSON(c1)) || ':' || TO_JSON(c1)"),
        (7, "TO_VARCHAR(c1, 'YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM')"),
        (7, "TO_VARCHAR(DATE_PART(epoch_second, c1))"),
        (8, "TO_VARCHAR(c1, 'YYYY-MM-DD HH24:MI:SS.FF9')"),
        (11, "HEX_ENCODE(c1)"),
        (12, "TO_VARCHAR(c1, 'HH24:MI:SS.FF9')"),
    ],
)
def test_the_text_of_a_value_does_not_depend_on_a_session_and_lacks_no_digit(kind: int, text: str):
    assert text in told(kind)


@pytest.mark.parametrize("kind", [4, 14, 15, 16, 17, 18, 19, 20, 21, 99])
def test_a_type_of_which_nobody_has_made_sure_has_no_digest(kind: int):
    assert BucketDigests.expected(Past(0, dict, total=5000), described(kind), ("id",)) is None


def test_keys_are_divided_as_far_as_their_text_is_the_same_here():
    def buckets(rows: int, *, scale: int = 0, key: str = "id") -> int:
        past = Past(0, dict, total=rows)
        digests = BucketDigests.expected(past, described(1, 2, 3, scale=scale), (key,))
        assert digests is not None
        return digests.buckets

    assert [buckets(rows) for rows in (1001, 5000, 100_000, 10_000_000)] == [4, 16, 256, 1024]
    assert buckets(5000, scale=2) == buckets(5000, key="c1") == 1
    assert buckets(5000, key="c2") == buckets(5000, key="c3") == 16


def test_a_table_that_has_grown_is_divided_anew():
    small = BucketDigests.expected(Past(0, dict, total=1001), described(), ("id",))
    assert small is not None
    memo: dict[str, Any] = {"rows": small.noting([]).memo("f")}

    def known(rows: int) -> bool:
        past = Past(0, dict, total=rows, fingerprint="f", load_memo=lambda: memo)
        digests = BucketDigests.expected(past, described(), ("id",))
        assert digests is not None
        return bool(digests.noted)

    assert [known(rows) for rows in (900, 1001, 4000, 50_000)] == [True, True, True, False]
