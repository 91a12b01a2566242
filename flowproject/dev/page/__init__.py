"""Show the local loop in a browser: what the terminal says, and the journals.

`state` keeps what the loop emits; each view is worked out of it, and of the journal, as plain data
that a template or a machine reads; `application` serves them. Here they are put together.
"""

from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from flowproject.dev.dispatcher import Dispatcher
from flowproject.dev.messages import Listener
from flowproject.dev.page.actions import ActionRunner
from flowproject.dev.page.application import serve_page
from flowproject.dev.page.context import PageContext, open_project
from flowproject.dev.page.state import LoopState
from flowproject.dev.page.views import Views

__all__ = ["LoopState", "PageContext", "open_page", "open_project"]


@asynccontextmanager
async def open_page(
    context: PageContext,
    *,
    host: str,
    port: int,
    token: str,
    dispatcher: Dispatcher,
    reading: Executor,
    emit: Listener,
) -> AsyncIterator[str]:
    """Put views, actions and server together, and give the page's address while it is open.

    Raises:
        UsageError: if it can't be served there.
    """

    def set_active_sensors(sensors: tuple[str, ...] | None) -> None:
        dispatcher.active_sensors = sensors

    runner = ActionRunner(
        context,
        start=dispatcher.start,
        set_active_sensors=set_active_sensors,
        emit=emit,
    )
    async with serve_page(
        Views(context, reading), runner, host=host, port=port, token=token
    ) as address:
        yield address
