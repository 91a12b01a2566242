"""A page as a person meets it: its width and colours, what went wrong in it, who can use it."""

from pathlib import Path
from typing import Final, Literal
from urllib.parse import urljoin

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Request, WebError

from tests.conftest import ROOT

__all__ = ["Scheme", "View"]

Scheme = Literal["light", "dark"]
_PICTURES: Final = ROOT / "build" / "browser"
_GRAVE: Final = ("serious", "critical")


class View:
    """A page in a window of its own.

    `troubles` has what the browser complains of: exceptions, requests to anywhere else, and errors
    on the console, where it also tells what its policy forbids and which requests failed.
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
        self.page = self._window.new_page()
        self.page.goto(address)

    def barriers(self) -> list[str]:
        """What axe calls serious or critical: the rule, and the element that breaks it."""
        return [
            f"{rule['id']} ({rule['impact']}): {node['html']}"
            for rule in Axe().run(self.page).response["violations"]
            if rule["impact"] in _GRAVE
            for node in rule["nodes"]
        ]

    def photograph(self, name: str) -> Path:
        """A picture of the whole page, where git does not see it, for a person to look at."""
        file = _PICTURES / f"{name}.png"
        self.page.screenshot(path=file, full_page=True, animations="disabled")
        return file

    def close(self) -> None:
        """Close the window; what it complained of stays known."""
        self._window.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.troubles.append(f"{message.text} ({message.location['url']})")

    def _catch(self, error: WebError) -> None:
        self.troubles.append(f"{error.error}")

    def _follow(self, request: Request) -> None:
        if not request.url.startswith((self._home, "data:", "blob:")):
            self.troubles.append(f"a request to {request.url}")
