"""Names the deployment of a git branch, and tells which objects it has and whether it is dead.

Pure. Two git branches never share a deployment. Argo Workflows gets a name without the underscores
that Metaflow allows, so names must differ without them too.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from flowproject.config import Deploy
from flowproject.deploy.objects import CRON, TEMPLATE, DeployedObject
from flowproject.globs import Globs

__all__ = [
    "LONGEST",
    "BranchVerdict",
    "Target",
    "Verdict",
    "judge_branches",
    "metaflow_branch",
    "objects_of_branch",
    "target_of",
    "warnings_about",
]

LONGEST: Final = 20
"""Characters of a branch's name. Metaflow allows 128, but cuts what it hands to Argo Workflows at
45: with these 20, `weather.test.BRANCH.StarterFlow` just fits, and can be read on the cluster."""

_TAIL: Final = 7
_DIGITS: Final = "0123456789"
# What a hash is spelled in: without vowels no word, without `l` no doubt.
_LETTERS: Final = "0123456789bcdfghjkmnpqrstvwxyz"

_PLAIN: Final = re.compile(rf"[a-z0-9]{{1,{LONGEST}}}")
_HASHED: Final = re.compile(rf".*[{_DIGITS}][{_LETTERS}]{{{_TAIL - 1}}}")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a git branch is deployed to."""

    git_branch: str
    branch: str
    """What Metaflow's `--branch` gets; empty for production, which has `--production` instead."""

    production: bool
    schedules: bool
    """Whether sensors run on schedule there."""

    foreign_events: bool = True
    """Whether events that come from elsewhere start flows there."""

    @property
    def metaflow_name(self) -> str:
        """The branch as Metaflow spells it, in annotations, events and the journal's folders."""
        return "prod" if self.production else f"test.{self.branch}"


def target_of(git_branch: str, settings: Deploy) -> Target:
    """Where the git branch is deployed to; only the production branch is ever production."""
    production = git_branch == settings.production_branch

    def among(patterns: tuple[str, ...]) -> bool:
        # Production's sensors always run on schedule: a list of other branches that silently
        # stopped production would be the worse mistake.
        return production or (bool(patterns) and Globs(patterns).match(git_branch))

    return Target(
        git_branch=git_branch,
        branch="" if production else metaflow_branch(git_branch),
        production=production,
        schedules=among(settings.schedule_branches),
        foreign_events=among(settings.foreign_event_branches),
    )


def warnings_about(target: Target, settings: Deploy, default_branch: str) -> tuple[str, ...]:
    """A sentence if the repository's default branch goes somewhere else than to production."""
    if target.production or target.git_branch != default_branch:
        return ()
    return (
        (
            f"{default_branch} is the default branch of this repository, but production is "
            f"{settings.production_branch}. If that is a mistake: "
            f'`production_branch = "{default_branch}"` under [deploy].'
        ),
    )


def metaflow_branch(git_branch: str) -> str:
    """The name itself if it is short and plain, else what can be read of it and a hash of it all.

    A plain name that ends like a hash gets one too, so no name is ever another's hashed one. Names
    are compared, kept and deleted by this for as long as a deployment lives: it must never change.
    """
    if _PLAIN.fullmatch(git_branch) and not _HASHED.fullmatch(git_branch):
        return git_branch
    readable = re.sub(r"[^a-z0-9]+", "_", git_branch.lower()).strip("_")
    # One sign is the underscore between the readable part and the hash.
    room = LONGEST - _TAIL - 1
    return f"{readable[:room]}_{_tail(git_branch)}".lstrip("_").replace("__", "_")


def _tail(git_branch: str) -> str:
    """A digit and letters that stand for the whole name: 33 bits of its SHA-256."""
    # Git allows bytes in a name that are no UTF-8; Python has them as surrogates.
    number = int.from_bytes(sha256(git_branch.encode("utf-8", "surrogatepass")).digest())
    number, place = divmod(number, len(_DIGITS))
    tail = _DIGITS[place]
    for _ in range(_TAIL - 1):
        number, place = divmod(number, len(_LETTERS))
        tail += _LETTERS[place]
    return tail


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
