"""The last key is found without listing what comes before it."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.sources.s3.asking import Asker
from flowproject.sources.s3.last import last_key
from tests.s3_pages import MemoryBucket, Stored
from tests.unit.sources.s3.bucketfuls import SHAPES, fill


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    count=st.integers(0, 200),
    page_size=st.sampled_from([1, 2, 10]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_it_is_the_greatest_of_all_keys(shape: str, count: int, page_size: int, seed: int):
    bucket = MemoryBucket({b"raw2/x": Stored()})
    fill(bucket, Random(seed), b"raw/", shape, count)
    keys = [key for key in bucket.objects if key.startswith(b"raw/")]
    assert last_key(Asker(bucket, b"raw/", page_size)) == max(keys, default=None)


@pytest.mark.parametrize(
    "names",
    [
        ["é", "日本", "😀", "z"],
        ["a", "aa", "aaa", "aaaa"],
        ["\ud7ff", "\ue000", "\uffff", "\U0010ffff"],
        ["x" * length for length in range(1, 9)],
    ],
)
def test_it_is_found_among_odd_ones(names: list[str]):
    keys = [name.encode() for name in names]
    bucket = MemoryBucket(dict.fromkeys(keys, Stored()))
    assert last_key(Asker(bucket, b"", 1)) == max(keys)


def test_it_is_found_behind_keys_of_full_length():
    keys = [b"x" * 1023 + byte for byte in (b"1", b"2", b"3")]
    bucket = MemoryBucket(dict.fromkeys(keys, Stored()))
    assert last_key(Asker(bucket, b"", 1)) == keys[-1]


def test_it_takes_few_requests():
    names = [b"log/2026/%07d.gz" % number for number in range(20_000)]
    bucket = MemoryBucket(dict.fromkeys(names, Stored()))
    assert last_key(Asker(bucket, b"log/", 20)) == names[-1]
    assert bucket.requests <= 60


def test_who_may_not_ask_any_more_gets_the_greatest_that_was_seen():
    bucket = MemoryBucket(dict.fromkeys([b"%03d" % n for n in range(100)], Stored()))
    assert last_key(Asker(bucket, b"", 10), spend=lambda: False) == b"009"
