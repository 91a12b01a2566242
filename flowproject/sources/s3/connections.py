"""Connections that are kept open between requests, and can all be cut at once."""

import socket
from collections import defaultdict, deque
from contextlib import suppress
from threading import Lock
from typing import cast

from flowproject.sources.s3.answer import Answer, CutAnswerError, read_answer
from flowproject.sources.s3.dialling import Address, dial

__all__ = ["Connections"]


class Connections:
    """The connections of one bucket; threads may share them.

    A request takes a free one or dials, so there are as many as there are requests at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: defaultdict[Address, deque[_Connection]] = defaultdict(deque)
        self._wires = _Wires()

    def ask(self, address: Address, request: bytes, *, to_head: bool = False) -> Answer:
        """What the server answers to a request.

        Raises:
            OSError: if there is no connection, or it ends before the answer does.
        """
        with self._lock:
            free = self._free[address]
            connection = free.pop() if free else None
        if connection is not None:
            # A server may close a connection while it is idle: that is no failure yet.
            with suppress(_StaleError):
                return self._ask(connection, address, request, to_head=to_head)
        return self._ask(_Connection(address, self._wires), address, request, to_head=to_head)

    def _ask(
        self, connection: "_Connection", address: Address, request: bytes, *, to_head: bool
    ) -> Answer:
        answer = None
        try:
            answer = connection.ask(request, to_head=to_head)
        finally:
            self._give_back(connection, address, usable=answer is not None and answer.keeps)
        return answer

    def _give_back(self, connection: "_Connection", address: Address, *, usable: bool) -> None:
        with self._lock:
            if usable and not self._wires.are_cut:
                self._free[address].append(connection)
                return
        connection.close()

    def cut(self) -> None:
        """End every connection, also one that is only being dialled; there will be no more."""
        with self._lock:
            self._wires.cut()
            free = [connection for some in self._free.values() for connection in some]
            self._free.clear()
        for connection in free:
            connection.close()


class _StaleError(ConnectionError):
    """A connection that carried a request before turned out to be closed."""


class _Connection:
    """One connection; one request at a time."""

    def __init__(self, address: Address, wires: "_Wires") -> None:
        self._wires = wires
        self._handles: list[socket.socket] = []
        self._used = False
        try:
            self._link = dial(address, lambda sock: self._handles.append(wires.add(sock)))
        except BaseException:
            wires.drop(self._handles)
            raise
        self._socket = cast("socket.socket", self._link.sock)
        self._stream = self._socket.makefile("rb")

    def ask(self, request: bytes, *, to_head: bool) -> Answer:
        try:
            self._send(request)
        except TimeoutError:
            raise
        except OSError as error:
            raise (_StaleError(str(error)) if self._used else error) from error
        self._used = True
        return read_answer(self._stream, to_head=to_head)

    def _send(self, request: bytes) -> None:
        """Send it and wait for the first byte of the answer."""
        self._socket.sendall(request)
        if not self._stream.peek(1):
            raise CutAnswerError("the server closed the connection without an answer")

    def close(self) -> None:
        self._wires.drop(self._handles)
        with suppress(OSError):  # TLS may have something to say to a peer that is gone
            self._stream.close()
            self._link.close()


class _Wires:
    """A second handle on each socket, by which it can be cut whoever is reading from it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._handles: set[socket.socket] = set()
        self.are_cut = False

    def add(self, sock: socket.socket) -> socket.socket:
        """The handle on a socket; TLS will take the socket itself out of our hands."""
        with self._lock:
            if self.are_cut:
                raise ConnectionAbortedError("told to stop")
            handle = sock.dup()
            self._handles.add(handle)
            return handle

    def drop(self, handles: list[socket.socket]) -> None:
        with self._lock:
            for handle in handles:
                self._handles.discard(handle)
                handle.close()

    def cut(self) -> None:
        with self._lock:
            self.are_cut = True
            for handle in self._handles:
                with suppress(OSError):  # not connected (any more)
                    handle.shutdown(socket.SHUT_RDWR)
