"""Shows what a deploy did where people look: a CI's summary page, and a pull request's comment.

Belongs here: how a table becomes Markdown, which CI takes it how, and what GitHub and GitLab want
to hear over HTTP. What the rows say, and whether anything failed, is the business of whoever
deploys. Nothing here may fail a deployment, and no token leaves by it.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from flowproject.deploy.ci import CI
from flowproject.deploy.revision import Revision
from flowproject.secrecy import safe

if TYPE_CHECKING:
    from urllib3 import PoolManager

__all__ = ["Part", "Summary", "comment", "publish"]

_TIME_LIMIT: Final = 30.0
_SPECIAL: Final = re.compile(r"([\\`*_\[\]>|#~])")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A plan, or what became of one. Every text in it is plain: it is escaped here."""

    project: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences below the table."""

    failed: bool = False
    part: str = "push"
    """Which part of a pull request's comment it is: `push`, what became of the branch itself, or
    `merge`."""

    spare: bool = False
    """Only for a comment that does not say it of this commit yet."""

    def markdown(self, revision: Revision) -> str:
        """The table under its title, and which commit and run it is from."""
        sign = "❌ " if self.failed else ""
        return "\n\n".join(
            [
                f"### {sign}{_plain(self.title)}",
                *([_table(self.head, self.rows)] if self.rows else []),
                *map(_plain, self.notes),
                _origin(revision),
            ]
        )


def publish(
    summaries: Sequence[Summary],
    revision: Revision,
    environ: Mapping[str, str],
    *,
    comments: bool = True,
    create: bool = True,
) -> tuple[str, ...]:
    """Publish summaries: lines for standard output that say where they went, and where not.

    Without `create` a comment that is there is changed, and none is made. Nothing raises: what a
    deploy did is done, whoever hears of it. For Azure Pipelines one of the lines is a command, so
    they must be printed.
    """
    texts = [one.markdown(revision) for one in summaries]
    said = [_show("\n\n".join(texts), summaries[0], revision.ci.name, environ)]
    if comments:
        parts = [
            Part(name=one.part, commit=revision.head, text=text, spare=one.spare)
            for one, text in zip(summaries, texts, strict=True)
        ]
        key = summaries[0].project
        said.append(comment(parts, key=key, ci=revision.ci, environ=environ, create=create))
    return tuple(line for line in said if line)


def _show(text: str, summary: Summary, ci: str, environ: Mapping[str, str]) -> str:
    """Put the text onto the summary page of the CI, if it has one."""
    try:
        if ci == "GitHub Actions":
            return _append(text, environ)
        if ci == "Azure Pipelines":
            return _upload(text, environ)
        if ci == "Buildkite":
            return _annotate(text, summary)
    except (OSError, subprocess.SubprocessError) as error:
        return f"The summary page of {ci} could not be written: {error}."
    return f"{ci} has no summary page." if ci else ""


def _append(text: str, environ: Mapping[str, str]) -> str:
    file = environ.get("GITHUB_STEP_SUMMARY", "")
    if not file:
        return "The summary page of GitHub Actions could not be written: no GITHUB_STEP_SUMMARY."
    # Appended: other steps of the job write there, too.
    with Path(file).open("a", encoding="utf-8", errors="replace") as page:
        page.write(f"{text}\n\n")
    return "The summary is on the page of this run."


def _upload(text: str, environ: Mapping[str, str]) -> str:
    """A command that Azure reads from the log; it takes the file when the step is over."""
    folder = environ.get("AGENT_TEMPDIRECTORY") or None
    with NamedTemporaryFile(
        "w",
        prefix="flowproject-",
        suffix=".md",
        dir=folder,
        delete=False,
        encoding="utf-8",
        errors="replace",
    ) as file:
        file.write(text)
    return f"##vso[task.uploadsummary]{file.name}"


def _annotate(text: str, summary: Summary) -> str:
    style = "error" if summary.failed else "info"
    context = f"flowproject-{summary.project}"  # of which a build shows the last one
    command = ["buildkite-agent", "annotate", "--style", style, "--context", context]
    subprocess.run(  # noqa: S603  # the agent's own command, with a name that the configuration checks
        command,
        input=text.encode("utf-8", "replace"),
        capture_output=True,
        timeout=_TIME_LIMIT,
        check=True,
    )
    return "The summary is on the page of this build."


def _table(head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(map(_plain, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """The text as Markdown that shows just it: no markup, no table's end, nobody called by `@`."""
    # Names of branches and messages of errors are anybody's text, and the page is read by people
    # who trust it.
    escaped = _SPECIAL.sub(r"\\\1", safe(text).replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"\s*\n\s*", "<br>", escaped.strip()).replace("@", "@<!-- -->")


