"""The process that answers: a thread for each connection, which waits and sends, nothing else."""

import json
import socket
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, unquote_plus

from benchmarks.replay.listing import Buffers, list_objects
from benchmarks.replay.mutations import mutate
from benchmarks.replay.rows import Rows

__all__ = ["BUCKET", "CONTROL", "Server"]

BUCKET: Final = "bench"
CONTROL: Final = "-"
"""Stands where S3 has the name of a bucket, and can't be one."""

_BACKLOG: Final = 512
_CHUNK: Final = 65_536
_REGION: Final = "us-east-1"
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True)
class _Request:
    method: str
    bucket: str
    key: str
    query: dict[str, str]


@dataclass(frozen=True)
class _Answer:
    body: Buffers
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[str, ...] = ("Content-Type: application/xml",)


class Server:
    """A bucket on a free port of this machine's loopback."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._latency = 0.0
        self._requests = self._at_once = self._most_at_once = self._turn = 0
        self._cpu = time.process_time()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    def serve(self) -> None:
        """Answer until the process ends."""
        while True:
            connection, _ = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        """Answer one request after the other until the client goes away."""
        received = b""
        with connection:
            while chunk := _received(connection):
                received += chunk
                while b"\r\n\r\n" in received:
                    head, _, received = received.partition(b"\r\n\r\n")
                    if not _sent(connection, self._reply(_parsed(head))):
                        return

    def _reply(self, request: _Request) -> Buffers:
        if request.bucket == CONTROL:
            facts = json.dumps(self._control(request)).encode()
            return _rendered(_Answer([facts], headers=("Content-Type: application/json",)))
        with self._lock:
            self._requests += 1
            self._at_once += 1
            self._most_at_once = max(self._most_at_once, self._at_once)
        if self._latency:
            time.sleep(self._latency)
        try:
            answer = self._answer(request)
        except ValueError as error:
            answer = _refused(HTTPStatus.BAD_REQUEST, "InvalidArgument", str(error))
        with self._lock:
            self._at_once -= 1
        return _rendered(answer, bodiless=request.method == "HEAD")

    def _answer(self, request: _Request) -> _Answer:
        query = request.query
        if request.bucket != BUCKET:
            return _refused(HTTPStatus.NOT_FOUND, "NoSuchBucket", "There is no such bucket")
        if request.key:
            return self._object(request)
        if request.method == "HEAD":
            return _Answer([], headers=(f"x-amz-bucket-region: {_REGION}",))
        if "list-type" in query:
            return _Answer(list_objects(self._rows, BUCKET, query))
        if "location" in query:
            return _Answer([f"{_XML}<LocationConstraint/>".encode()])
        if "versioning" in query:
            return _Answer([f"{_XML}<VersioningConfiguration/>".encode()])
        return _refused(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", f"Not made up: {query}")

    def _object(self, request: _Request) -> _Answer:
        """The headers of one object; it has no content."""
        number = self._rows.after(request.key.encode()) - 1
        if number < 0 or self._rows[number] != request.key.encode():
            return _refused(HTTPStatus.NOT_FOUND, "NoSuchKey", "There is no such object")
        if request.method != "HEAD":
            return _refused(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "It has no content")
        row = self._rows.row(number)
        return _Answer(
            [],
            headers=(
                f'ETag: "{row.etag}"',
                f"Last-Modified: {formatdate(row.modified.timestamp(), usegmt=True)}",
                f"Content-Length: {row.size}",
            ),
        )

    def _control(self, request: _Request) -> dict[str, object]:
        """What is told to the server itself; not counted and never slowed down."""
        query = request.query
        match request.key:
            case "latency":
                self._latency = float(query["seconds"])
            case "mutate":
                self._turn += 1
                self._rows, done = mutate(self._rows, query["kind"], self._turn)
                return done._asdict()
            case "reset":
                self._requests = self._most_at_once = 0
                self._cpu = time.process_time()
            case "keys":
                every = int(query["every"])
                numbers = range(every - 1, len(self._rows), every)
                return {"keys": [key.decode() for key in self._rows.keys(numbers)]}
        return {
            "objects": len(self._rows),
            "requests": self._requests,
            "most_at_once": self._most_at_once,
            "cpu": time.process_time() - self._cpu,
        }


def _received(connection: socket.socket) -> bytes:
    """What the client sends next; nothing if it is gone."""
    try:
        return connection.recv(_CHUNK)
    except ConnectionError:
        return b""


def _sent(connection: socket.socket, buffers: Buffers) -> bool:
    """Whether the client took all of it."""
    left = [memoryview(each) for each in buffers if len(each)]
    try:
        while left:
            taken = connection.sendmsg(left)
            while left and taken >= len(left[0]):
                taken -= len(left.pop(0))
            left[:1] = [each[taken:] for each in left[:1]]
    except ConnectionError:
        return False
    return True


def _parsed(head: bytes) -> _Request:
    method, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
    path, _, query = target.partition("?")
    bucket, _, key = path.removeprefix("/").partition("/")
    pairs = [each.partition("=") for each in query.split("&")] if query else []
    return _Request(method, bucket, unquote(key), {name: _plain(value) for name, _, value in pairs})


def _plain(value: str) -> str:
    return unquote_plus(value) if "%" in value or "+" in value else value


def _refused(status: HTTPStatus, code: str, message: str) -> _Answer:
    error = f"{_XML}<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return _Answer([error.encode()], status)


def _rendered(answer: _Answer, *, bodiless: bool = False) -> Buffers:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Date: {_date(int(time.time()))}",
        *answer.headers,
    ]
    if not any(each.startswith("Content-Length") for each in answer.headers):
        lines.append(f"Content-Length: {sum(map(len, answer.body))}")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return [head] if bodiless else [head, *answer.body]


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)
