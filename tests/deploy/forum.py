"""A server on 127.0.0.1 that has the comments of pull requests, as GitHub and GitLab do."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

TOKEN: Final = "a-token-that-nobody-may-see"  # noqa: S105  # of this server


class Forum:
    """Both APIs of comments, as far as they are used; `refuse` may answer in their place."""

    def __init__(self) -> None:
        self.comments: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: Callable[[str, str], int] = lambda _method, _path: 0
        self.pulls: dict[str, list[int]] = {}
        self.written: Callable[[int], None] = lambda _number: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.github = {
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": "acme/w",
            "GITHUB_TOKEN": TOKEN,
        }
        self.gitlab = {
            "CI_API_V4_URL": f"{self.url}/api/v4",
            "CI_PROJECT_ID": "5",
            "GITLAB_TOKEN": TOKEN,
        }

    def add(self, body: str) -> int:
        number = len(self.comments) + 1
        self.comments[number] = {"id": number, "body": body}
        return number

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, target: str, body: str) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        if method == "GET":
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            if path.endswith("/pulls"):
                assert asked["state"] == "open"
                return 200, [{"number": one} for one in self.pulls.get(asked["head"], [])]
            if not path.endswith(("/comments", "/notes")):
                return 200, self.comments[int(path.rpartition("/")[2])]
            start, size = (int(asked["page"]) - 1) * 100, int(asked["per_page"])
            return 200, list(self.comments.values())[start : start + size]
        if method == "POST":
            return 201, self.comments[self.add(body)]
        number = int(path.rpartition("/")[2])
        if number not in self.comments:
            return 404, {"message": "Not Found"}
        self.comments[number]["body"] = body
        self.written(number)
        return 200, self.comments[number]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        forum = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                forum.asked.append((self.command, self.path.partition("?")[0]))
                forum.headers.append(dict(self.headers))
                status, told = forum.refuse(self.command, self.path), {"message": "Not today"}
                if not status:
                    body = json.loads(sent)["body"] if sent else ""
                    status, told = forum.answer(self.command, self.path, body)
                answer = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("Retry-After", "3600")
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = do_PUT = _do  # noqa: N815  # as the library calls them

            def log_message(self, *_: object) -> None:
                """Tests read what was asked, not the access log."""

        return Handler
