"""Ways to a server: TLS, and proxies."""

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_connection, create_server, socket
from ssl import SSLCertVerificationError

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flowproject.sources.s3.connections import Address, ConnectionPool

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
def test_dialling_ends_when_all_connections_are_cut(phase: str):
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


def test_nothing_is_dialled_any_more_after_the_cut(plain: Server):
    connections = ConnectionPool()
    connections.cut()
    with pytest.raises(ConnectionAbortedError):
        connections.ask(plain.address(), REQUEST)
    assert plain.asked == []
