"""Text of strangers is shown as text on every view, and nothing of it runs or reaches further."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from flowproject import sensing
from tests.browser.local_loop import LocalLoop, running_loop
from tests.browser.view import View
from tests.project_folder import ProjectFolder, make_project

Open = Callable[..., View]

IMAGE = "<img src=x onerror=window.owned=1>"
SCRIPT = "</script><script>window.owned=1</script>"
LINK = "javascript:window.owned=1"
JINJA = "{{ 7*191 }}{% include 'base.html' %}"
HTMX = '<b hx-get="/x" hx-trigger="load" hx-on:click="window.owned=1" onclick=window.owned=1>b</b>'
TWISTED = "\u202egnp.exe\u2066 \u0007\u001b[31m <svg onload=window.owned=1>"
TEXTS = (IMAGE, SCRIPT, LINK, JINJA, HTMX, TWISTED)

CONFIG = """
project_name = "hostile"
[data]
type = "duckdb"
query = "rows"
key = ["name"]
[sensor]
cron_schedule = "0 0 1 1 *"
[sensors.rows]
[sensors.broken]
data = { query = "broken" }
[sensors.files]
data = { type = "files", path = "seen" }
"""
# NUL ends a text in many a parser; only SQL can make one here.
ROWS = "\n".join(
    [
        f"-- {IMAGE} {SCRIPT} {JINJA} {HTMX}",
        'SELECT name, text, text AS "<i onclick=window.owned=1>",',
        f"'a' || chr(0) || '{IMAGE}' AS nul",
        "FROM read_csv('rows/*.csv', header = true, all_varchar = true)",
    ]
)
BROKEN = f"SELECT error('{IMAGE} {SCRIPT}')"
FILE = f"{IMAGE}<script>window.owned=1</script>.txt"

# Elements and attributes that our own templates never have.
FOREIGN = """() => [...document.querySelectorAll(`
    img, base, object, embed, math, script:not([src]):not([type="application/json"]),
    iframe:not([src^="/cards/"]), [onerror], [onload], [onclick], [hx-on\\\\:click],
    [hx-get="/x"], [href^="javascript:" i], [src^="javascript:" i]
`)].map((node) => node.outerHTML)"""

# What a card may try. Each attempt says what became of it.
ATTACK = """<!doctype html><title>A card</title><h1>A card</h1><ul></ul><script>
const say = (name, what) => {
  const line = document.createElement("li");
  line.textContent = `${name}: ${what}`;
  document.querySelector("ul").append(line);
};
const attempt = async (name, deed) => {
  try { await deed(); say(name, "done") } catch { say(name, "refused") }
};
const form = document.createElement("form");
Object.assign(form, { method: "post", action: HOME + "actions/force", target: "_top" });
form.innerHTML = "<input name=sensor value=rows>";
document.body.append(form);
(async () => {
  await attempt("read the page", () => parent.document.title);
  await attempt("write the page", () => { parent.owned = 1 });
  await attempt("leave the page", () => { top.location = HOME + "runs" });
  await attempt("read cookies", () => document.cookie);
  await attempt("read storage", () => localStorage.length);
  const body = new URLSearchParams({ sensor: "rows" });
  await attempt("post", () => fetch(HOME + "actions/force", { method: "post", body }));
  await attempt("ask", () => fetch(HOME, { mode: "no-cors" }));
  await attempt("ask elsewhere", () => fetch("http://127.0.0.2:9/", { mode: "no-cors" }));
  await attempt("open a window", () => { if (!open(HOME)) throw new Error() });
  alert("owned");
  form.submit();
  say("all", "tried");
})();
</script>"""


@pytest.fixture(scope="module")
def loop(
    chromium: str,  # noqa: ARG001  # without it no loop needs to start
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalLoop]:
    """A loop of a project of strangers' texts, which looks once by itself."""
    project = make_project(tmp_path_factory.mktemp("hostile"), CONFIG)
    copy(Path(__file__).parent / "evilflow.py", project.root)
    project.write("sql/rows.sql", ROWS)
    project.write("sql/broken.sql", BROKEN)
    project.write("rows/first.csv", "name,text\nfirst,first\n")
    project.write("seen/first.txt", "first")
    sensing.observe(project.context())
    with running_loop(project, every="1h") as running:
        yield running


@pytest.fixture(scope="module")
def overview(loop: LocalLoop, browser: Browser) -> Iterator[View]:
    """The overview, opened before the texts arrive: they come with live updates."""
    view = View(browser, loop.page)
    expect(view.page.locator("#stream")).to_have_text("live")
    loop.wait("RunFinished", flow="SensorFlow")
    project = loop.project
    # One look sees both, because it waits until nothing is written any more. Who asked for a run as
    # well would have two at once, and of two only one records.
    project.write("rows/more.csv", "name,text\n" + "".join(f"{_csv(t)},{_csv(t)}\n" for t in TEXTS))
    project.write(f"seen/{FILE}", "more")
    loop.wait("RunFinished", flow="EvilFlow")
    yield view
    view.close()


