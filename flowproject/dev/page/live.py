"""What a page that is open is told as it happens: server-sent events, at most three a second."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from starlette.responses import StreamingResponse

from flowproject.dev.launcher import plain_text
from flowproject.dev.page.board import Board, Run

__all__ = ["follow_log", "happened"]

_PAUSE: Final = 0.33
"""Seconds between two messages: what happens meanwhile is told with the next one."""
_HEARTBEAT: Final = 20.0
"""Seconds after which a silent line says that it is open: so a lost browser is noticed."""
_CHUNK: Final = 64 * 1024
_LIVE_HEADERS: Final = {"X-Accel-Buffering": "no"}


def happened(board: Board, since: int) -> StreamingResponse:
    """`happened` whenever something has, from the `since`-th happening on; `over` at the end."""
    return _stream(_news(board, since))


def follow_log(board: Board, run: Run, start: int) -> StreamingResponse:
    """`line` for each line that the run prints, from this byte of its log on; `end` at the end."""
    return _stream(_lines(board, run, start))


async def _news(board: Board, since: int) -> AsyncIterator[str]:
    told = since
    with _watching(board.watchers) as moved:
        yield "retry: 1000\n\n"
        while not board.over:
            if board.number == told:
                if not await _moved(moved):
                    yield ": open\n\n"
                continue
            told = board.number
            yield _message("happened", json.dumps({"number": told}), id=str(told))
            await asyncio.sleep(_PAUSE)
    yield _message("over", "{}")


async def _lines(board: Board, run: Run, start: int) -> AsyncIterator[str]:
    rest = b""
    with _watching(board.readers[run.name]) as moved:
        while True:
            moved.clear()
            over = board.over or run.name not in board.running
            content = await asyncio.to_thread(_read, run.log, start)
            start += len(content)
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                yield _message("line", plain_text(line.decode(errors="replace")))
            if over and not content:
                break
            if not content and not await _moved(moved):
                yield ": open\n\n"
    if rest:
        yield _message("line", plain_text(rest.decode(errors="replace")))
    yield _message("end", "{}")


@contextmanager
def _watching(watchers: set[asyncio.Event]) -> Iterator[asyncio.Event]:
    moved = asyncio.Event()
    watchers.add(moved)
    try:
        yield moved
    finally:
        watchers.discard(moved)


async def _moved(moved: asyncio.Event) -> bool:
    """Whether something moved before it was time for a sign of life."""
    try:
        await asyncio.wait_for(moved.wait(), _HEARTBEAT)
    except TimeoutError:
        return False
    moved.clear()
    return True


def _read(log: Path, start: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(start)
            return file.read(_CHUNK)
    except FileNotFoundError:  # pruned: the newest logs are kept
        return b""


def _message(event: str, data: str, **fields: str) -> str:
    """One message. A line break inside the data would end it: such text goes in several lines."""
    names = "".join(f"{name}: {text}\n" for name, text in fields.items())
    body = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {event}\n{names}{body}\n"


def _stream(messages: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(messages, media_type="text/event-stream", headers=_LIVE_HEADERS)
