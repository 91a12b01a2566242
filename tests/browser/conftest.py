"""Headless Chromium, driven by Playwright, and what it is pointed at."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.local_loop import LocalLoop, demo_place, running_loop
from tests.browser.view import PATIENCE, View

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
# A card's scripts are done when half a second went by in which they changed nothing.
AT_REST = """() => new Promise((done) => {
  let pause;
  const wait = () => { clearTimeout(pause); pause = setTimeout(done, 500); };
  new MutationObserver(wait).observe(document, {
    subtree: true, childList: true, attributes: true, characterData: true });
  wait();
})"""
SEEN = """() => {
  const all = (css, read) => [...document.querySelectorAll("main " + css)].map(read);
  const texts = (css) => all(css, (node) => node.textContent.trim().replaceAll("\\u00a0", " "));
  return {
    title: document.title,
    headings: texts("section > .heading h3"), cells: texts("td"), code: texts("pre"),
    texts: texts("*"),
    foreign: all(":is(img, script, a, iframe)", (node) => node.outerHTML),
    points: all("path[aria-roledescription=point]", () => 1).length,
    lines: all("g.mark-line path", (node) => node.getAttribute("stroke")),
    chart: Math.min(...all("svg.marks", (node) => node.getBoundingClientRect().width)),
    page: document.documentElement.scrollWidth, window: window.innerWidth };
}"""


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("NO CHROMIUM: no page was looked at. Install it: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for one file of tests.

    Not for the session: Playwright leaves its event loop running in this thread, where tests of
    other files want to run theirs.
    """
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=[OFFLINE])
        yield running
        running.close()


@pytest.fixture
def open_view(browser: Browser) -> Iterator[Callable[..., View]]:
    """Open an address at a width and in a colour scheme; in the end nothing may have gone wrong."""
    views: list[View] = []

    def opened(address: str, **how: Any) -> View:
        views.append(View(browser, address, **how))
        return views[-1]

    yield opened
    for view in views:
        view.close()
    assert [trouble for view in views for trouble in view.troubles] == []


@pytest.fixture(scope="module")
def loop(
    chromium: str,  # noqa: ARG001  # without it no loop needs to start
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalLoop]:
    """One local loop for a file of tests that tell one story."""
    place = demo_place(tmp_path_factory.mktemp("project"))
    with running_loop(place, every="1h") as running:
        yield running


@pytest.fixture(scope="module")
def look(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, Any]]:
    """Open a card in a window of some width: what a person would see."""
    file: Path = tmp_path_factory.mktemp("card") / "card.html"

    def looked(html: str, width: int = 1280) -> dict[str, Any]:
        file.write_text(html, "utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(file.as_uri())
        page.evaluate(AT_REST)
        seen: dict[str, Any] = page.evaluate(SEEN)
        page.close()
        return seen

    return looked
