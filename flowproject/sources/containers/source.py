"""Observes containers of Azure and Google: opens them, lists keys, and says what was found.

Everything is listed at every look: obstore has no raw pages whose digest could be compared.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Cost, Memo, Observation, Past, Progress
from flowproject.config.data import AzureData, GcsData
from flowproject.sources import WithoutQueries, stopped, version_gone
from flowproject.sources.clouds import AzureAccess, GcsAccess
from flowproject.sources.containers.container import (
    Container,
    ListedObjects,
    check_before_start,
    check_keys,
    find_placeholders,
    last_key,
)
from flowproject.sources.containers.failures import explain, not_a_single_object, odd_key
from flowproject.sources.containers.location import AZURE, GCS, ContainerLocation
from flowproject.sources.objects import (
    Watch,
    identity,
    known_position,
    known_table,
    new_objects_observation,
    object_observation,
    table_observation,
    view,
)
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.manifest import key_bytes, key_text
from flowproject.tables.table import ObjectTable

__all__ = ["AzureSource", "CancellableRunner", "ContainerSource", "GcsSource", "read_object"]

_MOST_NOTED: Final = 10_000

_T = TypeVar("_T")


class CancellableRunner:
    """Runs coroutines until it is told to stop, and none after that. Thread-safe."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], asyncio.AbstractEventLoop] = {}
        self._stopped = False
        self._lock = Lock()

    def run(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run the coroutine: what it returns.

        Raises:
            SourceError: if it was stopped before or meanwhile.
        """
        return asyncio.run(self._guarded(start))

    def cancel(self) -> None:
        """End whatever runs, and whatever will."""
        with self._lock:
            self._stopped = True
            # As long as a task stands here, its loop is not closed.
            for task, loop in self._running.items():
                loop.call_soon_threadsafe(task.cancel)

    async def _guarded(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        # A task of its own: to cancel it ends the work, and not what must be done after that.
        task = asyncio.create_task(self._unless_stopped(start))
        with self._lock:
            self._running[task] = asyncio.get_running_loop()
        try:
            answer = await task
        except asyncio.CancelledError:
            raise stopped() from None
        finally:
            with self._lock:
                del self._running[task]
        return answer

    async def _unless_stopped(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        # Looked at inside the task: between this and the registration above nobody can slip in.
        if self._stopped:
            raise stopped()
        return await start()


class ContainerSource(WithoutQueries):
    """Observes the objects below a key, or one object."""

    def __init__(
        self,
        data: AzureData | GcsData,
        place: ContainerLocation,
        open_container: Callable[[], Container],
    ) -> None:
        super().__init__(data)
        self._data = data
        self._place = place
        self._open = open_container
        self._watch = Watch(place.prefix, data.include, data.marker)
        self._identity = identity(data.ignore)
        self._runner = CancellableRunner()
        self._progress: Progress | None = None

    def check(self) -> None:
        """Raise the SourceError of a key that can't be that of one object, where it must be."""
        mode = self._data.check_mode
        if mode.startswith("file_") and self._place.key in ("", self._place.prefix):
            raise not_a_single_object(self._place, mode)

    def observe(self, past: Past | None = None) -> Observation:
        """The table of objects, what came after the last key, or a property of the one object.

        Raises:
            SourceError: if there is no such container, it refuses or does not answer, or holds a
                key that obstore can't list exactly.
        """
        self.check()
        container = self._open()
        match self._data.check_mode:
            case "files_metadata":
                return self._runner.run(lambda: self._table(container, past))
            case "files_new":
                return self._runner.run(lambda: self._new(container, past))
            case _:
                return self._runner.run(lambda: self._one(container))

    def read(self, path: str, item: Mapping[str, Json]) -> bytes:
        """The content of an object, if it is still the one that `item` tells of.

        Raises:
            SourceError: if it is gone or another one by now, or the service does not answer.
        """
        container = self._open()
        found = self._runner.run(lambda: container.read(str(item["key"])))
        if found is None:
            raise version_gone("The object is not there any more", path)
        now, content = found
        seen = {name: item[name] for name in ("etag", "size", "modified") if name in item}
        # An ETag is of the content; where a store tells none, what else was seen has to do.
        told = {"etag": seen["etag"]} if seen.get("etag") else seen
        if {name: now.data.get(name) for name in told} != told:
            raise version_gone("The object is not the one any more that was seen", path)
        return content

    def progress(self) -> Progress | None:
        """How many objects a running look has listed, and how many there were before."""
        return self._progress

    def cancel(self) -> None:
        """End a running `observe`, whatever it waits for."""
        self._runner.cancel()

    async def _table(self, container: Container, past: Past | None) -> Observation:
        started = time.perf_counter()
        known = known_table(past)
        listed = await self._listed(container, expected=len(known or ()))
        # What stood for a folder at the last look does so now, as a rule. It is looked up first:
        # else it would count as new below, and the table would be built twice at every look.
        noted = _noted_folders(past)
        folders = await self._leave_out_folders(container, listed, noted)
        built = self._built(listed, known)
        fresh = {item.key for item in built.difference.arrived if not item.data["size"]}
        if more := await self._leave_out_folders(container, listed, fresh if known else None):
            built = self._built(listed, known)
        # Only what arrived is looked up: what is as it was, was looked up when it arrived. Without
        # a past that is everything, and need not be read back from the table.
        arrived = (item.key for item in built.difference.arrived) if known else listed.texts()
        await check_keys(container, arrived)
        cost = _cost(started, container, len(built.items))
        seen = table_observation(
            built, cost, compared=known is not None or not (past and past.items)
        )
        return replace(seen, memo=_folders_to_note(folders | more))

    async def _new(self, container: Container, past: Past | None) -> Observation:
        started = time.perf_counter()
        position = known_position(past, self._place.prefix)
        if position is None:
            last = await last_key(container, self._place.folder, self._watch)
            return new_objects_observation(last, None, _cost(started, container, 0))
        listed = await self._listed(container, after=position)
        await self._leave_out_folders(container, listed)
        # Such a key with a slash at its end would be new, and the listing began behind it.
        await check_before_start(container, set(listed.early))
        built = self._built(listed, None)
        await check_keys(container, listed.texts())
        last = key_text(max(listed.keys, default=key_bytes(position)))
        return new_objects_observation(
            last, built.difference, _cost(started, container, len(built.items))
        )

    async def _one(self, container: Container) -> Observation:
        started = time.perf_counter()
        found = await container.head(self._place.key)
        if found is None:
            # A missing container answers like a missing object, and is a mistake, not a state.
            await container.check()
        rows = 0 if found is None else 1
        cost = _cost(started, container, rows)
        return object_observation(self._data.check_mode, found, cost)

    async def _listed(
        self, container: Container, *, after: str = "", expected: int = 0
    ) -> ListedObjects:
        listed = ListedObjects(
            self._place, self._watch, after=after, needs_etag=self._identity == ("etag",)
        )
        async for chunk in container.listing(self._place.folder, after=after):
            listed.add(chunk)
            self._progress = Progress(seen=listed.count, expected=expected)
        return listed

    async def _leave_out_folders(
        self, container: Container, listed: ListedObjects, keys: set[str] | None = None
    ) -> set[str]:
        """Those of the keys (None: of all) whose objects only stand for a folder, left out now."""
        empty = listed.empty() if keys is None else listed.empty() & keys
        found = await find_placeholders(container, empty)
        listed.leave_out(found)
        return found

    def _built(self, listed: ListedObjects, known: ObjectTable | None) -> Built:
        """The table of what was listed; two keys that look the same are no table."""
        builder = TableBuilder(known, view=self._view, identity=self._identity)
        builder.put_all(listed.rows(), listed=listed.count)
        built = builder.finish()
        if len(built.items) != len(listed.keys):
            raise odd_key(listed.doubled(), self._place)
        return built

    @property
    def _view(self) -> str:
        data = self._data
        place = (str(self._place), data.type, data.endpoint_url)
        return view(*place, include=data.include, marker=data.marker, columns=self._identity)


def read_object(data: AzureData | GcsData, path: str, item: Mapping[str, Json]) -> bytes:
    """The content of an object, if it is still the one that `item` tells of.

    Raises:
        SourceError: if it is gone or another one by now, or the service does not answer.
    """
    source = AzureSource(data, Path()) if isinstance(data, AzureData) else GcsSource(data, Path())
    return source.read(path, item)


def _noted_folders(past: Past | None) -> set[str]:
    """The keys without their slash of what stood for folders at the last look."""
    noted = past.memo.get("folders") if past else None
    return {str(key) for key in noted} if isinstance(noted, list) else set()


def _folders_to_note(keys: set[str]) -> Memo:
    # Sorted, so that the memo is the same if they are; limited, because it is read at every tick.
    noted: list[Json] = [*sorted(keys)[:_MOST_NOTED]]
    return {"v": 1, "folders": noted} if keys else {}


def _cost(started: float, container: Container, rows: int) -> Cost:
    seconds = time.perf_counter() - started
    return Cost(seconds=seconds, requests=container.requests, rows=rows)


class AzureSource(ContainerSource):
    """Observes a container of Azure Blob Storage."""

    def __init__(self, data: AzureData, root: Path) -> None:
        del root  # nothing here is relative to the project's folder
        place = ContainerLocation.parse(AZURE, data.container, data.key)
        super().__init__(data, place, lambda: _open_azure(data, place))


def _open_azure(data: AzureData, place: ContainerLocation) -> Container:
    """The container, which is not asked anything yet.

    Raises:
        SourceError: if the configuration and the environment say too little, or nonsense.
    """
    from obstore.exceptions import BaseError

    cloud = AzureAccess(place.container, account=data.account, endpoint_url=data.endpoint_url)
    try:
        return Container(cloud.open(), place)
    except (BaseError, ValueError) as error:
        raise explain(error, place) from error


class GcsSource(ContainerSource):
    """Observes a bucket of Google Cloud Storage."""

    def __init__(self, data: GcsData, root: Path) -> None:
        del root  # nothing here is relative to the project's folder
        place = ContainerLocation.parse(GCS, data.bucket, data.key)
        super().__init__(data, place, lambda: _open_gcs(data, place))


def _open_gcs(data: GcsData, place: ContainerLocation) -> Container:
    """The bucket, which is not asked anything yet.

    Raises:
        SourceError: if the configuration or the environment says nonsense.
    """
    from obstore.exceptions import BaseError

    cloud = GcsAccess(place.container, endpoint_url=data.endpoint_url)
    try:
        return Container(cloud.open(), place)
    except (BaseError, ValueError) as error:
        raise explain(error, place) from error
