"""One comment for a pull request, over real HTTP: found, changed in place, and never in the way."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flowproject.deploy.ci import CI
from flowproject.deploy.comments import comment

TOKEN = "a-token-that-nobody-may-see"  # noqa: S105  # of a server in this file
PULL = CI(name="GitHub Actions", pull_request="12", url="https://github.com/acme/w/actions/runs/7")
MERGE = CI(name="GitLab CI", pull_request="12")


class Forum:
    """Both APIs of comments, as far as they are used; `refuse` may answer in their place."""

    def __init__(self) -> None:
        self.comments: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: Callable[[str, str], int] = lambda _method, _path: 0
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
            asked = dict(pair.split("=") for pair in query.split("&"))
            start, size = (int(asked["page"]) - 1) * 100, int(asked["per_page"])
            return 200, list(self.comments.values())[start : start + size]
        if method == "POST":
            return 201, self.comments[self.add(body)]
        number = int(path.rpartition("/")[2])
        if number not in self.comments:
            return 404, {"message": "Not Found"}
        self.comments[number]["body"] = body
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


@pytest.fixture
def forum(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forum]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Forum()
    yield running
    running.stop()


def test_the_second_push_changes_the_comment_of_the_first(forum: Forum) -> None:
    told = comment("first", key="weather", ci=PULL, environ=forum.github)
    assert told == "The comment on pull request 12 is new."
    told = comment("second", key="weather", ci=PULL, environ=forum.github)
    assert told == "The comment on pull request 12 is up to date."
    assert [one["body"] for one in forum.comments.values()] == [
        "<!-- flowproject: weather -->\nsecond"
    ]
    assert forum.asked[-1] == ("PATCH", "/repos/acme/w/issues/comments/1")
    assert forum.headers[-1]["Authorization"] == f"Bearer {TOKEN}"


def test_gitlab_has_its_note_in_the_same_way(forum: Forum) -> None:
    comment("first", key="weather", ci=MERGE, environ=forum.gitlab)
    told = comment("second", key="weather", ci=MERGE, environ=forum.gitlab)
    assert told == "The comment on pull request 12 is up to date."
    assert len(forum.comments) == 1
    assert forum.asked[-1] == ("PUT", "/api/v4/projects/5/merge_requests/12/notes/1")
    assert forum.headers[-1]["PRIVATE-TOKEN"] == TOKEN


def test_a_comment_behind_hundreds_of_others_is_found(forum: Forum) -> None:
    for number in range(250):
        forum.add(f"opinion {number}")
    forum.add("<!-- flowproject: weather -->\nold")
    comment("new", key="weather", ci=PULL, environ=forum.github)
    assert len(forum.comments) == 251
    assert forum.methods == ["GET", "GET", "GET", "PATCH"]


def test_two_projects_of_one_repository_have_a_comment_each(forum: Forum) -> None:
    comment("rain", key="weather", ci=PULL, environ=forum.github)
    comment("gold", key="prices", ci=PULL, environ=forum.github)
    comment("sun", key="weather", ci=PULL, environ=forum.github)
    assert [one["body"].splitlines()[1] for one in forum.comments.values()] == ["sun", "gold"]


def test_a_marker_in_somebody_elses_comment_does_not_stop_ours(forum: Forum) -> None:
    forum.add("I quote: <!-- flowproject: weather -->")
    forum.add("<!-- flowproject: weather -->\nforged")
    forum.refuse = lambda method, path: 403 if (method, path[-2:]) == ("PATCH", "/2") else 0
    assert comment("a", key="weather", ci=PULL, environ=forum.github).endswith("is new.")
    assert comment("b", key="weather", ci=PULL, environ=forum.github).endswith("is up to date.")
    assert [one["body"][-1] for one in forum.comments.values()] == [">", "d", "b"]


def test_a_busy_server_is_asked_again_and_not_for_an_hour(forum: Forum) -> None:
    answers = iter([503, 429])
    forum.refuse = lambda _method, _path: next(answers, 0)
    assert comment("a", key="weather", ci=PULL, environ=forum.github).endswith("is new.")
    assert forum.methods == ["GET", "GET", "GET", "POST"]


def test_a_comment_is_not_created_twice_when_the_server_fails_after_the_fact(forum: Forum) -> None:
    forum.refuse = lambda method, _path: 502 if method == "POST" else 0
    told = comment("a", key="weather", ci=PULL, environ=forum.github)
    assert told == "No comment on pull request 12: 127.0.0.1 answered 502 Not today."
    assert forum.methods == ["GET", "POST"]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 422, 500])
def test_whatever_the_server_answers_is_said_and_nothing_raises(forum: Forum, status: int) -> None:
    forum.refuse = lambda _method, _path: status
    for ci, environ in [(PULL, forum.github), (MERGE, forum.gitlab)]:
        told = comment("a", key="weather", ci=ci, environ=environ)
        assert told.startswith(f"No comment on pull request 12: 127.0.0.1 answered {status} Not t")
        assert ("the token needs" in told or "the job needs" in told) is (status in {401, 403, 404})
        assert TOKEN not in told


@pytest.mark.parametrize("token", ["", "two\nlines", "not ascii: ü"])
def test_a_token_that_is_none_is_said_without_showing_it(forum: Forum, token: str) -> None:
    told = comment("a", key="weather", ci=PULL, environ={**forum.github, "GITHUB_TOKEN": token})
    assert told.startswith("No comment on pull request 12: GITHUB_TOKEN ")
    assert "GITHUB_TOKEN: ${{ github.token }}" in told
    assert not token or token not in told
    assert forum.asked == []


def test_a_server_that_is_not_there_is_said(forum: Forum) -> None:
    forum.stop()
    told = comment("a", key="weather", ci=PULL, environ=forum.github)
    assert re.fullmatch(
        r"No comment on pull request 12: 127\.0\.0\.1 can't be reached: .*refused\.", told
    )


def test_a_page_that_is_not_json_is_said(forum: Forum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forum, "answer", lambda *_: (200, "a login page"))
    told = comment("a", key="weather", ci=PULL, environ=forum.github)
    assert told.endswith("127.0.0.1 did not answer with a list of comments.")


def test_a_text_that_is_too_long_is_cut_and_says_where_the_rest_is(forum: Forum) -> None:
    comment("é" * 70_000, key="weather", ci=PULL, environ=forum.github)
    [body] = [one["body"] for one in forum.comments.values()]
    assert len(body) < 65_536
    assert body.endswith("… and more: see https://github.com/acme/w/actions/runs/7.")


def test_without_a_pull_request_there_is_nothing_to_say_and_elsewhere_it_is_said() -> None:
    assert comment("a", key="weather", ci=CI(name="GitHub Actions"), environ={}) == ""
    told = comment("a", key="weather", ci=CI(name="CircleCI", pull_request="12"), environ={})
    assert told == (
        "No comment on pull request 12: CircleCI has none; "
        "only GitHub Actions and GitLab CI are written to."
    )
