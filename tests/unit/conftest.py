"""Unit tests are pure, so each has two seconds: one that needs more is testing something else.

They are seconds of a processor: a machine that has much else to do fails nobody. A property is
tried on a hundred examples, and what imports a large client or reads much needs more: those have
half a minute, and what they say (`@given`, or a `seconds` mark).
"""

import time
from collections.abc import Iterator

import pytest

SECONDS = 2
SECONDS_FOR_A_PROPERTY = 30


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    begun = time.process_time()
    result = yield
    took = time.process_time() - begun
    assert took < seconds_of(item), f"it took {took:.1f} seconds of a processor"
    return result


def seconds_of(item: pytest.Item) -> float:
    """The seconds that a test has."""
    if mark := item.get_closest_marker("seconds"):
        return float(mark.args[0])
    return SECONDS_FOR_A_PROPERTY if item.get_closest_marker("hypothesis") else SECONDS