@pytest.fixture(scope="module")
def window(loop: LocalLoop, browser: Browser) -> Iterator[View]:
    """One window for all views that are only looked at: each that is opened costs a second."""
    view = View(browser, loop.page)
    yield view
    view.close()


@pytest.fixture(scope="module")
def runs(loop: LocalLoop, overview: View) -> dict[str, str]:  # noqa: ARG001  # there they start
    """The addresses of the runs that have seen the texts."""
    told = [
        # The first looked at all sensors, the one that is broken among them.
        *loop.wait("RunFinished", 2, flow="SensorFlow")[:1],
        *loop.wait("RunFinished", flow="EvilFlow"),
    ]
    return {one["flow"]: f"/runs/{one['flow']}/{one['run_id']}" for one in told}


def _csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def assert_harmless(view: View) -> None:
    """Nothing has run, nothing is there that we did not write, and no policy had to step in."""
    assert view.page.evaluate("window.owned") is None
    assert view.page.evaluate(FOREIGN) == []
    assert view.troubles == []


def test_what_comes_with_a_live_update_is_text(overview: View):
    page = overview.page

    expect(page.get_by_role("main")).to_contain_text(f"broken {IMAGE}"[7:])
    expect(page.get_by_role("region", name="News", exact=True)).to_contain_text(IMAGE)
    assert_harmless(overview)


@pytest.mark.parametrize(
    "address, shown",
    [
        ("/sensors/rows", [IMAGE, SCRIPT, HTMX]),
        ("/sensors/broken", [IMAGE, SCRIPT]),
        ("/sensors/files", []),
        (
            "/sensors/rows/changes/2",
            [IMAGE, SCRIPT, LINK, JINJA, HTMX, "<svg onload=window.owned=1>"],
        ),
        ("/sensors/files/changes/2", [FILE]),
        (f"/sensors/rows/changes/2?q={quote(SCRIPT)}", [SCRIPT]),
        (f"/sensors/rows/changes/2?q={quote(IMAGE + JINJA)}", [IMAGE + JINJA]),
        ("/runs", []),
        ("/graph", []),
        ("/actions/replay?change=rows/2", []),
        (f"/actions/replay?change={quote(IMAGE)}", [IMAGE]),
    ],
)
@pytest.mark.usefixtures("runs")
def test_a_view_shows_the_texts_and_none_of_them_runs(window: View, address: str, shown: list[str]):
    view = window
    view.go(address)
    seen = view.page.locator("main").text_content() or ""
    seen += " ".join(view.page.locator("input").evaluate_all("all => all.map((one) => one.value)"))

    assert [text for text in shown if text not in seen] == []
    assert_harmless(view)


@pytest.mark.parametrize("flow", ["EvilFlow", "SensorFlow"])
def test_the_log_of_a_run_is_text(
    loop: LocalLoop, open_view: Open, runs: dict[str, str], flow: str
):
    view = open_view(loop.page)
    view.go(runs[flow])

    expect(view.page.locator("#log")).to_contain_text(IMAGE)
    assert_harmless(view)


@pytest.mark.parametrize(
    "address",
    [
        f"/sensors/{quote(IMAGE, safe='')}",
        f"/runs/EvilFlow/{quote(IMAGE, safe='')}",
        f"/actions/{quote(IMAGE, safe='')}",
        f"/actions/tick?sensor={quote(IMAGE)}",
        f"/sensors/rows/changes/2?kind={quote(IMAGE)}",
        f"/sensors/rows?before={quote(IMAGE)}",
    ],
)
@pytest.mark.usefixtures("runs")
def test_a_problem_repeats_what_was_asked_as_text(window: View, address: str):
    view = window
    view.go(address)
    seen = view.page.locator("body").text_content() or ""
    [refused] = view.troubles
    view.troubles.clear()

    assert IMAGE in seen
    assert "404" in refused
    assert_harmless(view)


@pytest.mark.parametrize("alone", [False, True])
def test_a_card_gets_out_of_its_frame_by_no_way(
    loop: LocalLoop, open_view: Open, runs: dict[str, str], *, alone: bool
):
    _put_attack(loop.project, loop.page)
    view = open_view(loop.page)
    view.go(runs["EvilFlow"])
    if alone:
        view.go(view.page.locator("iframe[title*=attack]").get_attribute("src") or "")
    address, known = view.page.url, loop.told("Acted")
    frame = view.page.locator("iframe" if alone else "iframe[title*=attack]")
    frame.scroll_into_view_if_needed()
    lines = frame.content_frame.locator("li")

    expect(lines.last).to_have_text("all: tried")
    assert [line for line in lines.all_text_contents()[:-1] if "refused" not in line] == []
    assert lines.count() == 10
    assert view.page.url == address
    assert loop.told("Acted") == known
    assert_harmless(view)


def _put_attack(project: ProjectFolder, home: str) -> None:
    """A flow may make its card by its own means: put one there as a whole page."""
    [card] = project.root.glob(".metaflow/mf.cards/EvilFlow/**/*attack*.html")
    card.write_text(ATTACK.replace("HOME", repr(home)))