def _origin(revision: Revision) -> str:
    commit = f"commit {revision.head[:12]}" if revision.head else "unknown commit"
    if revision.is_merge:
        commit += f" merged with {revision.ci.target_branch or 'its target'}"
    changed = ", with uncommitted changes" if revision.dirty else ""
    url = revision.ci.url
    # An address that would end the link is left out.
    run = f" · [{revision.ci.name}]({url})" if url and not re.search(r"[\s()<>]", url) else ""
    return f"<sub>{_plain(revision.git_branch)}, {commit}{changed}{run}</sub>"


_PAGE: Final = 100
_MOST_PAGES: Final = 30
# Characters of a part: GitHub takes 65536 in all, with room for markers and last sentences.
_LONGEST: Final = 30_000

# Two jobs write one comment: the plan of a merge, and the deployment of each push. Each writes its
# own part, under a marker that Markdown does not show.
_PART: Final = re.compile(r"^<!-- flowproject part (\w+) (\w*) -->\n", re.MULTILINE)
_ORDER: Final = ("merge", "push")

_ROUNDS: Final = 4
# Neither GitHub nor GitLab refuses to change a comment that was changed since it was read. A job
# that read it before we wrote and writes after us is done in this time; then we write once more.
_ROUND_SECONDS: Final = 1.0

_TRIES: Final = 3
_DONE: Final = {200, 201}
# GitHub answers 404 for what a token may not see.
_NOT_OURS: Final = {403, 404}


class _RefusedError(Exception):
    """No comment, and why, in words that may be printed."""


@dataclass(frozen=True, kw_only=True)
class _CommentApi:
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


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the things that a comment tells, about a commit: the head of a branch."""

    name: str
    commit: str
    text: str
    spare: bool = False
    """Only for a comment that has no such part about this commit."""


def comment(
    parts: Sequence[Part],
    *,
    key: str,
    ci: CI,
    environ: Mapping[str, str],
    create: bool = True,
) -> str:
    """Write the comment: what became of it, in one sentence; empty if there is nothing to write to.

    `key` tells the comments of one pull request apart: each key has one, which is changed in place.
    Without `create` none is made: a push that finds none leaves that to the plan. Of a push itself
    GitHub tells no pull request, so it is asked.
    """
    marker = f"<!-- flowproject: {re.sub(r'[^a-z0-9_]', '', key)} -->"
    place, said = "a pull request", []
    try:
        for number in _pull_requests(ci, environ):
            place = f"pull request {number}"
            done = _write(
                _comment_api(ci, environ, number), marker, _cut(parts, ci.url), create=create
            )
            said += [f"The comment on {place} is {done}."] if done else []
    except _RefusedError as refused:
        said.append(f"No comment on {place}: {refused}")
    return " ".join(said)


def _pull_requests(ci: CI, environ: Mapping[str, str]) -> list[str]:
    """The numbers of those that the run is for; of a push to GitHub the open ones of its branch."""
    if ci.pull_request:
        return [ci.pull_request]
    if ci.name != "GitHub Actions" or not ci.branch or not environ.get("GITHUB_TOKEN", "").strip():
        return []
    api = _github(environ, "")
    owner = environ.get("GITHUB_REPOSITORY", "").partition("/")[0]
    asked = urlencode({"state": "open", "head": f"{owner}:{ci.branch}", "per_page": _PAGE})
    repository = api.one.removesuffix("/issues/comments")
    with _client(api.url) as client:
        found = _ask(client, api, "GET", f"{repository}/pulls?{asked}")
    return [str(one["number"]) for one in _listed(found, api.url, "pull requests")]


def _comment_api(ci: CI, environ: Mapping[str, str], number: str) -> _CommentApi:
    if ci.name == "GitHub Actions":
        return _github(environ, number)
    if ci.name == "GitLab CI":
        return _gitlab(environ, number)
    raise _RefusedError(f"{ci.name} has none; only GitHub Actions and GitLab CI are written to.")


def _github(environ: Mapping[str, str], number: str) -> _CommentApi:
    """https://docs.github.com/en/rest/issues/comments: a pull request is an issue there."""
    api = environ.get("GITHUB_API_URL") or "https://api.github.com"
    issues = f"{api}/repos/{environ.get('GITHUB_REPOSITORY', '')}/issues"
    token = _token(environ, "GITHUB_TOKEN", "give the step `GITHUB_TOKEN: ${{ github.token }}`")
    return _CommentApi(
        url=f"{issues}/{number}/comments",
        one=f"{issues}/comments",
        method="PATCH",
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        },
        rights="the job needs `pull-requests: write` in its permissions",
    )


