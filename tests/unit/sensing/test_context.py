"""A run looks at all of its sensors, unless whoever started it has named some."""

from pathlib import Path

import pytest

from flowproject.errors import UsageError
from flowproject.sensing import SENSORS_ONLY, ProjectContext, chosen
from tests.unit.dev.page.page_context import project_context


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectContext:
    monkeypatch.delenv(SENSORS_ONLY, raising=False)
    return project_context(tmp_path, "a", "b", "c")


def test_without_the_variable_it_looks_at_all_or_at_its_own(place: ProjectContext):
    assert chosen(place) == ["a", "b", "c"]
    assert chosen(place, ["c", "a"]) == ["c", "a"]


@pytest.mark.parametrize(
    "only, own, looked_at",
    [
        ("b", (), ["b"]),
        ("c,a", (), ["a", "c"]),
        ("b", ("a", "c"), []),
        ("c,b", ("a", "c"), ["c"]),
        ("", (), []),
        (" c , b,", (), ["b", "c"]),
    ],
)
def test_the_variable_names_those_of_its_own_that_it_looks_at(
    place: ProjectContext,
    monkeypatch: pytest.MonkeyPatch,
    only: str,
    own: tuple[str, ...],
    looked_at: list[str],
):
    monkeypatch.setenv(SENSORS_ONLY, only)
    assert chosen(place, own) == looked_at


def test_a_name_that_no_sensor_has_is_refused(
    place: ProjectContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(SENSORS_ONLY, "b,nobody")
    with pytest.raises(UsageError, match="There is no sensor 'nobody'"):
        chosen(place)


def test_a_flow_that_names_a_sensor_that_is_not_there_is_refused(place: ProjectContext):
    with pytest.raises(UsageError, match="There is no sensor 'd'"):
        chosen(place, ["d"])
