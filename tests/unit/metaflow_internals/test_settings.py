"""Metaflow's settings, also those that the oldest supported release does not have."""

import os

import pytest

from flowproject.metaflow_internals.settings import FALLBACK_USER, name_user, setting, user_name


def test_a_setting_is_what_metaflow_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow.metaflow_config.KUBERNETES_NAMESPACE", "team")
    assert setting("KUBERNETES_NAMESPACE") == "team"


def test_metaflow_without_the_setting_writes_schedules_as_if_it_was_false(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("metaflow.metaflow_config.ARGO_WORKFLOWS_USE_SCHEDULES", raising=False)
    assert setting("ARGO_WORKFLOWS_USE_SCHEDULES") is False


def test_whom_metaflow_cannot_name_gets_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow.util.get_username", lambda: None)
    monkeypatch.setenv("USERNAME", "")
    name_user.__wrapped__()
    assert os.environ["USERNAME"] == FALLBACK_USER


def test_a_name_that_metaflow_knows_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow.util.get_username", lambda: "somebody")
    monkeypatch.setenv("USERNAME", "")
    name_user.__wrapped__()
    assert (user_name(), os.environ["USERNAME"]) == ("somebody", "")
