"""Finds out which git branch and commit is deployed: by an option, by the CI, or by git."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from flowproject.deploy.ci import CI, ci_of
from flowproject.deploy.git import Checkout, checkout_of, contains, remote_head
from flowproject.errors import UsageError

__all__ = [
    "Revision",
    "check_not_behind",
    "newer_head",
    "revision_of",
    "tags_of",
    "warnings_about_merge",
]

# Characters: Metaflow's limit.
_LONGEST_TAG: Final = 500

_SAFE: Final = "/:@+,"
_REFS: Final = "refs/heads/"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A git branch at a commit, and the CI run that brings it, if one does."""

    git_branch: str
    commit: str
    """Of the files that are here; empty outside a repository."""

    dirty: bool
    default_branch: str
    ci: CI

    @property
    def is_merge(self) -> bool:
        """Whether the files that are here are a pull request merged, and not its branch as it is.

        GitHub checks out such a commit for a pull request, which is on no branch.
        """
        return bool(self.ci.pull_request and self.ci.commit and self.commit) and (
            self.commit != self.ci.commit
        )

    @property
    def head(self) -> str:
        """The newest commit of the branch that is in the files; empty if none is known."""
        return self.ci.commit if self.is_merge or not self.commit else self.commit

    def merged(self) -> Self:
        """Give what the pull request's target becomes by merging it: its files are the same."""
        return replace(self, git_branch=self.ci.target_branch)

    def refuse_fork(self) -> None:
        """Raise `UsageError` for a fork's pull request: strangers' code gets no deployment."""
        if self.ci.fork:
            raise UsageError(
                f"Pull request {self.ci.pull_request} comes from a fork ({self.git_branch})",
                where=self.ci.name,
                allowed="Only branches of this repository are deployed and torn down",
                fix="Push the branch to this repository, once somebody has read it",
            )


def revision_of(root: Path, environ: Mapping[str, str], git_branch: str | None = None) -> Revision:
    """What the folder holds, for the branch that is named, the CI's, or the one checked out.

    Raises `UsageError` if none is known.
    """
    if git_branch is not None and not git_branch.strip():
        raise UsageError(
            "--git-branch is empty",
            allowed="It names a branch: an empty variable must not pass for the one checked out",
            fix="Name the branch, or leave the option out",
        )
    ci = ci_of(environ)
    checkout = _checkout(root, known=bool(git_branch or ci.branch))
    branch = git_branch or ci.branch or checkout.branch
    if not branch:
        raise _nameless(root, ci, checkout)
    if branch.startswith(_REFS):
        raise UsageError(
            f"--git-branch {branch} is the full name of a ref",
            allowed="A branch is named as `git branch` lists it",
            fix=f"Leave out the beginning: `--git-branch {branch.removeprefix(_REFS)}`",
        )
    return Revision(
        git_branch=branch,
        # What is here counts: a CI may check out a merge, or have moved on.
        commit=checkout.commit or ci.commit,
        dirty=checkout.dirty,
        default_branch=ci.default_branch or checkout.default_branch,
        # A pull request's comment must not be told of another branch.
        ci=ci if branch == ci.branch else _elsewhere(ci),
    )


def check_not_behind(root: Path, revision: Revision, deployed: Collection[str]) -> str:
    """A sentence if it is not known whether deploying this would take the branch back.

    A deployment has to contain the commit that its branch is at on the remote: the job of an older
    push that is run again does not, nor does a folder that has not been pulled. Where the remote
    can't be asked, the commits that are `deployed` stand for it.

    Raises:
        UsageError: if it would take the branch back.
    """
    here = revision.head
    if not here:
        return ""
    try:
        head = remote_head(root, revision.git_branch)
    except UsageError as error:
        known = next((one for one in deployed if _is_behind(root, revision, one)), "")
        if known:
            raise _older(root, revision, known, "is deployed at") from None
        return f"Whether the branch is further on than commit {here[:12]} is not known. {error}"
    if head is None:
        return ""
    # On a laptop a branch that is not pushed yet is the rule.
    if not head and revision.ci.branch:
        raise UsageError(
            f"The remote has no git branch {revision.git_branch!r} any more",
            where=f"{revision.ci.name}, for commit {here[:12]}",
            allowed="What is deployed of a branch goes when the branch does",
            fix="Push the branch again; or deploy all the same: `flowproject deploy --roll-back`",
        )
    if head and head != here and not contains(root, head):
        raise _older(root, revision, head, "is at")
    return ""


