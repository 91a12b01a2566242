"""Serves the local event bus in a thread, and keeps the events that it took; it starts nothing."""

import asyncio
import threading
from typing import Any

from flowproject.changes.payload import decode
from flowproject.dev.event_bus import serve_bus
from flowproject.dev.triggers import Event

__all__ = ["RecordingBus"]

_PATIENCE = 60.0


class RecordingBus:
    """The bus of `flowproject dev`, with its rules of what an event is: `events` are those it took.

    Each is its payload with its values decoded: `name` in full, `id`, `change` and the payload key.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.url = ""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="event-bus", daemon=True)
        self._thread.start()
        self._ready.wait(_PATIENCE)

    def named(self, event_name: str) -> list[dict[str, Any]]:
        """The events of this name, as `flowproject.toml` has it: without project and branch."""
        return [event for event in self.events if event["name"].rpartition(".")[2] == event_name]

    def stop(self) -> None:
        """End the server."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        async with serve_bus(self._accept) as self.url:
            self._ready.set()
            await self._over.wait()

    def _accept(self, event: Event) -> bool:
        payload = decode(event.payload)
        if isinstance(payload, dict):
            self.events.append(payload)
        return True
