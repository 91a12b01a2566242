"""Every view on a desk and on a phone, in light and dark: nothing is broken, nobody is kept out.

`PICTURES=docs/images` writes the pictures of the documentation anew.
"""

import datetime as dt
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, get_args

import pytest
from playwright.sync_api import Browser, Page, expect

from flowproject import sensing
from tests.browser.local_loop import LocalLoop, arrive, demo_place, running_loop
from tests.browser.view import Scheme, View
from tests.project_folder import ProjectFolder

pytestmark = pytest.mark.thorough  # in `make test` the story of the page is held to the same

Open = Callable[..., View]

WIDTHS: Final = {"wide": 1280, "narrow": 390}
CHANGE: Final = "/sensors/weather/changes"
VIEWS: Final = {
    "overview": "/",
    "sensor": "/sensors/weather",
    "change": f"{CHANGE}/3",
    "modified": f"{CHANGE}/2?kind=modified",
    "search": f"{CHANGE}/3?q=sun",
    "runs": "/runs",
    "run": "",
    "graph": "/graph",
    "plan": "/actions/run?flow=StarterFlow",
}
"""The run's address is known when it has run."""
PLANS: Final = {
    "tick": "/sensors/weather",
    "preview": "/sensors/weather",
    "force": "/sensors/weather",
    "pause": "/sensors/weather",
    "replay": f"{CHANGE}/3",
    "run": "",
}


@pytest.fixture(scope="module")
def loop(
    chromium: str,  # noqa: ARG001  # without it no loop needs to start
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalLoop]:
    """A loop of the demo, whose journal knows some days already, and finds another month."""
    project = demo_place(tmp_path_factory.mktemp("looks"))
    _look(project, days_ago=9)
    _correct(project)
    _look(project, days_ago=4)
    arrive(project, "2015-01")
    with running_loop(project, every="1h") as running:
        running.wait("RunFinished", 2, flow="StarterFlow", ok=True)
        yield running


@pytest.fixture(scope="module")
def addresses(loop: LocalLoop) -> dict[str, str]:
    [run, *_] = loop.wait("RunFinished", flow="StarterFlow")
    return {**VIEWS, "run": f"/runs/StarterFlow/{run['run_id']}"}


def _look(project: ProjectFolder, *, days_ago: int) -> None:
    """A tick of the past, which costs no run."""
    then = dt.datetime.now(dt.UTC) - dt.timedelta(days=days_ago)
    run = f"SensorFlow/{int(then.timestamp() * 1_000_000)}"
    sensing.observe(replace(project.context(), clock=lambda: then, run=run))


def _correct(project: ProjectFolder) -> None:
    """Two days of the past turn out to have been otherwise."""
    text = (project.root / "data" / "weather" / "2014.csv").read_text("utf-8")
    old = [line for line in text.splitlines() if line.startswith(("2014-12-30", "2014-12-31"))]
    for line in old:
        text = text.replace(line, line.rpartition(",")[0] + ",snow")
    project.write("data/weather/2014.csv", text)


def settle(page: Page) -> None:
    """Wait until everything that the view shows is there, frames included."""
    for frame in page.locator("iframe").all():
        frame.scroll_into_view_if_needed()
        expect(frame.content_frame.locator("main h3").first).to_be_visible()
    page.evaluate("scrollTo(0, 0)")


def faults(view: View, name: str, width: str, part: str | None = None) -> list[str]:
    """What is wrong in both colour schemes; each is photographed, if somebody wants pictures."""
    found = []
    for scheme in get_args(Scheme):
        view.page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {barrier}" for barrier in view.barriers(part)]
        if "PICTURES" in os.environ:
            view.photograph(f"{name}-{scheme}-{width}", whole=part is None)
    size = view.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return found + ([f"{size[0]} pixels in a window of {size[1]}"] if size[0] > size[1] else [])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_can_be_read_by_everyone(
    loop: LocalLoop, addresses: dict[str, str], open_view: Open, name: str, width: str
):
    view = open_view(loop.page, width=WIDTHS[width])
    view.go(addresses[name])
    settle(view.page)

    assert faults(view, name, width) == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.usefixtures("addresses")
def test_a_dialog_can_be_read_by_everyone(loop: LocalLoop, open_view: Open, name: str, width: str):
    view = open_view(loop.page, width=WIDTHS[width])
    view.go(PLANS[name])
    view.page.locator(f"a[data-action][href^='/actions/{name}']").first.click()
    expect(view.page.get_by_role("dialog").get_by_role("heading")).to_be_focused()

    assert faults(view, f"dialog-{name}", width, "#dialog") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_of_keys_can_be_read_by_everyone(loop: LocalLoop, open_view: Open, width: str):
    view = open_view(loop.page, width=WIDTHS[width])
    view.page.keyboard.press("?")
    expect(view.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()

    assert faults(view, "keys", width, "#help") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_problem_can_be_read_by_everyone(browser: Browser, loop: LocalLoop, width: str):
    view = View(browser, loop.page, width=WIDTHS[width])
    view.go("/sensors/wether")

    assert faults(view, "problem", width) == []
    assert "Did you mean" in view.page.locator("main").inner_text()
    view.close()
