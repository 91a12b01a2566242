"""Patterns mean the same for every source: name by name, `**` for any number of folders."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.globs import Globs

PARTS = st.sampled_from(["a", "b", "ab", ".h", "a.csv"])
KEYS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
PATTERN_PARTS = st.sampled_from(["a", "*", "?", "a*", "*.csv", "[ab]", "[!a]", "**"])
PATTERNS = st.lists(PATTERN_PARTS, min_size=1, max_size=5).map("/".join)


def expected(pattern: str, key: str) -> bool:
    """The definition, in the slow and obvious way."""
    first, _, rest = pattern.partition("/")
    name, slash, deeper = key.partition("/")
    if first == "**":
        if not rest:
            return True
        return expected(rest, key) or (bool(slash) and expected(pattern, deeper))
    translated = re.escape(first).replace(r"\*", ".*").replace(r"\?", ".")
    translated = translated.replace(r"\[!a\]", "[^a]").replace(r"\[ab\]", "[ab]")
    if not re.fullmatch(translated, name):
        return False
    if not rest:
        return not slash
    return expected(rest, deeper) if slash else set(rest.split("/")) == {"**"}


@settings(deadline=None)
@given(PATTERNS, KEYS)
def test_a_match_is_what_the_definition_says(pattern: str, key: str):
    assert Globs([pattern]).match(key) == expected(pattern, key)


@settings(deadline=None)
@given(st.lists(PATTERNS, min_size=1, max_size=3), KEYS)
def test_every_folder_on_the_way_to_a_match_is_entered(patterns: list[str], key: str):
    globs = Globs(patterns)
    folders = key.split("/")[:-1]
    if globs.match(key):
        assert all(globs.enter("/".join(folders[: n + 1])) for n in range(len(folders)))


@pytest.mark.parametrize(
    "pattern, key, matches",
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "2024/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "2024/01/a.csv", True),
        ("2024/**", "2024/01/a.csv", True),
        ("2024/**", "2025/a.csv", False),
        ("2024/*/a.csv", "2024/01/a.csv", True),
        ("a?c", "a/c", False),
        ("A.csv", "a.csv", False),
        ("[a-c].csv", "b.csv", True),
        ("[", "[", True),
    ],
)
def test_examples(pattern: str, key: str, matches: bool):  # noqa: FBT001
    assert Globs([pattern]).match(key) is matches


def test_folders_that_no_pattern_reaches_are_not_entered():
    globs = Globs(["2024/*.csv"])
    assert globs.enter("2024")
    assert not globs.enter("2025")
    assert not globs.enter("2024/01")


def test_without_patterns_everything_matches():
    assert Globs([]).match("any/thing")
    assert Globs([]).enter("any")


@pytest.mark.seconds(1)
def test_many_stars_do_not_take_exponential_time():
    assert not Globs(["**/a/" * 12 + "b"]).match("a/" * 60 + "c")
