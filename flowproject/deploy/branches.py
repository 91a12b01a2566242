"""Names the deployment of a git branch, and says whether it is production. Pure.

Two git branches never share a deployment. Argo Workflows gets a name without the underscores that
Metaflow allows, so names must differ without them too.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from flowproject.config import Deploy
from flowproject.globs import Globs

__all__ = ["LONGEST", "Target", "metaflow_branch", "target_of", "warnings_about"]

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
