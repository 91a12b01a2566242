"""Reads from variables which CI this runs in, and for which branch, commit and pull request.

Belongs here: what each system calls these things. What is done with them: `revision`, `summary`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

__all__ = ["CI", "ci_of"]

Environ = Mapping[str, str]

_HEADS: Final = "refs/heads/"


@dataclass(frozen=True, kw_only=True)
class CI:
    """A run of a CI system; all empty if there is none."""

    name: str = ""
    branch: str = ""
    """The git branch that the run is for; for a pull request the one that it wants merged. That of
    a fork is written `owner:branch`, which no branch can be called: a fork's `main` is not ours."""

    commit: str = ""
    pull_request: str = ""
    """Its number, as text; empty if the run is for none."""

    target_branch: str = ""
    """The git branch that the pull request is to be merged into; empty if that is not told."""

    fork: bool = False
    """Whether the pull request comes from somebody else's repository."""

    default_branch: str = ""
    run: str = ""
    """The run's number or id."""

    url: str = ""
    """The run's page."""


def ci_of(environ: Environ) -> CI:
    """The CI whose variables are set, or an empty one."""
    for variable, read in _SYSTEMS.items():
        # Azure says True, GitHub and others true; a variable that is set and empty says nothing.
        if environ.get(variable, "").lower() in {"true", "1"}:
            return read(environ)
    return CI()


def _github(environ: Environ) -> CI:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/variables."""
    event = _event(environ.get("GITHUB_EVENT_PATH", ""))
    # The variables tell of a pull request's merge only: its head and its fork stand in the event.
    pull: dict[str, Any] = event.get("pull_request") or {}
    head: dict[str, Any] = pull.get("head") or {}
    repository = environ.get("GITHUB_REPOSITORY", "")
    home = f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
    requested = head.get("ref") or environ.get("GITHUB_HEAD_REF", "")
    # Who is not known to be one of us is none: a deleted fork has no repository any more.
    fork = bool(requested) and (head.get("repo") or {}).get("full_name") != repository
    branch = requested or _github_ref(environ, event)
    run = environ.get("GITHUB_RUN_ID", "")
    return CI(
        name="GitHub Actions",
        branch=_foreign(head.get("label", "").partition(":")[0], branch) if fork else branch,
        commit=head.get("sha") or environ.get("GITHUB_SHA", ""),
        pull_request=str(pull.get("number", "")),
        target_branch=(pull.get("base") or {}).get("ref", ""),
        fork=fork,
        default_branch=(event.get("repository") or {}).get("default_branch", ""),
        run=run,
        url=f"{home}/actions/runs/{run}" if run else "",
    )


def _github_ref(environ: Environ, event: Mapping[str, Any]) -> str:
    """The branch that was pushed, or that was deleted: that run's own ref is the default branch."""
    # Such a run checks out the default branch, whose deployment must not go for another's.
    if environ.get("GITHUB_EVENT_NAME") == "delete":
        return str(event.get("ref", "")) if event.get("ref_type") == "branch" else ""
    return environ.get("GITHUB_REF_NAME", "") if environ.get("GITHUB_REF_TYPE") == "branch" else ""


def _event(path: str) -> dict[str, Any]:
    """What started a workflow of GitHub; nothing if it can't be read."""
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _gitlab(environ: Environ) -> CI:
    """https://docs.gitlab.com/ci/variables/predefined_variables."""
    source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "")
    fork = source != environ.get("CI_MERGE_REQUEST_PROJECT_PATH", "")
    requested = environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "")
    # A pipeline for a branch knows its open merge requests: `group/project!12,group/project!13`.
    opened = re.match(r"[^,]*!(\d+)", environ.get("CI_OPEN_MERGE_REQUESTS", ""))
    branch = requested or environ.get("CI_COMMIT_BRANCH", "")
    return CI(
        name="GitLab CI",
        branch=_foreign(source, branch) if fork else branch,
        commit=environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
        or environ.get("CI_COMMIT_SHA", ""),
        pull_request=environ.get("CI_MERGE_REQUEST_IID") or (opened.group(1) if opened else ""),
        target_branch=environ.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", ""),
        fork=fork,
        default_branch=environ.get("CI_DEFAULT_BRANCH", ""),
        run=environ.get("CI_PIPELINE_ID", ""),
        url=environ.get("CI_PIPELINE_URL", ""),
    )


