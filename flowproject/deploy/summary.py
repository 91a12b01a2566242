"""What a deploy says where people look: the CI's summary page, and a pull request's comment.

Belongs here: how a table becomes Markdown, and which CI takes it how. What the rows say, and
whether anything failed, is the business of whoever deploys.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from flowproject.deploy.comments import Part, comment
from flowproject.deploy.revision import Revision
from flowproject.secrecy import safe

__all__ = ["Summary", "publish"]

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
    """Lines that say where the summaries went and where they could not go; for standard output.

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
    escaped = _SPECIAL.sub(r"\\\1", safe(text).replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"\s*\n\s*", "<br>", escaped.strip()).replace("@", "@<!-- -->")


def _origin(revision: Revision) -> str:
    commit = f"commit {revision.head[:12]}" if revision.head else "unknown commit"
    if revision.is_merge:
        commit += f" merged with {revision.ci.target_branch or 'its target'}"
    changed = ", with uncommitted changes" if revision.dirty else ""
    url = revision.ci.url
    run = f" · [{revision.ci.name}]({url})" if url and not re.search(r"[\s()<>]", url) else ""
    return f"<sub>{_plain(revision.git_branch)}, {commit}{changed}{run}</sub>"
