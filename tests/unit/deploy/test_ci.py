"""What each CI says about its run, in the words of its own variables."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowproject.deploy.ci import CI, ci_of

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_REF": "refs/heads/feature/x",
    "GITHUB_REF_NAME": "feature/x",
    "GITHUB_REF_TYPE": "branch",
    "GITHUB_REPOSITORY": "acme/weather",
    "GITHUB_RUN_ID": "77",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_SHA": "c" * 40,
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_COMMIT_SHA": "c" * 40,
    "CI_DEFAULT_BRANCH": "main",
    "CI_PIPELINE_ID": "77",
    "CI_PIPELINE_URL": "https://gitlab.com/acme/weather/-/pipelines/77",
    "CI_PROJECT_ID": "5",
}
CIRCLECI = {
    "CIRCLECI": "true",
    "CIRCLE_BRANCH": "feature/x",
    "CIRCLE_BUILD_NUM": "77",
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/weather/77",
    "CIRCLE_SHA1": "c" * 40,
}
AZURE = {
    "TF_BUILD": "True",
    "BUILD_BUILDID": "77",
    "BUILD_SOURCEBRANCH": "refs/heads/feature/x",
    "BUILD_SOURCEVERSION": "c" * 40,
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
    "SYSTEM_TEAMPROJECT": "weather",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_BRANCH": "feature/x",
    "BUILDKITE_BUILD_NUMBER": "77",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/weather/builds/77",
    "BUILDKITE_COMMIT": "c" * 40,
    "BUILDKITE_PIPELINE_DEFAULT_BRANCH": "main",
    "BUILDKITE_PULL_REQUEST": "false",
    "BUILDKITE_PULL_REQUEST_REPO": "",
    "BUILDKITE_REPO": "git@github.com:acme/weather.git",
}
REQUEST = {
    "GitLab CI": {
        "CI_MERGE_REQUEST_IID": "12",
        "CI_MERGE_REQUEST_PROJECT_PATH": "acme/weather",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature/x",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "acme/weather",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    },
    "CircleCI": {"CIRCLE_PULL_REQUEST": "https://github.com/acme/weather/pull/12"},
    "Azure Pipelines": {
        "BUILD_SOURCEBRANCH": "refs/pull/12/merge",
        "SYSTEM_PULLREQUEST_ISFORK": "False",
        "SYSTEM_PULLREQUEST_PULLREQUESTID": "12",
        "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/feature/x",
        "SYSTEM_PULLREQUEST_SOURCECOMMITID": "c" * 40,
        "SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/main",
    },
    "Buildkite": {
        "BUILDKITE_PULL_REQUEST": "12",
        "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main",
        "BUILDKITE_PULL_REQUEST_REPO": "git://github.com/acme/weather.git",
    },
}
ALL = {
    "GitHub Actions": GITHUB,
    "GitLab CI": {**GITLAB, "CI_COMMIT_BRANCH": "feature/x"},
    "CircleCI": CIRCLECI,
    "Azure Pipelines": AZURE,
    "Buildkite": BUILDKITE,
}


def github(tmp_path: Path, event: dict[str, Any], **more: str) -> CI:
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"repository": {"default_branch": "main"}, **event}))
    return ci_of({**GITHUB, "GITHUB_EVENT_PATH": str(file), **more})


def pull(repository: str | None, label: str = "acme:feature/x", ref: str = "feature/x") -> Any:
    repo = repository and {"full_name": repository}
    head = {"ref": ref, "sha": "c" * 40, "label": label, "repo": repo}
    return {"number": 12, "pull_request": {"number": 12, "head": head, "base": {"ref": "main"}}}


MERGED = {
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_HEAD_REF": "feature/x",
    "GITHUB_REF_NAME": "12/merge",
    "GITHUB_SHA": "d" * 40,
}


def test_without_the_variables_of_a_ci_there_is_none() -> None:
    assert ci_of({}) == CI()
    assert ci_of({"CI": "true", "GITHUB_REF_NAME": "x", "GITLAB_CI": "false"}) == CI()


@pytest.mark.parametrize("name", ALL)
def test_a_push_is_for_its_branch(name: str) -> None:
    found = ci_of(ALL[name])
    assert (found.name, found.branch, found.commit) == (name, "feature/x", "c" * 40)
    assert (found.pull_request, found.fork, found.run) == ("", False, "77")
    assert found.url.startswith("https://")
    assert "77" in found.url


@pytest.mark.parametrize("name", REQUEST)
def test_a_pull_request_is_for_the_branch_that_it_wants_merged(name: str) -> None:
    base = GITLAB if name == "GitLab CI" else ALL[name]
    found = ci_of({**base, **REQUEST[name]})
    assert (found.branch, found.commit) == ("feature/x", "c" * 40)
    assert (found.pull_request, found.fork) == ("12", False)
    assert found.target_branch == ("" if name == "CircleCI" else "main"), "CircleCI does not tell"


def test_a_pull_request_of_github_is_for_its_head_and_not_for_the_merge(tmp_path: Path) -> None:
    found = github(tmp_path, pull("acme/weather"), **MERGED)
    assert (found.branch, found.commit) == ("feature/x", "c" * 40)
    assert (found.pull_request, found.fork, found.default_branch) == ("12", False, "main")
    assert found.target_branch == "main"


def test_a_fork_is_recognised_and_its_main_is_not_ours(tmp_path: Path) -> None:
    theirs = github(tmp_path, pull("octocat/weather", "octocat:main", "main"), **MERGED)
    assert (theirs.fork, theirs.branch) == (True, "octocat:main")
    gone = github(tmp_path, pull(None, "octocat:main", "main"), **MERGED)
    assert (gone.fork, gone.branch) == (True, "octocat:main")


def test_a_pull_request_that_nothing_is_known_of_counts_as_a_forks() -> None:
    found = ci_of({**GITHUB, **MERGED, "GITHUB_EVENT_PATH": "/nowhere.json"})
    assert (found.fork, found.branch) == (True, "fork:feature/x")


@pytest.mark.parametrize(
    "variables, branch",
    [
        (
            {**GITLAB, **REQUEST["GitLab CI"], "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "oc/w"},
            "oc/w:feature/x",
        ),
        (
            {
                **CIRCLECI,
                "CIRCLE_BRANCH": "pull/12",
                "CIRCLE_PR_NUMBER": "12",
                "CIRCLE_PR_USERNAME": "oc",
            },
            "oc:pull/12",
        ),
        (
            {**AZURE, **REQUEST["Azure Pipelines"], "SYSTEM_PULLREQUEST_ISFORK": "True"},
            "fork:feature/x",
        ),
        (
            {
                **BUILDKITE,
                **REQUEST["Buildkite"],
                "BUILDKITE_PULL_REQUEST_REPO": "https://github.com/oc/weather.git",
            },
            "oc:feature/x",
        ),
        (
            {
                **BUILDKITE,
                **REQUEST["Buildkite"],
                "BUILDKITE_BRANCH": "oc:main",
                "BUILDKITE_PULL_REQUEST_REPO": "https://github.com/oc/weather.git",
            },
            "oc:main",
        ),
    ],
)
def test_every_ci_knows_a_fork(variables: dict[str, str], branch: str) -> None:
    found = ci_of(variables)
    assert (found.fork, found.branch, found.pull_request) == (True, branch, "12")


@pytest.mark.parametrize(
    "variables",
    [
        {**GITHUB, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.0"},
        {**GITLAB, "CI_COMMIT_TAG": "v1.0"},
        {**CIRCLECI, "CIRCLE_BRANCH": "", "CIRCLE_TAG": "v1.0"},
        {**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v1.0"},
        {**BUILDKITE, "BUILDKITE_TAG": "v1.0", "BUILDKITE_BRANCH": "v1.0"},
    ],
)
def test_a_run_for_a_tag_is_for_no_branch(variables: dict[str, str]) -> None:
    assert ci_of(variables).branch == ""


def test_a_deleted_branch_is_the_one_that_was_deleted(tmp_path: Path) -> None:
    """GitHub runs such a workflow on the default branch."""
    gone = {"ref": "feature/x", "ref_type": "branch"}
    on_main = {"GITHUB_EVENT_NAME": "delete", "GITHUB_REF_NAME": "main"}
    assert github(tmp_path, gone, **on_main).branch == "feature/x"
    assert github(tmp_path, {**gone, "ref_type": "tag"}, **on_main).branch == ""


def test_a_branch_of_gitlab_knows_its_open_merge_request() -> None:
    opened = {"CI_COMMIT_BRANCH": "x", "CI_OPEN_MERGE_REQUESTS": "acme/weather!12,acme/weather!13"}
    assert ci_of({**GITLAB, **opened}).pull_request == "12"


def test_the_number_of_a_pull_request_on_github_goes_before_azures_own_id() -> None:
    numbered = {**REQUEST["Azure Pipelines"], "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER": "7"}
    assert ci_of({**AZURE, **numbered}).pull_request == "7"
    short = {**REQUEST["Azure Pipelines"], "SYSTEM_PULLREQUEST_SOURCEBRANCH": "feature/x"}
    assert ci_of({**AZURE, **short}).branch == "feature/x"
    spaced = ci_of({**AZURE, "SYSTEM_TEAMPROJECT": "my weather"})
    assert spaced.url == "https://dev.azure.com/acme/my%20weather/_build/results?buildId=77"


def test_a_build_that_was_started_by_hand_has_no_commit_yet() -> None:
    assert ci_of({**BUILDKITE, "BUILDKITE_COMMIT": "HEAD"}).commit == ""
