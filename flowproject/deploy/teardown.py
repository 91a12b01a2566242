"""Tells what is to be removed: what is deployed of a branch, or of those that git no longer has."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from flowproject.deploy.objects import CRON, TEMPLATE, DeployedObject

__all__ = ["BranchVerdict", "Verdict", "judge_branches", "objects_of_branch"]

Verdict = Literal["dead", "alive", "kept"]

# What Metaflow calls every branch that is deployed with `--branch`.
_TEST: Final = "test."


@dataclass(frozen=True, kw_only=True)
class BranchVerdict:
    """A branch on the cluster, and whether it goes."""

    branch: str
    """As Metaflow spells it."""

    verdict: Verdict
    why: str
    objects: tuple[DeployedObject, ...]


def objects_of_branch(
    found: Sequence[DeployedObject], *, project: str, branch: str, git_branch: str = ""
) -> list[DeployedObject]:
    """Everything of a branch, also what an interrupted deploy or teardown left.

    A schedule that Metaflow wrote says only its name: it belongs to the template of that name.
    With `git_branch`, what another git branch has deployed under the same name is not in it.
    """
    own = [
        one
        for one in found
        if (one.project, one.branch) == (project, branch)
        and (not git_branch or one.annotations.get("flowproject/git_branch") in (None, git_branch))
    ]
    names = {one.name for one in own if one.kind == TEMPLATE}
    # Of a schedule Metaflow notes neither project nor branch.
    bare = [one for one in found if not one.project and one.kind == CRON]
    return own + [one for one in bare if one.name in names]


def judge_branches(
    found: Sequence[DeployedObject],
    *,
    project: str,
    alive: Collection[str],
    named: Callable[[str], str],
) -> list[BranchVerdict]:
    """Every branch of the project on the cluster, with what is to become of it.

    `alive` are the branches that git has, as Metaflow spells them, and `named` spells them so. Only
    what flowproject deployed from a git branch can be dead: never production, a user's own branch,
    or what is not understood.
    """
    branches = sorted({one.branch for one in found if one.project == project and one.branch})
    return [
        _verdict_on(branch, objects_of_branch(found, project=project, branch=branch), alive, named)
        for branch in branches
    ]


def _verdict_on(
    branch: str,
    objects: Sequence[DeployedObject],
    alive: Collection[str],
    named: Callable[[str], str],
) -> BranchVerdict:
    noted = {one.annotations.get("flowproject/git_branch", "") for one in objects} - {""}
    verdict: Verdict = "kept"
    if branch in alive:
        verdict, why = "alive", "git has the branch"
    elif not branch.startswith(_TEST):
        why = "production" if branch == "prod" else "no git branch is deployed like this"
    elif not noted:
        why = "deployed without flowproject"
    # The annotation was written by hand, or the rule of names was another: not understood, so kept.
    elif {named(one) for one in noted} != {branch}:
        why = f"not what {', '.join(sorted(noted))} would be deployed as"
    else:
        verdict, why = "dead", f"git no longer has {', '.join(sorted(noted))}"
    return BranchVerdict(branch=branch, verdict=verdict, why=why, objects=tuple(objects))
