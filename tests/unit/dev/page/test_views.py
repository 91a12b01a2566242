"""What a view reads of the journals: what it shows, and no more often than something was told."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.dev.messages import Acted
from flowproject.dev.metaflow_client import PastRun
from flowproject.dev.page import views as viewing
from flowproject.dev.page.changes import JournalEnd
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.overview import overview as whole_overview
from flowproject.dev.page.sensors import sensor_view
from flowproject.dev.page.views import Views
from flowproject.dev.records import RunRecord, work_folder
from tests.journals import CountingStore
from tests.unit.dev.page.page_context import LOOKER, NOW, ago, page_context, started, tick


class Counted:
    """A page, and how often its journals were asked for what a view shows."""

    def __init__(self, page: PageContext) -> None:
        assert page.project_context
        self.store = CountingStore(page.project_context.store)
        self.page = replace(page, project_context=replace(page.project_context, store=self.store))
        self._views = Views(self.page, ThreadPoolExecutor(max_workers=1))

    def requests(self, show: Callable[[Views], Awaitable[Any]]) -> int:
        before = len(self.store.requests)

        async def shown() -> None:
            await show(self._views)

        asyncio.run(shown())
        return len(self.store.requests) - before


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(page_context(tmp_path, "days", "months"))


def overview(part: str) -> Callable[[Views], Awaitable[Any]]:
    return lambda views: views.overview("", part)


def test_the_ends_of_journals_are_read_again_only_where_a_tick_was_told(counted: Counted):
    both = counted.requests(overview("sensors"))
    assert both > 0
    assert counted.requests(overview("sensors")) == 0
    counted.page.loop.update(tick(sensor="days"))
    assert 0 < counted.requests(overview("sensors")) < both
    counted.page.loop.update(started(1, "SensorFlow/1"))
    assert counted.requests(overview("")) == 0


def test_they_are_read_again_when_a_person_has_acted_and_after_a_while(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
):
    both = counted.requests(overview("sensors"))
    counted.page.loop.update(Acted(at=NOW, action="replay", target="days/1", text=""))
    assert counted.requests(overview("sensors")) == both
    monkeypatch.setattr(viewing, "_FRESH", 0.0)
    assert counted.requests(overview("sensors")) == both


@pytest.mark.parametrize("part", ["timeline", "flows", "news"])
def test_what_is_told_by_the_loop_alone_asks_no_journal(counted: Counted, part: str):
    assert counted.requests(overview(part)) == 0


def test_only_the_changes_of_a_sensor_list_its_journal(counted: Counted):
    counted.requests(lambda views: views.sensor("days", 0, with_changes=False))
    assert counted.requests(lambda views: views.sensor("days", 0, with_changes=False)) == 0
    assert counted.requests(lambda views: views.sensor("days", 0, with_changes=True)) > 0


def test_a_sensor_is_being_looked_at_while_a_run_that_may_look_at_it_goes_on(tmp_path: Path):
    page = page_context(tmp_path, "days", "months")
    page.loop.update(replace(started(1, "SensorFlow/1"), sensors=["days"]))
    assert (page.is_looking("days"), page.is_looking("months")) == (True, False)


def test_the_next_look_is_that_of_its_flow_unless_it_is_paused(tmp_path: Path):
    page = page_context(tmp_path, "days", due={LOOKER.name: NOW})
    assert page.next_look("days") == NOW
    page.paused["days"] = page.now()
    assert page.next_look("days") is None


def test_what_started_a_run_of_an_earlier_loop_is_told_by_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # the records lie below the folder of the project
    page = page_context(tmp_path, "days")
    page = replace(page, flows=tuple(replace(f, local_root=str(tmp_path)) for f in page.flows))
    log = work_folder(page.flows[0].local_root) / "logs" / "1.log"
    log.parent.mkdir(parents=True)
    record = RunRecord(
        flow="TakerFlow",
        cause="days_changed",
        events=("ab",),
        sensors=None,
        log=log,
        started=NOW.isoformat(),
        loop="x",
        project=str(tmp_path),
        options=(),
        ended="failed",
    )
    record.write()
    record.id_file.write_text("7")
    past = PastRun(
        state="failed",
        started=NOW,
        ended=None,
        changes=[{"sensor": "days", "seq": 2}],
        nothing_because=["another has it"],
        ticks=[],
        log="",
    )
    views = Views(page, ThreadPoolExecutor(max_workers=1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(viewing, "read_past", lambda *_: past)
        patched.setattr(page.__class__, "flow", lambda *_: LOOKER)
        view = asyncio.run(
            views.run("TakerFlow", "7", with_cards=False, with_log=False, with_steps=False)
        )
        other = asyncio.run(
            views.run("TakerFlow", "8", with_cards=False, with_log=False, with_steps=False)
        )
    assert view.row.cause == "days_changed"
    assert other.row.cause == "an event"
    assert ("did nothing", "another has it") in [(one.name, one.text) for one in view.facts]


def test_what_failed_again_and_again_for_one_reason_is_listed_once(tmp_path: Path):
    page = page_context(tmp_path, "days")
    for seconds in (50, 40, 30):
        page.loop.update(tick(seconds, outcome="failed", reason="no such bucket"))
    page.loop.update(tick(20, outcome="unchanged", reason="the same"))
    for seconds in (10, 5):
        page.loop.update(tick(seconds, outcome="failed", reason="no such bucket"))
    assert page.project_context
    [sensor] = page.project_context.sensors()
    view = sensor_view(page, sensor, JournalEnd())
    assert [(one.outcome, one.repeats) for one in view.ticks] == [
        *(("failed", 1), ("unchanged", 0), ("failed", 2))
    ]
    assert view.ticks[2].since == ago(50).isoformat()
    assert (view.row.reason, view.row.trouble) == ("", "no such bucket"), "said once"
    news = whole_overview(page, [], "").news
    assert [one.repeats for one in news if one.bad] == [1, 2]


def test_cards_that_can_not_be_read_say_so(tmp_path: Path):
    page = page_context(tmp_path, "days")
    views = Views(page, ThreadPoolExecutor(max_workers=1))

    def fail(*_: object) -> None:
        message = "the disk is gone"
        raise OSError(message)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(viewing, "read_cards", fail)
        [card] = asyncio.run(views._cards(["TakerFlow/7"]))
    assert (card.src, card.title) == ("", "TakerFlow/7")
    assert card.problem == "The cards of this run can't be read: OSError: the disk is gone"
