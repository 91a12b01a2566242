"""Tests for the flows and sources of a project: a plugin of pytest, loaded by its entry point.

Here stand fixtures only. What they give imports Metaflow, which reads its settings then; so it is
imported when a test asks for it, and pytest starts as quickly as without.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

try:
    import pytest
except ImportError as missing:
    _MESSAGE = (
        "flowproject.testing needs pytest, which is not installed in "
        f"{sys.prefix}. It is no part of flowproject, because no flow needs it: "
        "`python -m pip install pytest`"
    )
    raise ImportError(_MESSAGE) from missing

from flowproject.testing import warm

if TYPE_CHECKING:
    from flowproject.testing.project_copy import FlowRun, ProjectCopy
    from flowproject.testing.source_contract import SourceContract, SourcePlace

__all__ = [
    "FlowRun",
    "ProjectCopy",
    "SourceContract",
    "SourcePlace",
    "flow_interpreter",
    "project_copy",
]

_PLACES: Final = {
    "FlowRun": "project_copy",
    "ProjectCopy": "project_copy",
    "SourceContract": "source_contract",
    "SourcePlace": "source_contract",
}

# Whoever inherits the contract wants to see which values differ, as in tests of their own.
pytest.register_assert_rewrite("flowproject.testing.source_contract")


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


@pytest.fixture(scope="session")
def flow_interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python that flows are run with: one that has imported Metaflow, where the system can.

    It is started once for a run of the tests, also of pytest-xdist's, and is gone with it.
    """
    if not warm.can_start():
        return sys.executable
    base, owner = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base, owner = base.parent, os.getppid()
    folder = base / "flowproject"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            warm.start(folder, owner)
    return str(folder / "python")


@pytest.fixture
def project_copy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    flow_interpreter: str,
) -> "Iterator[ProjectCopy]":
    """A copy of the project that the test stands in, to be changed and run as the test likes."""
    from flowproject.testing.project_copy import ProjectCopy

    copy = ProjectCopy.of(
        request.path.parent,
        tmp_path_factory.mktemp("project"),
        interpreter=flow_interpreter,
    )
    yield copy
    copy.close()
