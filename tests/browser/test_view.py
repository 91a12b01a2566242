"""The control: a page in which everything is wrong. Without it, silence could be deafness."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser

from tests.browser.view import View

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'"
WRONG = {
    "an inline script": "<script>document.title = 'OWNED'</script>",
    "an inline style": "<p style='color: red'>red</p>",
    "a missing file": "<img src='/missing.png' alt='nothing'>",
    "a request elsewhere": "<img src='http://127.0.0.2:9/' alt='nothing'>",
    "an exception": "<script src='/throws.js'></script>",
}
BARRIERS = "<button></button><input><p class='pale'>pale</p>"
PAGE = (
    "<!doctype html><html lang='en'><title>A page</title><link rel='stylesheet' href='/page.css'>"
)
FILES = {
    "/throws.js": ("text/javascript", "null.nothing"),
    "/page.css": ("text/css", ".pale { color: #eee; background: #fff }"),
    "/fine": ("text/html", f"{PAGE}<main><h1>Fine</h1></main>"),
    "/barriers": ("text/html", f"{PAGE}<main><h1>Barriers</h1>{BARRIERS}</main>"),
    **{
        f"/{name.replace(' ', '-')}": ("text/html", f"{PAGE}<main><h1>No</h1>{body}</main>")
        for name, body in WRONG.items()
    },
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, text = FILES.get(self.path, ("text/plain", ""))
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Tests read what the browser says."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_page_is_heard(browser: Browser, site: str, name: str):
    view = View(browser, f"{site}/{name.replace(' ', '-')}")
    title = view.page.title()
    view.close()

    assert view.troubles
    assert title == "A page"


def test_what_keeps_people_out_is_seen_under_a_strict_policy(browser: Browser, site: str):
    view = View(browser, f"{site}/barriers")
    rules = {barrier.partition(" ")[0] for barrier in view.barriers()}
    view.close()

    assert rules == {"button-name", "color-contrast", "label"}
    assert view.troubles == []


def test_a_page_without_a_fault_has_none(open_view: Callable[..., View], site: str):
    view = open_view(f"{site}/fine")

    assert view.barriers() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_view_has_the_width_and_the_colours_that_were_asked_for(
    open_view: Callable[..., View], site: str, scheme: str
):
    view = open_view(f"{site}/fine", width=390, scheme=scheme)

    assert view.page.evaluate("innerWidth") == 390
    assert view.page.evaluate(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    assert view.photograph(f"fine-{scheme}").stat().st_size > 1000
