"""What a run that is over may be done again with."""

from dataclasses import replace
from pathlib import Path

import pytest

from flowproject.dev.metaflow_client import PastRun
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.runs import RunView, past_view, run_view
from tests.unit.dev.page.page_context import NOW, finished, page_context, started, tick


@pytest.fixture
def page(tmp_path: Path) -> PageContext:
    context = page_context(tmp_path, "days", "months")
    context.loop.update(tick(9, id="d", seq=3, outcome="changed"))
    context.loop.update(tick(9, sensor="months", id="m", seq=5, outcome="changed"))
    return context


def names(view: RunView) -> list[str]:
    return [one.href.removeprefix("/actions/") for one in view.actions]


def ended(page: PageContext, *events: str, ok: bool) -> RunView:
    start = started(5, "TakerFlow/1", *events)
    page.loop.update(start)
    page.loop.update(finished(start, 1, ok=ok))
    return run_view(page, page.loop.runs["TakerFlow/1"], [], "", 0)


def past(*changes: str, state: str) -> RunView:
    told = [dict(zip(("sensor", "seq"), change.split("/"), strict=True)) for change in changes]
    run = PastRun(
        state="failed",
        started=NOW,
        ended=NOW,
        changes=told,
        nothing_because=[],
        ticks=[],
        log="",
    )
    return past_view("TakerFlow", "1", replace(run, state=state), "", [])  # type: ignore[arg-type]


def test_a_run_of_one_change_is_done_again_with_it(page: PageContext):
    again = "replay?change=days%2F3"
    assert names(ended(page, "d", ok=True)) == [again]
    assert names(ended(page, "d", ok=False)) == ["resume-run?run=TakerFlow%2F1", again]
    assert names(past("days/3", state="succeeded")) == [again]


def test_of_a_run_that_took_changes_of_several_sensors_no_part_is_replayed(page: PageContext):
    """One of them would start nothing; a resumption has them all."""
    assert names(ended(page, "d", "m", ok=True)) == []
    assert names(ended(page, "d", "m", ok=False)) == ["resume-run?run=TakerFlow%2F1"]
    assert names(past("days/3", "months/5", state="succeeded")) == []
    assert names(past("days/3", "months/5", state="failed")) == ["resume-run?run=TakerFlow%2F1"]


def test_a_run_of_no_change_is_run_again(page: PageContext):
    assert names(ended(page, ok=True)) == ["run?flow=TakerFlow"]


LOG = """Task is starting.
<flow TakerFlow step train> failed:
    Traceback (most recent call last):
ValueError: no rows
Step failure:
"""


def test_the_log_of_a_run_is_cut_where_its_step_failed(page: PageContext):
    page.loop.update(started(1, "TakerFlow/1"))
    run = page.loop.runs["TakerFlow/1"]
    view = run_view(page, run, [], LOG, len(LOG))
    assert view.log == "Task is starting.\n"
    assert view.log_of_failure.startswith("<flow TakerFlow step train> failed:")
    assert run_view(page, run, [], "all is well", 11).log_of_failure == ""