def _circleci(environ: Environ) -> CI:
    """https://circleci.com/docs/reference/variables."""
    # Neither the default branch nor that of a pull request's target is told.
    number = environ.get("CIRCLE_PR_NUMBER", "")  # of a fork's pull request only
    own = environ.get("CIRCLE_PULL_REQUEST", "").rpartition("/")[2]
    branch = environ.get("CIRCLE_BRANCH", "")
    return CI(
        name="CircleCI",
        branch=_foreign(environ.get("CIRCLE_PR_USERNAME", ""), branch) if number else branch,
        commit=environ.get("CIRCLE_SHA1", ""),
        pull_request=number or own,
        fork=bool(number),
        run=environ.get("CIRCLE_BUILD_NUM", ""),
        url=environ.get("CIRCLE_BUILD_URL", ""),
    )


def _azure(environ: Environ) -> CI:
    """https://learn.microsoft.com/azure/devops/pipelines/build/variables."""
    # The branch of a pull request comes with and without `refs/heads/`; GitHub's pull requests have
    # a number beside their id. The default branch is not told.
    requested = environ.get("SYSTEM_PULLREQUEST_SOURCEBRANCH", "").removeprefix(_HEADS)
    built = environ.get("BUILD_SOURCEBRANCH", "")
    branch = requested or (built.removeprefix(_HEADS) if built.startswith(_HEADS) else "")
    number = environ.get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "")
    fork = environ.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "true"
    run = environ.get("BUILD_BUILDID", "")
    project = environ.get("SYSTEM_COLLECTIONURI", "") + quote(environ.get("SYSTEM_TEAMPROJECT", ""))
    return CI(
        name="Azure Pipelines",
        branch=_foreign("", branch) if fork else branch,
        commit=environ.get("SYSTEM_PULLREQUEST_SOURCECOMMITID")
        or environ.get("BUILD_SOURCEVERSION", ""),
        pull_request=number or environ.get("SYSTEM_PULLREQUEST_PULLREQUESTID", ""),
        target_branch=environ.get("SYSTEM_PULLREQUEST_TARGETBRANCH", "").removeprefix(_HEADS),
        fork=fork,
        run=run,
        url=f"{project}/_build/results?buildId={run}" if project and run else "",
    )


def _buildkite(environ: Environ) -> CI:
    """https://buildkite.com/docs/pipelines/configure/environment-variables."""
    number = environ.get("BUILDKITE_PULL_REQUEST", "").replace("false", "")
    theirs = _repository(environ.get("BUILDKITE_PULL_REQUEST_REPO", ""))
    fork = bool(number and theirs) and theirs != _repository(environ.get("BUILDKITE_REPO", ""))
    branch = "" if environ.get("BUILDKITE_TAG") else environ.get("BUILDKITE_BRANCH", "")
    commit = environ.get("BUILDKITE_COMMIT", "")
    return CI(
        name="Buildkite",
        branch=_foreign(theirs.rpartition("/")[0], branch) if fork else branch,
        commit="" if commit == "HEAD" else commit,  # of a build that was started by hand
        pull_request=number,
        target_branch=environ.get("BUILDKITE_PULL_REQUEST_BASE_BRANCH", ""),
        fork=fork,
        default_branch=environ.get("BUILDKITE_PIPELINE_DEFAULT_BRANCH", ""),
        run=environ.get("BUILDKITE_BUILD_NUMBER", ""),
        url=environ.get("BUILDKITE_BUILD_URL", ""),
    )


def _repository(url: str) -> str:
    """`owner/name` of a repository, however its address is written."""
    # https://host/owner/name.git and git@host:owner/name are one repository.
    path = re.sub(r"^(\w+://[^/]*/|[^/:]*:)", "", url)
    return path.removesuffix("/").removesuffix(".git").lower()


def _foreign(owner: str, branch: str) -> str:
    """A fork's branch, in a spelling that no branch of this repository can have."""
    # Git allows no colon in the name of a branch.
    return branch if ":" in branch else f"{owner or 'fork'}:{branch}"


# The variable that tells that a CI is the one, and who reads the others.
_SYSTEMS: Final[Mapping[str, Callable[[Environ], CI]]] = {
    "GITHUB_ACTIONS": _github,
    "GITLAB_CI": _gitlab,
    "CIRCLECI": _circleci,
    "TF_BUILD": _azure,
    "BUILDKITE": _buildkite,
}
