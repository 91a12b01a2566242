"""A region is cut at folders where there are any, and else at what keys look like."""

from collections import deque

from flowproject.sources.s3.asking import Asker
from flowproject.sources.s3.bounds import find_bounds, guess_bounds
from flowproject.sources.s3.units import Lump, Region, Unit
from tests.s3_pages import MemoryBucket, Stored


def bounds(keys: list[bytes], after: bytes, high: bytes | None = None) -> list[bytes]:
    bucket = MemoryBucket(dict.fromkeys(keys, Stored()))
    region = Region(high)
    lump = Lump(Unit(after, deque([region]), 10), region, after)
    return find_bounds(Asker(bucket, b"raw/", 10), lump, spend=lambda: True)[0]


def test_folders_behind_the_key_are_bounds():
    keys = [b"raw/%s/1" % name for name in (b"a", b"b", b"c")]
    assert bounds(keys, after=keys[0]) == [b"raw/b/", b"raw/c/"]


def test_folders_outside_the_region_are_none():
    keys = [b"raw/%s/1" % name for name in (b"a", b"b", b"c", b"d")]
    assert bounds(keys, after=keys[0], high=b"raw/c/1") == [b"raw/b/", b"raw/c/"]


def test_a_lower_level_is_asked_if_the_upper_one_has_none():
    keys = [b"raw/only/%s/1" % name for name in (b"a", b"b", b"c")]
    assert bounds(keys, after=keys[0]) == [b"raw/only/b/", b"raw/only/c/"]


def test_without_folders_it_is_characters_that_keys_have():
    keys = [b"raw/%03d" % number for number in range(0, 1000, 7)]
    assert bounds(keys, after=keys[9]) == [b"raw/%d" % digit for digit in range(1, 10)]


def test_guesses_go_deeper_until_they_are_enough():
    sample = [b"a%d" % digit for digit in range(10)]
    assert guess_bounds(b"a07", b"a19", sample) == [b"a1", b"a08", b"a09"]


def test_guesses_never_split_a_character():
    sample = ["ü1".encode(), "ü9".encode()]
    guesses = guess_bounds("ü1".encode(), "ýz".encode(), sample)
    assert all(guess.decode() for guess in guesses)


def test_nothing_is_guessed_where_nothing_lies_between():
    assert guess_bounds(b"a", b"a", []) == []
