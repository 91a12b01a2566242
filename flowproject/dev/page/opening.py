"""The page put together: what it knows, its views, its actions and its server."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

from flowproject.config.parse import load
from flowproject.dev.dispatcher import Dispatcher
from flowproject.dev.happenings import Listener
from flowproject.dev.page.application import serve_page
from flowproject.dev.page.doing import Doer
from flowproject.dev.page.knowledge import Knowledge
from flowproject.dev.page.views import Views
from flowproject.dev.settings import PageSettings
from flowproject.flowfiles import FlowFile
from flowproject.journal import open_store
from flowproject.sensing import Scene

__all__ = ["open_page", "scene_of"]


@asynccontextmanager
async def open_page(
    known: Knowledge,
    settings: PageSettings,
    *,
    dispatcher: Dispatcher,
    reading: Executor,
    tell: Listener,
) -> AsyncIterator[str]:
    """The address of the page, for as long as it is open.

    Raises:
        UsageError: if it can't be served there.
    """

    def keep_awake(sensors: tuple[str, ...] | None) -> None:
        dispatcher.awake = sensors

    doer = Doer(
        known,
        start=dispatcher.start,
        keep_awake=keep_awake,
        tell=tell,
    )
    async with serve_page(
        Views(known, reading), doer, host=settings.host, port=settings.port, token=settings.token
    ) as address:
        yield address


def scene_of(root: Path, flows: Sequence[FlowFile]) -> Scene | None:
    """Where the journals of these flows are; None if none of them tells its branch.

    Raises:
        ConfigError: if the configuration can't be read.
        JournalError: if the datastore can't be opened.
    """
    ours = next((flow for flow in flows if flow.inherits_ours and flow.branch), None)
    if ours is None:
        return None
    store = open_store(ours.datastore)
    return Scene(project=load(root), root=root, store=store, branch=ours.branch)
