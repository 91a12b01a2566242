"""A page as a person meets it: its width and colours, what went wrong in it, who can use it."""

import os
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Request, Response, WebError

from tests.conftest import ROOT

__all__ = ["PATIENCE", "Scheme", "View"]

PATIENCE: Final = 60_000
"""Milliseconds that something may take which has to happen."""

Scheme = Literal["light", "dark"]
_PICTURES: Final = Path(os.environ.get("PICTURES") or ROOT / "build" / "browser")
_GRAVE: Final = ("serious", "critical")
_LOOKED_AT: Final = {"resultTypes": ["violations"], "iframes": False}
"""Cards are pages of their own, in which axe can't look; it would wait for their answer."""

_DRAWN: Final = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class View:
    """A page in a window of its own.

    `troubles` has what the browser complains of: exceptions, boxes of scripts, requests to anywhere
    else, and errors on the console, where it also tells what its policy forbids and which requests
    failed. A card may try what it likes (Metaflow's ask for a font): only what gets through counts.
    """

    def __init__(
        self, browser: Browser, address: str, *, width: int = 1280, scheme: Scheme = "light"
    ) -> None:
        self.troubles: list[str] = []
        self._home = urljoin(address, "/")
        self._window = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self._window.on("console", self._hear)
        self._window.on("weberror", self._catch)
        self._window.on("request", self._follow)
        self._window.on("response", self._answered)
        self._window.on("dialog", self._dismiss)
        self.page = self._window.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.goto(address)

    def barriers(self, part: str | None = None) -> list[str]:
        """What axe calls serious or critical: the rule, and the element that breaks it.

        `part` selects the element that is looked at, if it is not the whole page.
        """
        return [
            f"{rule['id']} ({rule['impact']}): {node['html']}"
            for rule in Axe().run(self.page, part, _LOOKED_AT).response["violations"]
            if rule["impact"] in _GRAVE
            for node in rule["nodes"]
        ]

    def photograph(self, name: str, *, whole: bool = True) -> Path:
        """A picture of the page, or of what its window shows of it, for a person to look at.

        It goes to the folder `PICTURES`, or else to where git does not see it.
        """
        file = _PICTURES / f"{name}.png"
        seen = self.page.viewport_size
        assert seen
        # A window as high as the page: what is below the fold has its frames not drawn.
        height = self.page.evaluate("document.documentElement.scrollHeight")
        if whole:
            self.page.set_viewport_size({"width": seen["width"], "height": height})
            # Part of it alone needs no frame, and one below the fold is never drawn.
            for frame in self.page.frames:
                frame.evaluate(_DRAWN)
        self.page.screenshot(path=file, animations="disabled")
        self.page.set_viewport_size(seen)
        return file

    def go(self, address: str) -> None:
        """Follow an address of the same page, such as that of a change."""
        self.page.goto(urljoin(self._home, address))

    def close(self) -> None:
        """Close the window; what it complained of stays known."""
        self._window.close()

    def _hear(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        if message.type == "error" and not _is_card(where):
            self.troubles.append(f"{message.text} ({where})")

    def _catch(self, error: WebError) -> None:
        self.troubles.append(f"{error.error}")

    def _dismiss(self, box: Dialog) -> None:
        self.troubles.append(f"a box that says {box.message}")
        box.dismiss()

    def _follow(self, request: Request) -> None:
        if not self._is_own(request.url) and not _is_card(request.frame.url):
            self.troubles.append(f"a request to {request.url}")

    def _answered(self, response: Response) -> None:
        if not self._is_own(response.url):
            self.troubles.append(f"an answer of {response.url}")

    def _is_own(self, address: str) -> bool:
        return address.startswith((self._home, "data:", "blob:"))


def _is_card(address: str) -> bool:
    return urlsplit(address).path.startswith("/cards/")