def warnings_about_merge(root: Path, revision: Revision) -> tuple[str, ...]:
    """A sentence if the files that are here may lack what the target got meanwhile."""
    target = revision.ci.target_branch
    head = "" if revision.is_merge else _head_of(root, target)
    if revision.is_merge or (head and contains(root, head)):
        return ()
    told = (
        f"Compared is {revision.git_branch} as it is: what {target} got since it began is missing. "
        "Where a CI checks out the merge, that is compared."
    )
    return (told,)


def newer_head(root: Path, revision: Revision) -> str:
    """The commit that the branch is at, if that is another; empty if not, or if nobody knows."""
    head = _head_of(root, revision.git_branch)
    return head if head != revision.head else ""


def tags_of(revision: Revision) -> tuple[str, ...]:
    """The revision as Metaflow's tags: branch, commit, CI run.

    Metaflow pastes tags into the shell commands of the steps that it compiles, and git allows `$(`
    and `;` in the name of a branch. So everything but letters, digits and a few signs is
    percent-encoded, as in an address.
    """
    # A commit alone would claim that it has what was deployed.
    mark = "-dirty" if revision.dirty else ""
    known = {
        "git_branch": revision.git_branch,
        "git_commit": f"{revision.commit}{mark}" if revision.commit else "",
        "ci_run": revision.ci.url or revision.ci.run,
    }
    return tuple(_tag(name, value) for name, value in known.items() if value)


def _tag(name: str, value: str) -> str:
    tag = f"{name}:{quote(value.encode('utf-8', 'surrogatepass'), safe=_SAFE)}"
    # The limit may cut an escape in two.
    return re.sub(r"%.?$", "", tag[:_LONGEST_TAG])


def _checkout(root: Path, *, known: bool) -> Checkout:
    """What git says; nothing if git can't be asked and the branch is known without it."""
    try:
        return checkout_of(root)
    except UsageError:
        if known:
            return Checkout()
        raise


def _is_behind(root: Path, revision: Revision, other: str) -> bool:
    """Whether the other commit is a later one of the same history, as far as this clone has it."""
    return other != revision.commit and contains(root, revision.commit, of=other)


def _older(root: Path, revision: Revision, head: str, how: str) -> UsageError:
    if revision.ci.name:
        where, newer = revision.ci.name, f"The run for {head[:12]} deploys it"
    else:
        where, newer = f"In {root}", f"`git pull origin {revision.git_branch}`"
    return UsageError(
        f"The git branch {revision.git_branch!r} {how} commit {head[:12]}, which commit "
        f"{revision.head[:12]} does not contain: deploying this would take back what came since",
        where=where,
        allowed="A branch is taken back on purpose only",
        fix=f"{newer}; to go back to this: `flowproject deploy --roll-back`",
    )


def _elsewhere(ci: CI) -> CI:
    """The run, without the pull request: that is another branch's."""
    return CI(name=ci.name, run=ci.run, url=ci.url, default_branch=ci.default_branch)


def _nameless(root: Path, ci: CI, checkout: Checkout) -> UsageError:
    if ci.name:
        what = f"{ci.name} runs this for no branch: perhaps for a tag"
    elif checkout.commit:
        what = f"No branch is checked out: HEAD is detached, at commit {checkout.commit[:12]}"
    else:
        what = "This folder is in no git repository, so no branch names the deployment"
    return UsageError(
        what,
        where=f"In {root}",
        allowed="A deployment is named after a git branch, which --git-branch, the variables of a "
        "CI, or git itself must tell",
        fix="Say which: `--git-branch NAME`, or check it out: `git switch NAME`",
    )


def _head_of(root: Path, branch: str) -> str:
    try:
        return remote_head(root, branch) or ""
    except UsageError:
        return ""
