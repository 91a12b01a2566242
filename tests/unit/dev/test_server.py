"""A server of the loop in a process of few files, and a crowd that connects and asks nothing."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

PATIENCE = 30.0
SERVER = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from flowproject.dev import server
server._REQUEST = float(sys.argv[1])

async def told(request):
    await request.body()
    return PlainTextResponse("here")

async def main():
    async with server.serve(Starlette(routes=[Route("/", told, methods=["POST"])]), port=0) as at:
        print(at[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    line = [sys.executable, "-c", SERVER, "1.0"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process, int(process.stdout.readline())
        process.kill()


def ask(port: int) -> int:
    """The status of an answer; 0 if there was none."""
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", content=b"x", trust_env=False).status_code
    except httpx.HTTPError:
        return 0


def answer_of(connection: socket.socket) -> bytes:
    """What came before the server closed it."""
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_three_hundred_connections_that_ask_nothing_end_and_the_server_goes_on(
    server: tuple[subprocess.Popen[str], int],
):
    process, port = server
    crowd = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(300)]
    for one in crowd[:10]:  # these dribble: a request that never ends is none
        one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
    answers = [answer_of(one) for one in crowd]
    deadline = time.monotonic() + PATIENCE
    while ask(port) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for one in crowd:
        one.close()
    assert any(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
    assert process.poll() is None
    assert process.stdin
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr
    assert process.stderr.read() == ""


def test_a_connection_that_is_asked_on_stays_open(server: tuple[subprocess.Popen[str], int]):
    _, port = server
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while not asked_in_time(client):
            """The machine had something else to do for so long that the connection was silent."""


def asked_in_time(client: httpx.Client) -> bool:
    """Ask for two and a half times what a silent connection gets; False if it was silent once."""
    begun = last = time.monotonic()
    places = set()
    while last < begun + 2.5:
        answer = client.post("/", content=b"x")
        assert answer.status_code == 200
        places.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        time.sleep(0.1)
        if time.monotonic() - last > 0.8:
            return False
        last = time.monotonic()
    assert len(places) == 1
    return True
