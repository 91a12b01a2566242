"""What every source promises, of this one; and that an ETag is used."""

import json
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flowproject_http import HttpData
from flowproject_http.source import HttpSource

from flowproject.errors import SourceError
from flowproject.testing import SourceContract
from flowproject.testing.source_contract import remembered


class Api:
    """A real server with rows, which tells their ETag and counts what it sent."""

    def __init__(self, root):
        self.root = root
        self.rows = {}
        self.body = None
        self.sent = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/rows"
        self.toml = f'type = "http"\nurl = "{self.url}"\nkey = ["id"]'
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, key, content):
        self.rows[key] = {"id": key, "content": content}

    def delete(self, key):
        del self.rows[key]

    def lose(self):
        self.server.shutdown()
        self.server.server_close()

    def _handler(self):
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = api.body or json.dumps([*api.rows.values()]).encode()
                etag = f'"{sha256(body).hexdigest()}"'
                known = self.headers.get("If-None-Match") == etag
                api.sent.append(0 if known else len(body))  # before whoever asks goes on
                self.send_response(304 if known else 200)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(0 if known else len(body)))
                self.end_headers()
                self.wfile.write(b"" if known else body)

            def log_message(self, *_):
                """Nobody reads it."""

        return Handler


@pytest.fixture
def place(tmp_path):
    api = Api(tmp_path)
    yield api
    api.lose()


class TestHttpSource(SourceContract):
    """Every case that flowproject's own sources pass."""


def test_rows_that_are_as_they_were_are_not_sent(place):
    place.put("a", "1")
    source = HttpSource(HttpData(url=place.url, key=("id",)), place.root)
    first = source.observe()
    second = source.observe(remembered(first))
    assert (second.note, second.fingerprint) == ("not modified", first.fingerprint)
    assert place.sent[1] == 0


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1]", b'[{"name": 1}]'])
def test_an_answer_that_is_no_list_of_rows_is_an_error(place, body):
    place.body = body
    with pytest.raises(SourceError, match="/rows"):
        HttpSource(HttpData(url=place.url, key=("id",)), place.root).observe()


def test_an_address_that_is_none_is_refused_without_asking(tmp_path):
    with pytest.raises(SourceError, match="begins with http"):
        HttpSource(HttpData(url="example.org", key=("id",)), tmp_path).check()
