"""Two texts in little room show where they differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.contrast import contrast

SAME = "0123456789" * 9


@pytest.mark.parametrize(
    "old, new, shown",
    [
        ("a", "b", ("a", "b")),
        ("", "b", ("", "b")),
        (f"a{SAME}", f"b{SAME}", ("a0123456789012345678…", "b0123456789012345678…")),
        (f"{SAME}a", f"{SAME}b", ("…3456789a", "…3456789b")),
        (f"{SAME}a{SAME}", f"{SAME}b{SAME}", ("…3456789a01234567890…", "…3456789b01234567890…")),
        (SAME, f"{SAME}b", ("…3456789", "…3456789b")),
        (SAME, SAME, ("01234567890123456789…", "01234567890123456789…")),
    ],
)
def test_it_shows_the_first_place_that_differs(old: str, new: str, shown: tuple[str, str]):
    assert contrast(old, new, 21) == shown


@given(st.text(max_size=200), st.text("ab", max_size=5), st.text("ab", max_size=5), st.text())
def test_what_differs_never_looks_the_same(begin: str, old: str, new: str, end: str):
    texts = f"{begin}{old}{end}", f"{begin}{new}{end}"
    shown = contrast(*texts, 21)
    assert (shown[0] == shown[1]) == (texts[0] == texts[1])
    assert max(map(len, shown)) <= 21
