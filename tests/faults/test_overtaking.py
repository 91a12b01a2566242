"""A second tick may come between any two requests of a first one."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.journal import Store, open_store
from flowproject.sensing import ProjectContext, Tick
from tests.conftest import Bus

MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REQUESTS = 45


class Overtaken:
    """A store at whose n-th request somebody else does something first."""

    def __init__(self, store: Store, at: int, between: Callable[[], object]) -> None:
        self._store = store
        self._left = at
        self._between = between

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._store, name)

        def request(*arguments: object) -> object:
            self._left -= 1
            if self._left == 0:
                self._between()
            return method(*arguments)

        return request


def new_context(root: Path, number: int, *, coalesce: bool, store: Any = None) -> ProjectContext:
    sensor = Sensor(
        name="data", data=FilesData(path="data"), event_name="data_changed", coalesce=coalesce
    )
    return ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors={"data": sensor}),
        root=root,
        store=store or open_store(str(root / "store")),
        branch=f"user.n{number}",
        clock=lambda: MOMENT,
    )


def tick(place: ProjectContext) -> Tick:
    [seen] = sensing.publish(place, sensing.observe(place))
    return seen


@pytest.mark.parametrize("coalesce", [False, True])
def test_a_tick_that_is_overtaken_at_any_request_fails_at_nothing_and_repeats_only_whole_events(
    tmp_path: Path, bus: Bus, *, coalesce: bool
) -> None:
    (tmp_path / "data").mkdir()
    for number in range(REQUESTS):
        place = new_context(tmp_path, number, coalesce=coalesce)
        place.journal("data").outbox.record_listeners(["AFlow"], by="test")
        bus.events.clear()
        tick(place)
        bus.answer = lambda _: 400
        for change in range(3):
            (tmp_path / "data" / f"{number}-{change}").write_text("x")
            tick(place)
        bus.answer = lambda _: 200
        store = Overtaken(place.store, number + 1, lambda there=place: tick(there))
        seen = tick(new_context(tmp_path, number, coalesce=coalesce, store=store))
        assert seen.outcome == "unchanged", f"request {number}: {seen.reason}"
        assert not seen.undelivered
        told = {(change["first_seq"], change["seq"]) for change in changes_on(bus)}
        assert told == ({(2, 2), (3, 4)} if coalesce else {(2, 2), (3, 3), (4, 4)}), (
            f"request {number}"
        )


def changes_on(bus: Bus) -> list[dict[str, Any]]:
    return [payload["change"] for payload in bus.payloads]
