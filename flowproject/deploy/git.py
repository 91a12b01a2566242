"""Asks git which branch and commit a folder is at, which branches the remote has, and for a merge.

The one home of git. Asked by running `git`, which whoever has a checkout has. Nothing is fetched
and nothing changed.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowproject.errors import UsageError

__all__ = ["Checkout", "checkout_of", "contains", "merge_texts", "remote_branches", "remote_head"]

# Seconds for one command: only `ls-remote` leaves the machine.
_TIME_LIMIT: Final = 60.0

_MOST_CONFLICTS: Final = 127
_HEADS: Final = "refs/heads/"
_INSTALL: Final = "Install git, or say which branch is meant: `--git-branch NAME`"


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """What git says about a folder; all empty if it is in no repository."""

    branch: str = ""
    """Empty where no branch is checked out (`HEAD` is detached), as CI systems like to do."""

    commit: str = ""
    dirty: bool = False
    """Whether files below the folder differ from the commit."""

    default_branch: str = ""
    """The branch that the remote's `HEAD` is, as far as this clone knows."""


def checkout_of(root: Path) -> Checkout:
    """What git says about the folder; raises `UsageError` if git can't be asked."""
    if _ask(root, "rev-parse", "--is-inside-work-tree") is None:
        return Checkout()
    # As a clone sets it up; a CI's shallow checkout has none, and its variables say it.
    default = _ask(root, "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD") or ""
    return Checkout(
        branch=(_ask(root, "symbolic-ref", "--quiet", "HEAD") or "").removeprefix(_HEADS),
        commit=_ask(root, "rev-parse", "--quiet", "--verify", "HEAD") or "",
        # Below the folder only: of a repository with several projects, another's edits don't
        # matter.
        dirty=bool(_ask(root, "status", "--porcelain", "--", ".")),
        default_branch=default.removeprefix("refs/remotes/origin/"),
    )


def remote_branches(root: Path, remote: str = "origin") -> frozenset[str]:
    """The branches that the remote has now, asked of the remote itself.

    Raises `UsageError` rather than an answer that is not known to be complete: who deletes what
    has no branch must not take an unreachable remote for an empty one.
    """
    names = _heads(root, remote)
    if not names:
        raise UsageError(
            f"The remote {remote!r} has no branch at all, so nothing can be told dead from alive",
            where=f"In {root}",
            fix=f"Check `git remote get-url {remote}`: is this the project's repository?",
        )
    return frozenset(names)


def remote_head(root: Path, branch: str, remote: str = "origin") -> str | None:
    """The commit that a branch is at on the remote now; empty if it has no such branch.

    None if this folder knows no such remote. Raises `UsageError` if the remote does not answer.
    """
    if _ask(root, "remote", "get-url", remote) is None:
        return None
    return _heads(root, remote, f"{_HEADS}{branch}").get(branch, "")


def contains(root: Path, commit: str, *, of: str = "HEAD") -> bool:
    """Whether a commit is in the history of another, as far as this clone has both of them."""
    return _ask(root, "merge-base", "--is-ancestor", commit, of) is not None


def merge_texts(
    texts: tuple[str, str, str], labels: tuple[str, str, str], name: str
) -> tuple[str, int]:
    """Merge two edits of a text, and say how many conflicts are marked in what comes of it.

    `texts` and `labels` are those of one edit, of the text that both began with, and of the other
    edit. `name` is the file's, for messages.

    Raises:
        UsageError: if git is not installed, or takes the text for no text.
    """
    if not shutil.which("git"):
        raise UsageError(
            f"Merging two edits of {name} needs git, which is not installed", fix="Install git"
        )
    with tempfile.TemporaryDirectory(prefix="flowproject-") as folder:
        files = [Path(folder, one) for one in ("mine", "base", "theirs")]
        for file, text in zip(files, texts, strict=True):
            file.write_bytes(text.encode())
        marks = [word for label in labels for word in ("-L", label)]
        names = [file.name for file in files]
        # Into the file: what it prints would lose the line ends that the text has.
        answer = _run(Path(folder), "merge-file", "--quiet", "--diff3", *marks, *names)
        # 255 and above is a failure, and below that the number of conflicts, 127 at most.
        if answer.returncode > _MOST_CONFLICTS or answer.returncode < 0:
            raise UsageError(
                f"git can't merge two edits of {name}: {_said(answer)}",
                fix="Move the file away, upgrade, and take your edits over by hand",
            )
        return files[0].read_bytes().decode(), answer.returncode


def _heads(root: Path, remote: str, *patterns: str) -> dict[str, str]:
    """Branch → commit, of those branches of the remote that a pattern stands for, or of all."""
    # Not `git branch -r`: what this clone has fetched may be days old.
    answer = _run(root, "ls-remote", "--heads", "--quiet", remote, *patterns)
    if answer.returncode != 0:
        raise UsageError(
            f"The branches of the remote {remote!r} can't be listed: {_said(answer)}",
            where=f"In {root}",
            fix=f"Check that `git ls-remote --heads {remote}` works there",
        )
    pairs = [line.split("\t", 1) for line in answer.stdout.splitlines() if "\t" in line]
    return {ref.removeprefix(_HEADS): commit for commit, ref in pairs}


def _ask(root: Path, *arguments: str) -> str | None:
    """What git prints, without the end of the line; None if it says no."""
    answer = _run(root, *arguments)
    if answer.returncode == 0:
        return answer.stdout.removesuffix("\n")
    if "dubious ownership" in answer.stderr:
        raise UsageError(
            "git refuses to read this repository, because it belongs to another user",
            where=f"In {root}",
            fix=f"Allow it: `git config --global --add safe.directory {root}`",
        )
    return None


def _run(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # Questions must not wait for an answer, and `safe.directory` is recognised in English only.
    quiet = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(  # noqa: S603  # git, with arguments of ours
            ["git", "-C", str(root), *arguments],  # noqa: S607  # the user's git
            env={**os.environ, **quiet},
            capture_output=True,
            encoding="utf-8",
            # Names of branches are bytes to git.
            errors="surrogateescape",
            timeout=_TIME_LIMIT,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", where=f"Asked in {root}", fix=_INSTALL) from None
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"`git {' '.join(arguments)}` took more than {_TIME_LIMIT:.0f} s",
            where=f"In {root}",
            fix="Check that the remote answers: `git ls-remote --heads origin`",
        ) from None


def _said(answer: "subprocess.CompletedProcess[str]") -> str:
    """What git complained about in one line, without a password that its URL may carry."""
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal: ")] or lines
    said = fatal[0].removeprefix("fatal: ") if fatal else f"exit code {answer.returncode}"
    return re.sub(r"://[^/@\s]*@", "://", said)
