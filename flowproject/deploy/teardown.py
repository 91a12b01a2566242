"""Removing what is deployed: of one branch, or of every branch that git no longer has."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from flowproject.deploy.objects import TEMPLATE, Found

__all__ = ["Dead", "belonging", "dead_branches"]

_TEST: Final = "test."
"""What Metaflow calls every branch that is deployed with `--branch`."""


@dataclass(frozen=True, kw_only=True)
class Dead:
    """A branch on the cluster, and whether it goes."""

    branch: str
    """As Metaflow spells it."""

    git_branch: str
    """As its deployment noted it; empty if it noted none."""

    verdict: Literal["dead", "alive", "kept"]
    why: str
    objects: tuple[Found, ...]


def belonging(found: Sequence[Found], *, project: str, branch: str) -> list[Found]:
    """Everything of a branch, also what an interrupted deploy or teardown left.

    A schedule that Metaflow wrote says only its name: it belongs to the template of that name.
    """
    own = [one for one in found if (one.project, one.branch) == (project, branch)]
    names = {one.name for one in own if one.kind == TEMPLATE}
    bare = [one for one in found if not one.project and one.kind == "cronworkflows"]
    return own + [one for one in bare if one.name in names]


def dead_branches(
    found: Sequence[Found], *, project: str, alive: Collection[str]
) -> list[Dead]:
    """Every branch of the project on the cluster, with what is to become of it.

    `alive` are the branches that git has, as Metaflow spells them. Only what flowproject deployed
    from a git branch can be dead: never production, a user's own branch, or what it can't read.
    """
    branches = sorted({one.branch for one in found if one.project == project and one.branch})
    return [_judged(branch, belonging(found, project=project, branch=branch), alive)
            for branch in branches]


def _judged(branch: str, objects: Sequence[Found], alive: Collection[str]) -> Dead:
    noted = {one.annotations.get("flowproject/git_branch", "") for one in objects} - {""}
    git_branch = next(iter(sorted(noted)), "")
    verdict: Literal["dead", "alive", "kept"] = "kept"
    if not branch.startswith(_TEST):
        why = "no git branch is deployed like this" if branch != "prod" else "production"
    elif branch in alive:
        verdict, why = "alive", "git has the branch"
    elif not noted:
        why = "deployed without flowproject"
    elif len(noted) > 1:
        why = f"deployed from several git branches: {', '.join(sorted(noted))}"
    else:
        verdict, why = "dead", f"git no longer has the branch {git_branch!r}"
    return Dead(
        branch=branch, git_branch=git_branch, verdict=verdict, why=why, objects=tuple(objects)
    )
