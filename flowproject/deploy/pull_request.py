"""What a pull request is told: what merging it would change, and what is deployed of its branch."""

from collections.abc import Sequence
from pathlib import Path

from flowproject.deploy.branches import Target
from flowproject.deploy.git import contains, remote_head
from flowproject.deploy.objects import TEMPLATE, Found
from flowproject.deploy.report import Report, Row
from flowproject.deploy.revision import Revision
from flowproject.deploy.teardown import belonging
from flowproject.errors import UsageError

__all__ = ["doubts_about_merge", "merge_title", "newer_head", "report_of_branch"]


def merge_title(revision: Revision, target: Target) -> str:
    """What the plan of a merge is called."""
    where = "production" if target.production else "its deployment"
    return f"Merging {revision.git_branch} into {target.git_branch} changes {where}"


def doubts_about_merge(root: Path, revision: Revision) -> tuple[str, ...]:
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


def report_of_branch(
    found: Sequence[Found], *, project: str, target: Target, revision: Revision
) -> Report:
    """What is deployed of the pull request's own branch now, and since which commit.

    Read, not compiled: what the push changes there is told by the job that deploys it.
    """
    there = belonging(found, project=project, branch=target.metaflow_name)
    templates = sorted((one for one in there if one.kind == TEMPLATE), key=lambda one: one.flow)
    rows = tuple(
        Row(flow=one.flow, state="deployed", what=_since(one, revision)) for one in templates
    )
    nothing = f"Nothing of {target.git_branch} is deployed here, or not yet: its push does that."
    return Report(project=project, target=target, rows=rows, notes=() if rows else (nothing,))


def _head_of(root: Path, branch: str) -> str:
    try:
        return remote_head(root, branch) or ""
    except UsageError:
        return ""


def _since(one: Found, revision: Revision) -> str:
    commit = one.annotations.get("flowproject/git_commit", "")
    if not commit:
        return "by a commit that is not known"
    same = ", which this is about" if commit == revision.head else ""
    return f"last changed by commit {commit[:12]}{same}"
