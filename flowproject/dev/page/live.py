"""What a page that is open is told as it happens: server-sent events, at most three a second."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
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
_LONGEST_LINE: Final = 64 * 1024
_BREAK: Final = re.compile(r"\r\n|\r|\n")
_LIVE_HEADERS: Final = {"X-Accel-Buffering": "no"}


def happened(board: Board, since: int) -> StreamingResponse:
    """`happened` whenever something has, from the `since`-th happening on; `over` at the end."""
    return _stream(_news(board, since))


def follow_log(board: Board, run: Run, start: int) -> StreamingResponse:
    """`line` for each line that the run prints, from this byte of its log on; `end` at the end.

    The id of each is the byte after it: who lost the line goes on from there.
    """
    return _stream(_lines(board, run, start))


async def _news(board: Board, since: int) -> AsyncIterator[str]:
    told = since
    with board.watching() as moved:
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
    rest, told = b"", start
    with board.reading(run.name) as moved:
        while True:
            moved.clear()
            over = board.over or run.name not in board.running
            content = await asyncio.to_thread(_read, run.log, start)
            start += len(content)
            lines, rest = _split(rest + content)
            for line in lines:
                told += len(line)
                yield _message("line", _text(line), id=str(told))
            if over and not content:
                break
            if not content and not await _moved(moved):
                yield ": open\n\n"
    if rest:
        yield _message("line", _text(rest))
    yield _message("end", "{}")


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
            file.seek(min(start, file.seek(0, os.SEEK_END)))
            return file.read(_CHUNK)
    except FileNotFoundError:  # pruned: the newest logs are kept
        return b""


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    """Lines with their ends, and what has none yet. What never ends is cut."""
    lines = content.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < _LONGEST_LINE:
        return lines[:-1], lines[-1]
    return lines, b""


def _text(line: bytes) -> str:
    return plain_text(line.decode(errors="replace")).rstrip("\r\n")


def _message(event: str, data: str, **fields: str) -> str:
    """One message. A line break inside the data would end it: such text goes in several lines."""
    names = "".join(f"{name}: {text}\n" for name, text in fields.items())
    body = "".join(f"data: {line}\n" for line in _BREAK.split(data))
    return f"event: {event}\n{names}{body}\n"


def _stream(messages: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(messages, media_type="text/event-stream", headers=_LIVE_HEADERS)
