"""A flow on Metaflow's command line: what comes back of it."""

import pytest
from metaflow import FlowSpec

from flowproject.metaflow_internals.flows import run_on_command_line


@pytest.mark.parametrize(
    "answer, succeeded", [(None, True), (0, True), (2, False), ("a user's `sys.exit(text)`", False)]
)
def test_a_command_succeeds_unless_metaflow_would_exit_with_something(
    answer: object, *, succeeded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaflow.cli.main", lambda *_, **__: answer)
    assert run_on_command_line(FlowSpec, ["show"]) is succeeded
