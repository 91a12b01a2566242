"""What real git repositories say: the branch, the commit, the remote's branches, or why not."""

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from flowproject.deploy.ci import CI
from flowproject.deploy.git import Checkout, checkout_of, remote_branches
from flowproject.deploy.revision import (
    Revision,
    check_not_behind,
    newer_head,
    revision_of,
    tags_of,
    warnings_about_merge,
)
from flowproject.errors import UsageError

NAMES = ["feature/x", "Feature_X", "fix#12", "größe/🎉", "a;b$(c)`d`'e'", "x" * 200]


@pytest.fixture(autouse=True)
def git_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the person who runs the tests must not decide them."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.com")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A repository with one commit on main, a clone of a remote that has it too."""
    remote = tmp_path / "remote"
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(remote))
    (remote / "flowproject.toml").write_text('project_name = "demo"\n')
    git(remote, "add", ".")
    git(remote, "commit", "--quiet", "--message", "Start")
    git(tmp_path, "clone", "--quiet", str(remote), str(tmp_path / "home"))
    return tmp_path / "home"


def git(folder: Path, *arguments: str) -> str:
    told = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def test_a_clone_says_branch_commit_and_the_remotes_default(home: Path) -> None:
    commit = git(home, "rev-parse", "HEAD")
    assert checkout_of(home) == Checkout(branch="main", commit=commit, default_branch="main")


@pytest.mark.parametrize("name", NAMES)
def test_whatever_git_allows_as_a_name_is_read_as_it_is(home: Path, name: str) -> None:
    git(home, "switch", "--quiet", "--create", name)
    assert checkout_of(home).branch == name
    git(home, "push", "--quiet", "origin", name)
    assert remote_branches(home) == {"main", name}


def test_files_that_differ_from_the_commit_make_it_dirty(home: Path) -> None:
    inside = home / "inside"
    inside.mkdir()
    assert not checkout_of(home).dirty
    (home / "newflow.py").touch()
    assert checkout_of(home).dirty
    assert not checkout_of(inside).dirty, "another project of the same repository"


def test_a_folder_without_a_repository_or_a_commit_has_nothing_to_say(tmp_path: Path) -> None:
    assert checkout_of(tmp_path) == Checkout()
    git(tmp_path, "init", "--quiet", "--initial-branch", "new")
    assert checkout_of(tmp_path) == Checkout(branch="new")


def test_a_detached_head_is_an_error_that_says_what_to_do(home: Path) -> None:
    commit = git(home, "rev-parse", "HEAD")
    git(home, "checkout", "--quiet", "--detach")
    assert checkout_of(home).branch == ""
    with pytest.raises(UsageError) as caught:
        revision_of(home, {})
    said = str(caught.value)
    assert said.startswith(f"No branch is checked out: HEAD is detached, at commit {commit[:12]}.")
    assert f"In {home}." in said
    assert "--git-branch, the variables of a CI, or git itself must tell" in said
    assert said.endswith("`--git-branch NAME`, or check it out: `git switch NAME`")


def test_a_folder_in_no_repository_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in no git repository.*`--git-branch NAME`"):
        revision_of(tmp_path, {})
    with pytest.raises(UsageError, match="CircleCI runs this for no branch: perhaps for a tag"):
        revision_of(tmp_path, {"CIRCLECI": "true"})


def test_the_option_goes_before_the_ci_and_the_ci_before_git(home: Path) -> None:
    git(home, "checkout", "--quiet", "--detach")
    commit = git(home, "rev-parse", "HEAD")
    circle = {"CIRCLECI": "true", "CIRCLE_BRANCH": "feature/x", "CIRCLE_BUILD_NUM": "7"}
    pull = circle | {"CIRCLE_PULL_REQUEST": "https://github.com/a/b/pull/12"}
    by_ci = revision_of(home, pull)
    assert (by_ci.git_branch, by_ci.commit, by_ci.ci.pull_request) == ("feature/x", commit, "12")
    named = revision_of(home, pull, "other")
    assert (named.git_branch, named.ci.run) == ("other", "7")
    assert named.ci.pull_request == "", "the pull request is about another branch"
    git(home, "switch", "--quiet", "main")
    assert revision_of(home, {}).git_branch == "main"


def test_the_full_name_of_a_ref_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="Leave out the beginning: `--git-branch feature/x`"):
        revision_of(home, {}, "refs/heads/feature/x")


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_option_does_not_pass_for_the_branch_that_is_checked_out(
    home: Path, empty: str
) -> None:
    with pytest.raises(UsageError, match="--git-branch is empty.*or leave the option out"):
        revision_of(home, {}, empty)


def test_without_git_a_branch_that_is_named_is_enough(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="git is not installed.*`--git-branch NAME`"):
        revision_of(home, {})
    assert revision_of(home, {}, "main").commit == ""


def test_a_remote_that_does_not_answer_is_an_error_and_never_an_empty_list(home: Path) -> None:
    address = "https://user:s3cret@127.0.0.1:1/acme/weather.git"
    git(home, "remote", "set-url", "origin", address)
    with pytest.raises(UsageError, match="The branches of the remote 'origin' can't be") as caught:
        remote_branches(home)
    assert "s3cret" not in str(caught.value)
    git(home, "remote", "remove", "origin")
    with pytest.raises(UsageError, match="`git ls-remote --heads origin` works there"):
        remote_branches(home)


def test_a_remote_without_a_branch_is_an_error(home: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "empty")
    git(home, "remote", "set-url", "origin", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="has no branch at all"):
        remote_branches(home)


def test_a_branch_that_is_gone_from_the_remote_is_gone_whatever_the_clone_remembers(
    home: Path, tmp_path: Path
) -> None:
    git(home, "switch", "--quiet", "--create", "gone")
    git(home, "push", "--quiet", "origin", "gone")
    git(tmp_path / "remote", "branch", "--delete", "--force", "gone")
    assert "origin/gone" in git(home, "branch", "--remotes")
    assert remote_branches(home) == {"main"}


def test_what_is_deployed_is_told_by_tags(home: Path) -> None:
    commit = git(home, "rev-parse", "HEAD")
    (home / "newflow.py").touch()
    azure = {
        "TF_BUILD": "True",
        "BUILD_BUILDID": "7",
        "BUILD_SOURCEBRANCH": "refs/heads/main",
        "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
        "SYSTEM_TEAMPROJECT": "weather",
    }
    assert tags_of(revision_of(home, azure)) == (
        "git_branch:main",
        f"git_commit:{commit}-dirty",
        "ci_run:https://dev.azure.com/acme/weather/_build/results%3FbuildId%3D7",
    )
    assert tags_of(revision_of(home, {}))[2:] == ()


@pytest.mark.parametrize("name", [*NAMES, "é" * 250, "\ud800"])
def test_tags_are_legal_for_metaflow_and_mean_nothing_to_a_shell(tmp_path: Path, name: str) -> None:
    """Metaflow pastes tags into the commands of an Argo template without quoting them."""
    from metaflow.tagging_util import validate_tags

    revision = Revision(git_branch=name, commit="", dirty=False, default_branch="", ci=CI())
    tags = tags_of(revision)
    validate_tags(tags)
    command = f"printf '<%s>' --tag {' --tag '.join(tags)}"
    told = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout == "".join(f"<--tag><{tag}>" for tag in tags)
    assert unquote(tags[0], errors="replace").startswith(f"git_branch:{name[:80]}"[:11])
    assert "{" not in tags[0], "Argo's own templating"


def test_a_forks_pull_request_is_refused_where_something_would_be_deployed() -> None:
    ci = CI(name="Buildkite", branch="oc:main", pull_request="12", fork=True)
    theirs = Revision(git_branch="oc:main", commit="", dirty=False, default_branch="", ci=ci)
    with pytest.raises(UsageError, match=r"Pull request 12 comes from a fork \(oc:main\)"):
        theirs.refuse_fork()
    Revision(git_branch="main", commit="", dirty=False, default_branch="", ci=CI()).refuse_fork()


GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}


def commit(folder: Path, message: str = "More") -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def shallow(home: Path, ref: str) -> Path:
    """A clone as a CI makes it: one commit, on no branch."""
    clone = home.parent / f"ci-{ref[:7]}"
    git(home.parent, "init", "--quiet", str(clone))
    git(clone, "remote", "add", "origin", f"file://{home.parent / 'remote'}")
    git(clone, "fetch", "--quiet", "--depth", "1", "origin", ref)
    git(clone, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    return clone


def test_the_job_of_an_older_push_run_again_does_not_take_the_branch_back(home: Path) -> None:
    remote = home.parent / "remote"
    git(remote, "config", "uploadpack.allowAnySHA1InWant", "true")
    old, new = git(remote, "rev-parse", "HEAD"), commit(remote)
    late = shallow(home, old)
    with pytest.raises(UsageError) as caught:
        check_not_behind(late, revision_of(late, GITHUB | {"GITHUB_SHA": old}), ())
    assert str(caught.value) == (
        f"The git branch 'main' is at commit {new[:12]}, which commit {old[:12]} does not contain: "
        "deploying this would take back what came since. GitHub Actions. A branch is taken back on "
        f"purpose only. The run for {new[:12]} deploys it; to go back to this: "
        "`flowproject deploy --roll-back`"
    )
    newest = shallow(home, new)
    assert check_not_behind(newest, revision_of(newest, GITHUB | {"GITHUB_SHA": new}), ()) == ""


def test_a_laptop_deploys_what_is_not_pushed_and_says_when_it_has_not_pulled(home: Path) -> None:
    mine = commit(home)
    assert check_not_behind(home, revision_of(home, {}), ()) == ""
    git(home, "checkout", "--quiet", "--detach")
    assert check_not_behind(home, revision_of(home, {}, "main"), ()) == "", (
        "of no branch, but named"
    )
    git(home, "switch", "--quiet", "--create", "nobody-has-it-yet")
    assert check_not_behind(home, revision_of(home, {}), ()) == ""
    git(home, "switch", "--quiet", "main")
    commit(home.parent / "remote", "A colleague's")
    with pytest.raises(UsageError, match=rf"{mine[:12]} does not .*`git pull origin main`; to go"):
        check_not_behind(home, revision_of(home, {}), ())
    git(home, "pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
    assert check_not_behind(home, revision_of(home, {}), ()) == "", "it has both now"


def test_a_branch_that_is_gone_from_the_remote_is_not_deployed_by_a_late_job(home: Path) -> None:
    here = GITHUB | {"GITHUB_REF_NAME": "gone", "GITHUB_SHA": git(home, "rev-parse", "HEAD")}
    with pytest.raises(UsageError, match="The remote has no git branch 'gone' any more"):
        check_not_behind(home, revision_of(home, here), ())


def test_where_the_remote_cannot_be_asked_what_is_deployed_stands_for_it(home: Path) -> None:
    old, new = git(home, "rev-parse", "HEAD"), commit(home)
    git(home, "remote", "set-url", "origin", str(home / "nowhere"))
    assert check_not_behind(home, revision_of(home, {}), [old, new, "0" * 40]).startswith(
        f"Whether the branch is further on than commit {new[:12]} is not known. The branches of "
    )
    git(home, "checkout", "--quiet", "--detach", old)
    with pytest.raises(
        UsageError, match=f"is deployed at commit {new[:12]}, which commit {old[:12]}"
    ):
        check_not_behind(home, revision_of(home, {}, "main"), [new])
    git(home, "remote", "remove", "origin")
    assert check_not_behind(home, revision_of(home, {}, "main"), [new]) == "", "there is no remote"


def merging(home: Path) -> Revision:
    ci = CI(
        name="CircleCI",
        branch="feature/x",
        pull_request="12",
        target_branch="main",
        commit=git(home, "rev-parse", "feature/x"),
    )
    head = git(home, "rev-parse", "HEAD")
    return Revision(git_branch="feature/x", commit=head, dirty=False, default_branch="", ci=ci)


def test_a_merge_that_is_checked_out_stands_for_its_branch_and_lacks_nothing(home: Path) -> None:
    git(home, "switch", "--quiet", "--create", "feature/x")
    head = commit(home)
    git(home, "push", "--quiet", "origin", "feature/x")
    assert warnings_about_merge(home, merging(home)) == (), "main has nothing that it lacks"
    commit(home.parent / "remote", "Meanwhile")
    [doubt] = warnings_about_merge(home, merging(home))
    assert doubt.startswith("Compared is feature/x as it is: what main got since it began is")
    git(home, "fetch", "--quiet")
    git(home, "checkout", "--quiet", "--detach", "origin/main")
    git(home, "merge", "--quiet", "--no-edit", "feature/x")
    merged = merging(home)
    assert (merged.is_merge, merged.head, merged.merged().git_branch) == (True, head, "main")
    assert warnings_about_merge(home, merged) == ()
    assert check_not_behind(home, merged, ()) == "", "the head of its branch is in it"
    assert newer_head(home, merged) == ""
    git(home, "switch", "--quiet", "feature/x")
    later = commit(home)
    git(home, "push", "--quiet", "origin", "feature/x")
    assert newer_head(home, merged) == later
