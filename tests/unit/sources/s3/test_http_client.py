"""Ways to a server (TLS, and proxies), and answers read off them."""

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from socket import create_connection, create_server, socket
from ssl import SSLCertVerificationError

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from flowproject.sources.s3 import http_client
from flowproject.sources.s3.http_client import (
    Address,
    BrokenResponseError,
    ConnectionPool,
    HttpResponse,
    read_response,
)

BODY = b"<ListBucketResult/>"
REQUEST = b"GET /lake?list-type=2 HTTP/1.1\r\nhost:127.0.0.1\r\n\r\n"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that only itself vouches for, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Handler(BaseHTTPRequestHandler):
    """Answers every GET, and as a proxy leads every CONNECT to where it points."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self._note()
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_CONNECT(self) -> None:
        self._note()
        host, _, port = self.path.partition(":")
        with create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(far, self.connection))
            back.start()
            _pump(self.connection, far)
            back.join()
        self.close_connection = True

    def _note(self) -> None:
        allowed = self.headers.get("Proxy-Authorization", "")
        self.asked.append((self.command, self.path, allowed))

    def log_message(self, *_: object) -> None:
        """Tests read `asked`."""


def _pump(source: socket, sink: socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(1)
    except OSError:
        return


class Server:
    def __init__(self, certificate: Path | None = None) -> None:
        self.asked: list[tuple[str, str, str]] = []
        handler = type("Noting", (Handler,), {"asked": self.asked})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def address(self, ca_bundle: str = "", *, secure: bool = False, proxy: str = "") -> Address:
        return Address(
            secure=secure, host="127.0.0.1", port=self.port, ca_bundle=ca_bundle, proxy=proxy
        )

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def secure(certificate: Path) -> Iterator[Server]:
    server = Server(certificate)
    yield server
    server.stop()


@pytest.fixture
def plain() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def connections() -> Iterator[ConnectionPool]:
    connections = ConnectionPool()
    yield connections
    connections.cut()


def test_tls_is_spoken_to_whom_the_bundle_vouches_for(
    secure: Server, connections: ConnectionPool, certificate: Path
):
    address = secure.address(str(certificate), secure=True)
    for _ in range(3):
        assert connections.ask(address, REQUEST).body == BODY
    assert len(secure.asked) == 3


def test_a_server_that_nobody_vouches_for_is_refused(secure: Server, connections: ConnectionPool):
    stranger = secure.address(ssl.get_default_verify_paths().cafile or "", secure=True)
    if not stranger.ca_bundle:
        pytest.skip("this machine has no certificates of its own")
    with pytest.raises(SSLCertVerificationError):
        connections.ask(stranger, REQUEST)
    assert secure.asked == []


def test_a_certificate_is_for_one_name(
    secure: Server, connections: ConnectionPool, certificate: Path
):
    address = replace(secure.address(str(certificate), secure=True), host="localhost")
    with pytest.raises(SSLCertVerificationError, match="localhost"):
        connections.ask(address, REQUEST)


def test_certificates_are_not_checked_if_there_is_no_bundle(
    secure: Server, connections: ConnectionPool
):
    assert connections.ask(secure.address(secure=True), REQUEST).body == BODY


def test_tls_to_a_server_that_speaks_none_is_an_error(plain: Server, connections: ConnectionPool):
    with pytest.raises(OSError, match="SSL"):
        connections.ask(plain.address(secure=True), REQUEST)


def test_a_proxy_is_a_tunnel_for_tls(
    plain: Server, secure: Server, connections: ConnectionPool, certificate: Path
):
    proxy = f"http://me:hush@127.0.0.1:{plain.port}"
    address = secure.address(str(certificate), secure=True, proxy=proxy)
    assert connections.ask(address, REQUEST).body == BODY
    assert plain.asked == [("CONNECT", f"127.0.0.1:{secure.port}", "Basic bWU6aHVzaA==")]
    assert not address.forwarded


def test_a_proxy_reads_requests_that_are_not_secret(plain: Server, connections: ConnectionPool):
    proxy = f"http://me:hush@127.0.0.1:{plain.port}"
    address = Address(secure=False, host="s3.invalid", port=80, proxy=proxy)
    assert address.forwarded
    assert address.proxy_headers == {"proxy-authorization": "Basic bWU6aHVzaA=="}
    assert connections.ask(address, REQUEST).body == BODY


@pytest.mark.parametrize("phase", ["handshake", "tunnel"])
def test_connecting_ends_when_all_connections_are_cut(phase: str):
    connections = ConnectionPool()
    failures: list[OSError] = []
    with create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        address = Address(secure=True, host="127.0.0.1", port=port)
        if phase == "tunnel":
            address = replace(address, proxy=f"http://127.0.0.1:{port}")

        def ask() -> None:
            try:
                connections.ask(address, REQUEST)
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        peer, _ = silent.accept()
        with peer:
            peer.recv(1)
            connections.cut()
            thread.join(timeout=60)
    assert failures
    thread.join()


def test_nothing_connects_any_more_after_the_cut(plain: Server):
    connections = ConnectionPool()
    connections.cut()
    with pytest.raises(ConnectionAbortedError):
        connections.ask(plain.address(), REQUEST)
    assert plain.asked == []


BODIES = st.binary(max_size=200)


def said(head: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*head.split("\n"), "", ""]).encode("latin-1") + body


def read(raw: bytes, *, to_head: bool = False) -> HttpResponse:
    return read_response(BytesIO(raw), to_head=to_head)


def chunked(body: bytes, sizes: list[int]) -> bytes:
    chunks = []
    for size in [*sizes, len(body) or 1]:
        if chunk := body[:size]:
            chunks.append(b"%X;name=value\r\n%b\r\n" % (len(chunk), chunk))
        body = body[size:]
    return b"".join([*chunks, b"0\r\nx-last: 1\r\n\r\n"])


def test_an_answer_is_its_status_its_headers_and_its_body():
    raw = said("HTTP/1.1 200 OK\nContent-Length: 3\nX-Amz-Id : \t é ", b"abcHTTP")
    assert read(raw) == HttpResponse(
        status=200, headers={"content-length": "3", "x-amz-id": "é"}, body=b"abc", keeps=True
    )


@given(BODIES, st.lists(st.integers(1, 50), max_size=6))
def test_a_body_comes_whole_however_it_is_framed(body: bytes, sizes: list[int]):
    framed = {
        f"Content-Length: {len(body)}": body,
        "Transfer-Encoding: Chunked": chunked(body, sizes),
        "Content-Type: text/xml": body,
    }
    for header, sent in framed.items():
        assert read(said(f"HTTP/1.1 200 OK\n{header}", sent)).body == body


@given(
    BODIES,
    st.lists(st.integers(1, 50), max_size=6),
    st.sampled_from(["chunks", "length"]),
    st.data(),
)
def test_an_answer_that_is_cut_off_is_never_taken_for_whole(
    body: bytes, sizes: list[int], framing: str, data: st.DataObject
):
    if framing == "chunks":
        raw = said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", chunked(body, sizes))
    else:
        raw = said(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BrokenResponseError):
        read(raw[:cut])


@pytest.mark.parametrize(
    "head, keeps",
    [
        ("HTTP/1.1 200 OK\nContent-Length: 0", True),
        ("HTTP/1.1 200 OK\nContent-Length: 0\nConnection: Close", False),
        ("HTTP/1.0 200 OK\nContent-Length: 0", False),
        ("HTTP/1.0 200 OK\nContent-Length: 0\nConnection: Keep-Alive", True),
        ("HTTP/1.1 200 OK", False),
        ("HTTP/1.1 204 No Content", True),
    ],
)
def test_a_connection_is_kept_if_both_sides_know_where_the_answer_ends(head: str, *, keeps: bool):
    assert read(said(head)).keeps is keeps


def test_an_answer_to_head_has_no_body_whatever_its_length():
    answer = read(said("HTTP/1.1 200 OK\nContent-Length: 1000000"), to_head=True)
    assert (answer.body, answer.keeps) == (b"", True)


def test_an_answer_may_be_announced():
    raw = said("HTTP/1.1 100 Continue") + said("HTTP/1.1 200 OK\nContent-Length: 1", b"x")
    assert (read(raw).status, read(raw).body) == (200, b"x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        said("HTTP/1.1 200 OK\nContent-Length: -1"),
        said("HTTP/1.1 200 OK\nContent-Length: 1_0", b"x" * 10),
        said("HTTP/1.1 200 OK\nContent-Length: ten"),
        said("HTTP/1.1 200 OK\nContent-Length: 99999999999", b"x"),
        said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"zz\r\n"),
        said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"FFFFFFFFFF\r\nx"),
        said("HTTP/1.1 200 OK\n" + "\n".join(f"x-{number}: 1" for number in range(300))),
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    ],
)
def test_what_is_no_http_is_an_error(raw: bytes):
    with pytest.raises(BrokenResponseError):
        read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        said("HTTP/1.1 200 OK", b"x" * 11),
        said("HTTP/1.1 200 OK\nContent-Length: 11", b"x" * 11),
        said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"4\r\nxxxx\r\n" * 3 + b"0\r\n\r\n"),
    ],
    ids=["to the end", "with a length", "in chunks"],
)
def test_a_body_has_a_limit_however_it_is_framed(raw: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_client, "_BODY_BYTES", 10)
    with pytest.raises(BrokenResponseError, match="more than 10 bytes"):
        read(raw)
