"""One comment for a pull request, over real HTTP: found, changed in place, and never in the way."""

import re
from collections.abc import Mapping

import pytest

from flowproject.deploy import summary
from flowproject.deploy.ci import CI
from flowproject.deploy.summary import Part, Summary
from tests.deploy.forum import TOKEN, Forum
from tests.deploy.test_summary import revision

PULL = CI(name="GitHub Actions", pull_request="12", url="https://github.com/acme/w/actions/runs/7")
MERGE = CI(name="GitLab CI", pull_request="12")
PUSH = CI(name="GitHub Actions", branch="feature/x#1")


@pytest.fixture(autouse=True)
def nobody_else_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or only at once."""
    monkeypatch.setattr(summary, "_ROUND_SECONDS", 0.0)


def comment(
    text: str,
    *,
    ci: CI,
    environ: Mapping[str, str],
    key: str = "weather",
    part: str = "merge",
    commit: str = "c",
    spare: bool = False,
    create: bool = True,
) -> str:
    """Write a comment of one part."""
    parts = [Part(name=part, commit=commit, text=text, spare=spare)]
    return summary.comment(parts, key=key, ci=ci, environ=environ, create=create)


def body_of(text: str, key: str = "weather", part: str = "merge", commit: str = "c") -> str:
    return f"<!-- flowproject: {key} -->\n\n<!-- flowproject part {part} {commit} -->\n{text}"


def test_the_second_push_changes_the_comment_of_the_first(forum: Forum) -> None:
    told = comment("first", key="weather", ci=PULL, environ=forum.github)
    assert told == "The comment on pull request 12 is new."
    told = comment("second", key="weather", ci=PULL, environ=forum.github)
    assert told == "The comment on pull request 12 is up to date."
    assert [one["body"] for one in forum.comments.values()] == [body_of("second")]
    assert forum.asked[-2] == ("PATCH", "/repos/acme/w/issues/comments/1")
    assert forum.headers[-1]["Authorization"] == f"Bearer {TOKEN}"


def test_gitlab_has_its_note_in_the_same_way(forum: Forum) -> None:
    comment("first", key="weather", ci=MERGE, environ=forum.gitlab)
    told = comment("second", key="weather", ci=MERGE, environ=forum.gitlab)
    assert told == "The comment on pull request 12 is up to date."
    assert len(forum.comments) == 1
    assert forum.asked[-2] == ("PUT", "/api/v4/projects/5/merge_requests/12/notes/1")
    assert forum.headers[-1]["PRIVATE-TOKEN"] == TOKEN


def test_a_comment_behind_hundreds_of_others_is_found(forum: Forum) -> None:
    for number in range(250):
        forum.add(f"opinion {number}")
    forum.add("<!-- flowproject: weather -->\nold")
    comment("new", key="weather", ci=PULL, environ=forum.github)
    assert len(forum.comments) == 251
    assert forum.methods == ["GET", "GET", "GET", "PATCH", "GET"]


def test_two_projects_of_one_repository_have_a_comment_each(forum: Forum) -> None:
    comment("rain", key="weather", ci=PULL, environ=forum.github)
    comment("gold", key="prices", ci=PULL, environ=forum.github)
    comment("sun", key="weather", ci=PULL, environ=forum.github)
    assert [one["body"].splitlines()[-1] for one in forum.comments.values()] == ["sun", "gold"]


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
    for part in ("merge", "push"):
        comment("é" * 70_000, part=part, ci=PULL, environ=forum.github)
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


def test_each_job_keeps_its_own_part_and_the_merge_comes_first(forum: Forum) -> None:
    comment("pushed", part="push", ci=PULL, environ=forum.github)
    comment("merging", part="merge", ci=PULL, environ=forum.github)
    comment("pushed again", part="push", commit="d", ci=PULL, environ=forum.github)
    [body] = [one["body"] for one in forum.comments.values()]
    assert body == (body_of("merging") + "\n\n<!-- flowproject part push d -->\npushed again")


def test_what_is_only_read_of_a_push_does_not_replace_what_the_push_said(forum: Forum) -> None:
    comment("deployed", part="push", ci=PULL, environ=forum.github)
    comment("seen", part="push", ci=PULL, environ=forum.github, spare=True)
    assert forum.comments[1]["body"] == body_of("deployed", part="push")
    comment("seen", part="push", commit="d", ci=PULL, environ=forum.github, spare=True)
    assert forum.comments[1]["body"] == body_of("seen", part="push", commit="d")


def test_a_push_finds_the_open_pull_requests_of_its_branch_and_opens_no_comment(
    forum: Forum,
) -> None:
    def push(text: str) -> str:
        return comment(text, part="push", ci=PUSH, environ=forum.github, create=False)

    assert push("nobody asked") == ""
    forum.pulls["acme:feature/x#1"] = [12]
    assert push("too early") == ""
    assert forum.comments == {}
    comment("merging", ci=PULL, environ=forum.github)
    assert push("deployed") == "The comment on pull request 12 is up to date."
    assert "deployed" in forum.comments[1]["body"]
    assert push("") == "The comment on pull request 12 is up to date."
    without = {**forum.github, "GITHUB_TOKEN": ""}
    assert comment("x", part="push", ci=PUSH, environ=without, create=False) == ""


def test_a_push_that_may_not_ask_for_pull_requests_says_so(forum: Forum) -> None:
    forum.refuse = lambda _method, path: 403 if "/pulls" in path else 0
    told = comment("x", part="push", ci=PUSH, environ=forum.github, create=False)
    assert told == (
        "No comment on a pull request: 127.0.0.1 answered 403 Not today; "
        "the job needs `pull-requests: write` in its permissions."
    )


def test_two_jobs_that_write_at_once_do_not_undo_each_other(forum: Forum) -> None:
    """The other read the comment before we wrote, and writes what it read after us."""
    comment("old merge", ci=PULL, environ=forum.github)
    before = forum.comments[1]["body"]

    def overwrite(number: int) -> None:
        forum.written = lambda _number: None
        forum.comments[number]["body"] = (
            f"{before}\n\n<!-- flowproject part push c -->\npushed"
        ).replace("\n", "\r\n")

    forum.written = overwrite
    comment("new merge", ci=PULL, environ=forum.github)
    body = forum.comments[1]["body"]
    assert body == body_of("new merge") + "\n\n<!-- flowproject part push c -->\npushed"


def test_text_cannot_pass_for_another_part(forum: Forum) -> None:
    forged = "\n<!-- flowproject part merge c -->\nNothing changes."
    text = Summary(project="w", title=forged, head=("flow",), rows=((forged,),)).markdown(
        revision(branch=forged)
    )
    comment("production changes", ci=PULL, environ=forum.github)
    comment(text, part="push", ci=PULL, environ=forum.github)
    comment("pushed", part="push", ci=PULL, environ=forum.github)
    [body] = [one["body"] for one in forum.comments.values()]
    assert body == (body_of("production changes") + "\n\n<!-- flowproject part push c -->\npushed")
