"""Unit tests are pure, so each has two seconds: one that needs more is testing something else.

A property is tried on a hundred examples, and one that starts an interpreter waits for it: those
have half a minute, and say so (`@given`, or a `timeout` mark).
"""

from pathlib import Path

import pytest

SECONDS = 2
SECONDS_FOR_A_PROPERTY = 30


@pytest.hookimpl(trylast=True)  # after hypothesis has marked its tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and item.get_closest_marker("timeout") is None:
            is_property = item.get_closest_marker("hypothesis") is not None
            item.add_marker(pytest.mark.timeout(SECONDS_FOR_A_PROPERTY if is_property else SECONDS))
