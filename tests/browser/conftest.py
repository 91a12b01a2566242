"""Headless Chromium by its own command line: a page goes in, what a person would see comes out."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # offline: no name leads anywhere
    "--virtual-time-budget=10000",
)
# Runs behind the page's own scripts and leaves what it saw on the body.
PROBE = """<script>setTimeout(() => {
  const all = (css, read) => [...document.querySelectorAll("main " + css)].map(read);
  const texts = (css) => all(css, (node) => node.textContent.trim().replaceAll("\\u00a0", " "));
  document.body.dataset.seen = JSON.stringify({
    title: document.title,
    headings: texts("section > .heading h3"), cells: texts("td"), code: texts("pre"),
    texts: texts("*"),
    foreign: all(":is(img, script, a, iframe)", (node) => node.outerHTML),
    points: all("path[aria-roledescription=point]", () => 1).length,
    lines: all("g.mark-line path", (node) => node.getAttribute("stroke")),
    chart: Math.min(...all("svg.marks", (node) => node.getBoundingClientRect().width)),
    page: document.documentElement.scrollWidth, window: window.innerWidth });
}, 3000)</script>"""


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("NO CHROMIUM: cards were not looked at. Install it: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def look(chromium: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Open a page in a window of some width."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def looked(html: str, width: int = 1280) -> dict[str, Any]:
            page = Path(folder, "page.html")
            body, end, rest = html.rpartition("</body>")
            page.write_text(f"{body}{PROBE}{end}{rest}", "utf-8")
            profile = tempfile.mkdtemp(dir=folder)
            window = (f"--user-data-dir={profile}", f"--window-size={width},900")
            command = [chromium, *FLAGS, *window, "--dump-dom", page.as_uri()]
            done = subprocess.run(command, capture_output=True, check=True, timeout=60)
            seen = re.search(r'<body[^>]* data-seen="([^"]*)"', done.stdout.decode("utf-8"))
            assert seen, "the page's scripts never ended"
            return json.loads(unescape(seen[1]))

        yield looked
