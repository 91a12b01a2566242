"""Here the examples share the warm process of our own tests; a copy of one needs no such file."""

import os

import pytest

from tests.isolation import isolate

isolate(os.environ)

from tests.warm import python  # noqa: E402  # it starts what must not see the developer's world

# It is tested as a package that is installed beside flowproject: tests/contract/test_plugins.py.
collect_ignore = ["http_source"]


@pytest.fixture(scope="session")
def flow_interpreter():
    return python()
