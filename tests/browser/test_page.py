"""The page of a running loop on the demo: what a person sees of it, and does on it."""

import csv
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.local_loop import LocalLoop, arrive
from tests.browser.view import Scheme, View
from tests.conftest import ROOT

Open = Callable[..., View]
CHANGE = "/sensors/weather/changes/2"


@pytest.fixture(scope="module")
def overview(loop: LocalLoop, browser: Browser) -> Iterator[View]:
    """The overview, opened before January arrives, and never loaded anew."""
    view = View(browser, loop.page)
    view.page.evaluate("window.isTheSame = true")
    loop.wait("Tick", outcome="baseline")
    loop.wait("RunFinished", flow="SensorFlow")
    # The loop hears of it: who asked for a run as well would have two at once, and of two only one
    # records.
    arrive(loop.project, "2015-01")
    yield view
    view.close()


@pytest.fixture(scope="module")
def change(loop: LocalLoop, overview: View) -> dict[str, Any]:  # noqa: ARG001  # it arrives there
    """What the loop told of the tick that saw January, once the run that it started is over."""
    [tick, *_] = loop.wait("Tick", outcome="changed")
    loop.wait("RunFinished", flow="StarterFlow", ok=True)
    return tick


def region(page: Page, name: str) -> Locator:
    """A section by the first words of its heading."""
    return page.get_by_role("region", name=re.compile(f"^{name}"))


def step_to(page: Page, target: Locator) -> None:
    """Press Tab until this has the focus, as a person without a mouse does."""
    for _ in range(60):
        if target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {target}")


def act(page: Page, name: str) -> Locator:
    """Open an action, confirm it, and return the dialog with what came of it."""
    page.get_by_role("link", name=name, exact=True).click()
    return confirm(page)


def confirm(page: Page) -> Locator:
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button").click()
    expect(dialog.get_by_role("heading")).to_contain_text(re.compile("Done|Not done"))
    return dialog


def test_a_file_arrives_and_the_page_shows_tick_change_event_and_run_without_a_reload(
    overview: View, loop: LocalLoop
):
    page = overview.page
    sensor, news = region(page, "Sensors"), region(page, "News")

    expect(sensor.get_by_role("listitem")).to_contain_text("31 added")
    expect(sensor).to_contain_text("1,127 items")
    expect(news).to_contain_text("weather_changed")
    expect(region(page, "Flows")).to_contain_text(re.compile(r"succeeded\s+StarterFlow/\d+"))
    marks = region(page, "Timeline").get_by_role("link")
    for words in ("changed", "weather_changed", "StarterFlow"):
        expect(marks.and_(page.get_by_label(re.compile(words))).first).to_be_attached()
    [run] = loop.wait("RunFinished", flow="StarterFlow")
    expect(region(page, "Flows")).to_contain_text(run["run_id"])
    assert page.evaluate("window.isTheSame")
    assert overview.troubles == []


@pytest.mark.parametrize("scheme", get_args(Scheme))
@pytest.mark.usefixtures("change")
def test_every_view_can_be_read_by_everyone(loop: LocalLoop, browser: Browser, scheme: Scheme):
    view = View(browser, loop.page, width=390, scheme=scheme)
    [run, *_] = loop.wait("RunFinished", flow="StarterFlow", ok=True)
    found = {}
    for address in (
        "/",
        "/sensors/weather",
        CHANGE,
        "/runs",
        f"/runs/StarterFlow/{run['run_id']}",
        "/graph",
    ):
        view.go(address)
        found[address] = view.barriers()
    view.close()

    assert not any(found.values()), found


def test_the_change_lists_exactly_the_rows_that_arrived(
    change: dict[str, Any], loop: LocalLoop, open_view: Open
):
    page = open_view(loop.page).page
    region(page, "Sensors").get_by_role("link", name="weather", exact=True).click()
    region(page, "Changes").get_by_role("link", name=re.compile(rf"^{change['seq']}\b")).click()
    items = region(page, "Items")
    with (ROOT / "data" / "incoming" / "2015-01.csv").open(encoding="utf-8") as file:
        arrived = [row["date"] for row in csv.DictReader(file)]

    expect(items).to_contain_text("1 to 31 of 31")
    dates = [cell[:10] for cell in items.get_by_role("cell").all_inner_texts() if "2015" in cell]
    assert sorted(dates) == arrived
    assert len(arrived) == 31
    expect(page.locator(".before")).to_contain_text("1096")
    expect(page.locator(".after")).to_contain_text("1127")


def test_a_change_shows_its_receipt_and_the_card_of_the_run_that_took_it(
    change: dict[str, Any], loop: LocalLoop, open_view: Open
):
    [run] = loop.wait("RunFinished", flow="StarterFlow")
    view = open_view(loop.page)
    view.go(CHANGE)
    chain = region(view.page, "From cause to effect")

    expect(chain.locator(".step-recorded")).to_contain_text(change["reason"])
    expect(chain.locator(".step-sent")).to_contain_text("weather_changed")
    expect(chain.locator(".step-taken")).to_contain_text(f"StarterFlow/{run['run_id']}")
    expect(chain).to_contain_text("delivered")
    card = region(view.page, "Cards").locator("iframe").first
    card.scroll_into_view_if_needed()
    expect(card.content_frame.get_by_role("heading").first).to_contain_text("weather")
    expect(card.content_frame.locator("svg.marks")).to_be_visible()


