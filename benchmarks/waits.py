"""How often a tick waits for the store, one request after the other, if each takes 50 ms."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn

__all__ = ["measure"]

_LATENCY: Final = 0.05
_ROUNDS: Final = 7
_MOST: Final = 7
_ADDRESS: Final = "METAFLOW_ARGO_EVENTS_WEBHOOK_URL"


class _SlowStore:
    """A real store that answers late; requests `at_once`, or one after the other."""

    def __init__(self, store: Any, *, at_once: bool) -> None:
        self._store = store
        self._at_once = at_once
        self.waits: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def late(*arguments: object) -> object:
            begun = time.perf_counter()
            time.sleep(_LATENCY)
            answer = method(*arguments)
            self.waits.append((begun, time.perf_counter()))
            return answer

        return late

    def concurrently(self, questions: Sequence[Callable[[], Any]]) -> list[Any]:
        """The answers to questions that need not wait for each other."""
        if self._at_once:
            answers: list[Any] = self._store.concurrently(questions)
            return answers
        return [question() for question in questions]

    @property
    def in_sequence(self) -> int:
        """The most requests of which each began after the one before had its answer."""
        count, end = 0, 0.0
        for begun, ended in sorted(self.waits, key=lambda wait: wait[1]):
            if begun >= end:
                count, end = count + 1, ended
        return count


@dataclass(frozen=True, kw_only=True)
class _Waited:
    seconds: float
    requests: int
    in_sequence: int


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Ours beside the same requests one after the other, for a folder and for one value."""
    with _bus():
        for kind in ("a folder", "a query's one value"):
            root = folder / kind.replace(" ", "-")
            yield from _figures(root, kind, quick=quick)


def _figures(root: Path, kind: str, *, quick: bool) -> Iterator[Figure]:
    tick, what = _ticking(root, kind), f"a tick of {kind} that changed"
    ours, peer = in_turn(
        lambda: tick(at_once=True), lambda: tick(at_once=False), rounds=_ROUNDS, quick=quick
    )
    yield Comparison(
        ours_is=f"{what}, from the look to the memo of what was sent",
        peer_is="the same requests, one after the other",
        fair_because="one process, one store, a change at each tick, which is recorded, sent to a "
        f"bus over HTTP and noted, for a flow that took the one before. {ours[0].requests} "
        "requests in ours, which asks ahead for what will be read, and "
        f"{peer[0].requests} in its peer; each is answered after 50 ms",
        ours=[each.seconds for each in ours],
        peer=[each.seconds for each in peer],
    )
    yield Limit(
        what=f"requests of {what} of which each waits for the one before; its peer has "
        f"{peer[0].in_sequence}",
        amount=max(each.in_sequence for each in ours),
        most=_MOST,
        unit="requests",
    )


def _ticking(root: Path, kind: str) -> Callable[..., _Waited]:
    """Changes the data and ticks: what that took."""
    # Late: Metaflow reads its settings once.
    from flowproject import sensing
    from flowproject.config import DuckDBData, FilesData, Project, Schedule, Sensor
    from flowproject.journal import Receipt, open_store
    from flowproject.sensing import ProjectContext

    (root / "in").mkdir(parents=True)
    (root / "sql").mkdir()
    (root / "sql" / "size.sql").write_text("SELECT length(content) FROM read_text('in/a')")
    data = FilesData(path="in") if kind == "a folder" else DuckDBData(query="size")
    sensor = Sensor(name="files", data=data, event_name="files_changed")
    project = Project(project_name="bench", sensor=Schedule(), sensors={"files": sensor})
    real = open_store(str(root / "store"))
    sizes = iter(range(1, 1_000_000))

    def context(store: Any) -> ProjectContext:
        return ProjectContext(
            project=project, root=root, store=store, branch="user.bench", run="SensorFlow/1"
        )

    def once(store: Any) -> Any:
        (root / "in" / "a").write_text("x" * next(sizes), encoding="utf-8")
        [seen] = sensing.publish(context(store), sensing.observe(context(store)))
        return seen

    def settled(seen: Any) -> None:
        """The flow takes it, and the next tick notes that."""
        journal = context(real).journal("files")
        receipt = Receipt(
            seq=seen.seq, id=seen.id, attempt=1, flow="Flow", run="Flow/1", at=seen.at
        )
        journal.receipts.claim(receipt)
        sensing.observe(context(real))

    def tick(*, at_once: bool) -> _Waited:
        store = _SlowStore(real, at_once=at_once)
        begun = time.perf_counter()
        seen = once(store)
        seconds = time.perf_counter() - begun
        if seen.outcome != "changed" or seen.pending:
            raise RuntimeError(f"nothing was recorded and sent: {seen}")
        settled(seen)
        return _Waited(seconds=seconds, requests=len(store.waits), in_sequence=store.in_sequence)

    once(real)
    context(real).journal("files").outbox.record_listeners(["Flow"], by="bench")
    settled(once(real))
    return tick


@contextmanager
def _bus() -> Iterator[None]:
    """A bus that takes everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with patch.dict(os.environ, {_ADDRESS: address}):
            yield
        server.shutdown()
