import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowproject.errors import SourceError
from flowproject.sources.containers.source import CancellableRunner


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_work_that_nobody_stops_returns_what_it_found():
    work = CancellableRunner()
    assert [work.run(answer), work.run(answer)] == [42, 42]


def test_an_error_is_the_error_of_the_work():
    async def fail() -> None:
        raise SourceError("no such thing")

    with pytest.raises(SourceError, match="no such thing"):
        CancellableRunner().run(fail)


def test_everything_that_runs_ends_when_it_is_stopped():
    work, started = CancellableRunner(), threading.Barrier(4)

    async def hang() -> None:
        await asyncio.to_thread(started.wait)
        await asyncio.Event().wait()

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(work.run, hang) for _ in range(3)]
        started.wait()
        work.cancel()
        for each in running:
            with pytest.raises(SourceError, match="told to stop"):
                each.result()


def test_nothing_starts_after_a_stop():
    work = CancellableRunner()
    work.cancel()
    work.cancel()
    with pytest.raises(SourceError, match="told to stop"):
        work.run(answer)