def _gitlab(environ: Mapping[str, str], number: str) -> _CommentApi:
    """https://docs.gitlab.com/api/notes; the job's own token may not write notes."""
    api = environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    project = environ.get("CI_MERGE_REQUEST_PROJECT_ID") or environ.get("CI_PROJECT_ID", "")
    notes = f"{api}/projects/{project}/merge_requests/{number}/notes"
    token = _token(environ, "GITLAB_TOKEN", "add a project access token with the scope `api`")
    return _CommentApi(
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


def _write(api: _CommentApi, marker: str, parts: Sequence[Part], *, create: bool) -> str:
    """Change the comment that has the marker, or create it; says which, or nothing."""
    with _client(api.url) as client:
        for number, body in _marked(client, api, marker):
            # Anybody can write our marker into a comment of his own, which we can't change.
            if _change(client, api, marker, parts, number, body):
                return "up to date"
        if not create:
            return ""
        _ask(client, api, "POST", api.url, _body(marker, "", parts))
    return "new"


def _change(
    client: "PoolManager",
    api: _CommentApi,
    marker: str,
    parts: Sequence[Part],
    number: int,
    body: str,
) -> bool:
    """Whether the comment could be changed; what others wrote into it meanwhile stays."""
    url = f"{api.one}/{number}"
    for _ in range(_ROUNDS):
        wanted = _body(marker, body, parts)
        if wanted == body:
            break
        if not _ask(client, api, api.method, url, wanted, may_fail=True):
            return False
        time.sleep(_ROUND_SECONDS)
        with suppress(_RefusedError):  # what was written was taken
            body = _text_of(_ask(client, api, "GET", url))
    return True


def _body(marker: str, body: str, parts: Sequence[Part]) -> str:
    """The comment with these parts in the place of what it says of them, and all others."""
    _, *told = _PART.split(body)
    kept = {
        name: (commit, text.strip()) for name, commit, text in zip(*[iter(told)] * 3, strict=True)
    }
    for part in parts:
        if not (part.spare and kept.get(part.name, ("",))[0] == part.commit):
            kept[part.name] = (part.commit, part.text.strip())
    ordered = sorted(kept, key=lambda name: (*_ORDER, name).index(name))
    written = [
        f"<!-- flowproject part {name} {kept[name][0]} -->\n{kept[name][1]}" for name in ordered
    ]
    return "\n\n".join([marker, *written])


def _marked(client: "PoolManager", api: _CommentApi, marker: str) -> Iterator[tuple[int, str]]:
    """Id and text of the comments that begin with the marker, oldest first."""
    for page in range(1, _MOST_PAGES + 1):
        url = f"{api.url}?per_page={_PAGE}&page={page}"
        url += "&sort=asc&order_by=created_at" if api.method == "PUT" else ""
        found = _ask(client, api, "GET", url)
        for one in _listed(found, url, "comments"):
            if (body := _text_of(one)).startswith(marker):
                yield one.get("id", 0), body
        if len(found) < _PAGE:
            return


def _listed(found: Any, url: str, what: str) -> list[Any]:
    if isinstance(found, list):
        return found
    raise _RefusedError(f"{_host(url)} did not answer with a list of {what}.")


def _ask(
    client: "PoolManager",
    api: _CommentApi,
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
        answer = client.request(method, url, headers=api.headers, json=fields, redirect=False)
    except HTTPError as error:
        reason: object = error.reason if isinstance(error, MaxRetryError) else error
        # Without the object that urllib3 puts before it.
        reason = str(reason).rpartition("): ")[2].rpartition(": ")[2].rstrip(".")
        raise _RefusedError(f"{_host(url)} can't be reached: {reason}.") from error
    if may_fail and answer.status in _NOT_OURS:
        return None
    try:
        told = json.loads(answer.data)
    except ValueError:
        told = None
    if answer.status not in _DONE:
        said = str(told.get("message", ""))[:200] if isinstance(told, dict) else ""
        why = f"; {api.rights}" if answer.status in {401, *_NOT_OURS} else ""
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


def _text_of(told: Any) -> str:
    """What a comment says, with the ends of lines as we write them."""
    return str(told.get("body", "")).replace("\r\n", "\n") if isinstance(told, dict) else ""


def _cut(parts: Sequence[Part], url: str) -> list[Part]:
    more = f"\n\n… and more: see {url or 'the log'}."
    cut = (one.text[:_LONGEST] + more * (len(one.text) > _LONGEST) for one in parts)
    return [replace(one, text=text) for one, text in zip(parts, cut, strict=True)]