def test_a_run_shows_its_state_its_cause_and_its_log(
    change: dict[str, Any],  # noqa: ARG001  # its run is looked at
    loop: LocalLoop,
    open_view: Open,
):
    [run] = loop.wait("RunFinished", flow="StarterFlow")
    page = open_view(loop.page).page
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name=f"StarterFlow/{run['run_id']}").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(f"StarterFlow/{run['run_id']}")
    expect(page.locator(".now")).to_contain_text("succeeded")
    expect(page.locator(".reason")).to_contain_text("weather/2")
    expect(region(page, "Log complete")).to_contain_text("Task finished successfully")


def test_a_replay_from_the_keyboard_leads_to_a_receipt_marked_as_the_second_attempt(
    change: dict[str, Any],  # noqa: ARG001  # it is replayed
    loop: LocalLoop,
    open_view: Open,
):
    view = open_view(loop.page)
    view.go(CHANGE)
    page, link = view.page, view.page.get_by_role("link", name="Replay", exact=True)
    step_to(page, link)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")

    expect(dialog.get_by_role("heading")).to_have_text("Replay change weather/2")
    expect(dialog).to_contain_text("Its event is sent once more, with the same id.")
    expect(dialog).to_contain_text("flowproject replay weather/2")
    expect(dialog.get_by_role("heading")).to_be_focused()
    step_to(page, dialog.get_by_role("button", name="Replay"))
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("heading")).to_have_text(re.compile("Done: .*sent once more"))
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(link).to_be_focused()
    again = page.locator(".step-taken").filter(has_text="attempt 2")
    expect(again).to_contain_text("StarterFlow/")
    expect(page.locator(".step-taken")).to_have_count(2)


def test_a_preview_says_what_a_tick_would_see_and_writes_nothing(
    change: dict[str, Any],  # noqa: ARG001  # there is a journal
    loop: LocalLoop,
    open_view: Open,
):
    view = open_view(loop.page)
    view.go("/sensors/weather")
    known = len(loop.project.history())
    dialog = act(view.page, "Preview")

    expect(dialog).to_contain_text(re.compile(r"weather: \W+ unchanged"))
    expect(dialog).to_contain_text("Nothing was written, and nothing was sent.")
    assert len(loop.project.history()) == known


def test_a_tick_now_is_seen_where_it_was_asked_for(
    change: dict[str, Any],  # noqa: ARG001  # there is a journal
    loop: LocalLoop,
    open_view: Open,
):
    view = open_view(loop.page)
    view.go("/sensors/weather")
    before = len(loop.told("RunFinished", flow="SensorFlow"))
    dialog = act(view.page, "Tick now")
    expect(dialog).to_contain_text("SensorFlow starts")
    dialog.get_by_role("link", name="Close").click()
    run = loop.wait("RunFinished", before + 1, flow="SensorFlow")[before]

    row = region(view.page, "Ticks since the loop started").get_by_role("row")
    expect(row.filter(has_text=run["run_id"])).to_contain_text("unchanged")


def test_a_forced_tick_is_a_change_that_starts_the_flow(
    change: dict[str, Any],  # noqa: ARG001  # there is a journal
    loop: LocalLoop,
    open_view: Open,
):
    view = open_view(loop.page)
    view.go("/sensors/weather")
    act(view.page, "Force").get_by_role("link", name="Close").click()
    changes = region(view.page, "Changes").get_by_role("row").filter(has_text="forced")

    expect(changes).to_have_count(1)
    expect(changes).to_contain_text("StarterFlow/")


def test_a_flow_runs_with_a_parameter_and_its_log_is_followed_as_it_grows(
    loop: LocalLoop, open_view: Open
):
    page = open_view(loop.page).page
    flow = region(page, "Flows").get_by_role("listitem").filter(has_text="TalkFlow")
    flow.get_by_role("link", name="Run").click()
    page.get_by_role("dialog").get_by_label("word").fill("<b>hello</b>")
    confirm(page).get_by_role("link", name="Close").click()
    flow.get_by_role("link", name="TalkFlow/").click()
    page.evaluate("window.isTheSame = true")
    log = page.get_by_role("region", name="Lines of the log")

    expect(log).to_contain_text("first <b>hello</b>")
    expect(page.locator(".now")).to_contain_text("running")
    expect(log).not_to_contain_text("then <b>hello</b>")
    loop.project.write("go", "")
    expect(log).to_contain_text("then <b>hello</b>")
    expect(page.locator(".now")).to_contain_text("succeeded")
    expect(region(page, "Log complete")).to_be_visible()
    assert page.evaluate("window.isTheSame")


def test_a_sensor_is_paused_and_resumed_where_it_is_shown(loop: LocalLoop, open_view: Open):
    """That a paused one is passed by, tests/flows/test_page.py says, on a clock of its own."""
    view = open_view(loop.page)
    view.go("/sensors/weather")
    act(view.page, "Pause").get_by_role("link", name="Close").click()
    expect(view.page.locator(".now")).to_contain_text("paused")
    act(view.page, "Resume").get_by_role("link", name="Close").click()
    expect(view.page.locator(".now")).not_to_contain_text("paused")


def test_the_page_says_when_the_loop_has_ended(loop: LocalLoop, browser: Browser):
    view = View(browser, loop.page)
    expect(view.page.locator("#stream")).to_have_text("live")
    # The last test of this file, for it takes the loop from the others.
    loop.stop()

    expect(view.page.get_by_role("status").first).to_contain_text("The loop has ended")
    expect(view.page.locator("#stream")).to_have_text("ended")
    view.close()
