"""A page served in this process, without a loop, and one who follows it in another process."""

import asyncio
import http.client
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Final, TypeVar
from urllib.parse import urlsplit

from flowproject.dev.page.actions import ActionRunner
from flowproject.dev.page.application import serve_page
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.views import Views

__all__ = ["Served", "served"]

_PATIENCE: Final = 120
_T = TypeVar("_T")


class Served:
    """The page at an address, and the thread that serves it."""

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.address = address
        self._loop = loop

    def there(self, deed: Callable[[], _T]) -> _T:
        """What the deed gives, done in the thread of the server."""

        async def do() -> _T:
            return deed()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(_PATIENCE)

    def get(self, path: str) -> float:
        """The seconds from the connection to the last byte of the answer."""
        place = urlsplit(self.address)
        begun = perf_counter()
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=_PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status}\n{content.decode()}")
        return perf_counter() - begun

    @contextmanager
    def followed(self) -> Iterator[Callable[[], None]]:
        """A page that is open: what is given waits until it has renewed itself."""
        command = [sys.executable, "-m", "benchmarks.browser", self.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as browser:
            output = browser.stdout

            def renewed() -> None:
                if output is None or not output.readline():
                    raise RuntimeError("the page that was open is gone")

            try:
                renewed()
                yield renewed
            finally:
                browser.kill()


@contextmanager
def served(context: PageContext) -> Iterator[Served]:
    """The page of what is known, served in a thread of its own."""
    ready: list[Served] = []
    news, over = threading.Event(), asyncio.Event()

    async def serve(reading: ThreadPoolExecutor) -> None:
        runner = ActionRunner(
            context,
            start=lambda _: None,
            set_active_sensors=lambda _: None,
            emit=context.loop.update,
        )
        views = Views(context, reading)
        async with serve_page(views, runner, host="127.0.0.1", port=0, token="") as address:
            ready.append(Served(address, asyncio.get_running_loop()))
            news.set()
            await over.wait()

    def run() -> None:
        with ThreadPoolExecutor(max_workers=1) as reading:
            asyncio.run(serve(reading))

    thread = threading.Thread(target=run)
    thread.start()
    if not news.wait(_PATIENCE):
        raise RuntimeError("the page was not served")
    try:
        yield ready[0]
    finally:
        ready[0].there(over.set)
        thread.join(_PATIENCE)
