"""One comment of a pull request, found again by a hidden marker and written anew.

Belongs here: what GitHub and GitLab want to hear over HTTP. Whoever has no comments, or refuses
one, is told about in a sentence: nothing here may fail a deployment, and no token leaves by it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flowproject.deploy.ci import CI

if TYPE_CHECKING:
    from urllib3 import PoolManager

__all__ = ["comment"]

_PAGE: Final = 100
_MOST_PAGES: Final = 30
_LONGEST: Final = 60_000
"""Characters: GitHub takes 65536, with room for the marker and the last sentence."""

_TRIES: Final = 3
_DONE: Final = {200, 201}
_NOT_OURS: Final = {403, 404}


class _RefusedError(Exception):
    """No comment, and why, in words that may be printed."""


@dataclass(frozen=True, kw_only=True)
class _Forum:
    """Where the comments of one pull request are, and who may write them."""

    url: str
    """List and create here."""

    one: str
    """Change one here, under its id."""

    method: str
    """How one is changed."""

    headers: Mapping[str, str]
    rights: str
    """What a token needs, said when it was refused."""


def comment(text: str, *, key: str, ci: CI, environ: Mapping[str, str]) -> str:
    """What became of the comment, in one sentence; empty if there is no pull request.

    `key` tells the comments of one pull request apart: each key has one, which is changed in place.
    """
    if not ci.pull_request:
        return ""
    place = f"pull request {ci.pull_request}"
    marker = f"<!-- flowproject: {re.sub(r'[^a-z0-9_]', '', key)} -->"
    try:
        forum = _forum(ci, environ)
        done = _write(forum, marker, f"{marker}\n{_cut(text, ci.url)}")
    except _RefusedError as refused:
        return f"No comment on {place}: {refused}"
    return f"The comment on {place} is {done}."


def _forum(ci: CI, environ: Mapping[str, str]) -> _Forum:
    if ci.name == "GitHub Actions":
        return _github(ci, environ)
    if ci.name == "GitLab CI":
        return _gitlab(ci, environ)
    raise _RefusedError(f"{ci.name} has none; only GitHub Actions and GitLab CI are written to.")


def _github(ci: CI, environ: Mapping[str, str]) -> _Forum:
    """https://docs.github.com/en/rest/issues/comments: a pull request is an issue there."""
    api = environ.get("GITHUB_API_URL") or "https://api.github.com"
    issues = f"{api}/repos/{environ.get('GITHUB_REPOSITORY', '')}/issues"
    token = _token(environ, "GITHUB_TOKEN", "give the step `GITHUB_TOKEN: ${{ github.token }}`")
    return _Forum(
        url=f"{issues}/{ci.pull_request}/comments",
        one=f"{issues}/comments",
        method="PATCH",
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        },
        rights="the job needs `pull-requests: write` in its permissions",
    )


def _gitlab(ci: CI, environ: Mapping[str, str]) -> _Forum:
    """https://docs.gitlab.com/api/notes; the job's own token may not write notes."""
    api = environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    project = environ.get("CI_MERGE_REQUEST_PROJECT_ID") or environ.get("CI_PROJECT_ID", "")
    notes = f"{api}/projects/{project}/merge_requests/{ci.pull_request}/notes"
    token = _token(environ, "GITLAB_TOKEN", "add a project access token with the scope `api`")
    return _Forum(
        url=notes,
        one=notes,
        method="PUT",
        headers={"PRIVATE-TOKEN": token},
        rights="the token needs the scope `api` and the role Reporter",
    )


def _token(environ: Mapping[str, str], name: str, how: str) -> str:
    token = environ.get(name, "").strip()
    if not token:
        raise _RefusedError(f"{name} is not set; {how}.")
    # Such a header would be refused by http.client, in a message that shows it.
    if not re.fullmatch(r"[!-~]+", token):
        raise _RefusedError(f"{name} holds characters that no token has; {how}.")
    return token


def _write(forum: _Forum, marker: str, body: str) -> str:
    """Change the comment that has the marker, or create it; says which."""
    with _client(forum.url) as client:
        for found in _marked(client, forum, marker):
            # Anybody can write our marker into a comment of his own, which we can't change.
            if _ask(client, forum, forum.method, f"{forum.one}/{found}", body, may_fail=True):
                return "up to date"
        _ask(client, forum, "POST", forum.url, body)
    return "new"


def _marked(client: "PoolManager", forum: _Forum, marker: str) -> Iterator[int]:
    """The ids of the comments that begin with the marker, oldest first."""
    for page in range(1, _MOST_PAGES + 1):
        url = f"{forum.url}?per_page={_PAGE}&page={page}"
        url += "&sort=asc&order_by=created_at" if forum.method == "PUT" else ""
        found = _ask(client, forum, "GET", url)
        if not isinstance(found, list):
            raise _RefusedError(f"{_host(url)} did not answer with a list of comments.")
        for one in found:
            if isinstance(one, dict) and str(one.get("body", "")).startswith(marker):
                yield one.get("id", 0)
        if len(found) < _PAGE:
            return


def _ask(
    client: "PoolManager",
    forum: _Forum,
    method: str,
    url: str,
    body: str | None = None,
    *,
    may_fail: bool = False,
) -> Any:
    """What the server answers, from JSON; None if it refuses what may fail."""
    from urllib3.exceptions import HTTPError, MaxRetryError

    fields = None if body is None else {"body": body}
    try:
        answer = client.request(method, url, headers=forum.headers, json=fields, redirect=False)
    except HTTPError as error:
        reason = error.reason if isinstance(error, MaxRetryError) else error
        raise _RefusedError(f"{_host(url)} can't be reached: {_brief(reason)}.") from error
    if may_fail and answer.status in _NOT_OURS:
        return None
    try:
        told = json.loads(answer.data)
    except ValueError:
        told = None
    if answer.status not in _DONE:
        said = str(told.get("message", ""))[:200] if isinstance(told, dict) else ""
        why = f"; {forum.rights}" if answer.status in {401, *_NOT_OURS} else ""
        answered = f"{_host(url)} answered {answer.status} {said}".rstrip(" .")
        raise _RefusedError(f"{answered}{why}.")
    return told


def _client(url: str) -> "PoolManager":
    """Connections as the environment wants them, with a few retries of what may be said twice."""
    from urllib.request import getproxies, proxy_bypass

    from urllib3 import PoolManager, ProxyManager, Retry, Timeout

    # Creating is not said twice: an error after the fact would leave two comments.
    retries = Retry(
        total=_TRIES,
        backoff_factor=0.2,
        status_forcelist={429, 500, 502, 503, 504},
        allowed_methods={"GET", "PATCH", "PUT"},
        raise_on_status=False,
        respect_retry_after_header=False,  # it may say an hour, and a comment is not worth one
    )
    timeout = Timeout(connect=5, read=20)
    proxy = getproxies().get(urlsplit(url).scheme)
    if proxy and not proxy_bypass(_host(url)):
        return ProxyManager(proxy, retries=retries, timeout=timeout)
    return PoolManager(retries=retries, timeout=timeout)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _brief(error: object) -> str:
    """The reason without the object that urllib3 puts before it."""
    return str(error).rpartition("): ")[2].rpartition(": ")[2].rstrip(".")


def _cut(text: str, url: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n\n… and more: see {url or 'the log'}."
