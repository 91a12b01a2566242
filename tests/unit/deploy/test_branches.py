"""No two git branches share a deployment, and a branch keeps its name for ever."""

import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metaflow.plugins.argo.argo_workflows_cli import sanitize_for_argo
from metaflow.plugins.project_decorator import format_name

from flowproject.config import Deploy
from flowproject.deploy.branches import LONGEST, metaflow_branch, target_of, warnings_about

GOLDEN = {
    "feature/x": "feature_x_0j7x1n7",
    "feature-x": "feature_x_019p13x",
    "feature_x": "feature_x_3t2534t",
    "Feature_X": "feature_x_1h30yr1",
    "featurex": "featurex",
    "dependabot/pip/foo-1.2.3": "dependabot_p_1fbdjzk",
    "fix#12": "fix_12_4y8cg8v",
    "🎉": "2hv7v85",
    "x" * 200: "xxxxxxxxxxxx_18c17y1",
    "HEAD": "head_8gq48q9",
    "main": "main",
    "prod": "prod",
    "production": "production",
    "user.x": "user_x_9x134y0",
    "release/1.0": "release_1_0_3ht09x5",
    "feature/Foo-1": "feature_foo_6nsrws4",
    "v20240101": "v20240101_9pbpjzq",
}
"""Deployments are found again by these: a new version that changes one loses what is deployed."""

NAMES = st.text(max_size=60) | st.text("aA_-/.0bc1", max_size=8)
TRUNK = Deploy(production_branch="trunk")


def on_argo(git_branch: str, settings: Deploy = TRUNK, flow: str = "SensorFlow") -> str:
    """What the template is called on the cluster, by Metaflow's own code."""
    target = target_of(git_branch, settings)
    name, branch = format_name(flow, "weather", target.production, target.branch, "somebody")
    assert branch == target.metaflow_name
    return sanitize_for_argo(name)


@pytest.mark.parametrize("git_branch, branch", GOLDEN.items())
def test_a_branch_keeps_its_name_for_ever(git_branch: str, branch: str) -> None:
    assert metaflow_branch(git_branch) == branch


def test_the_names_that_collided_elsewhere_are_all_distinct_on_the_cluster_too() -> None:
    assert len(set(map(on_argo, GOLDEN))) == len(GOLDEN)


@given(NAMES)
@example("Feature/X" * 60)
def test_metaflow_takes_every_name(git_branch: str) -> None:
    assert re.fullmatch(rf"[a-z0-9][a-z0-9_]{{0,{LONGEST - 1}}}", metaflow_branch(git_branch))


@given(NAMES, NAMES)
def test_two_branches_never_share_a_name_on_argo(one: str, other: str) -> None:
    assert one == other or on_argo(one) != on_argo(other)


@given(NAMES)
def test_a_name_that_looks_like_a_hashed_one_is_not_taken_for_it(git_branch: str) -> None:
    hashed = metaflow_branch(git_branch)
    for forged in {hashed, hashed.replace("_", ""), hashed.replace("_", "-")} - {git_branch}:
        assert on_argo(forged) != on_argo(git_branch)


@given(st.from_regex(r"[a-z]{1,20}", fullmatch=True))
def test_a_plain_word_stays_as_it_is(word: str) -> None:
    assert metaflow_branch(word) == word


@pytest.mark.parametrize("git_branch", [name for name in GOLDEN if name.isascii()])
def test_what_can_be_read_of_a_name_is_kept(git_branch: str) -> None:
    start = re.sub("[^a-z0-9]+", "", git_branch.lower())[:9]
    assert metaflow_branch(git_branch).replace("_", "").startswith(start)


def test_no_name_of_this_project_is_cut_by_metaflow(pytestconfig: pytest.Config) -> None:
    texts = [path.read_text() for path in Path(pytestconfig.rootpath).glob("*flow.py")]
    flows = re.findall(r"^class (\w+)\(BaseFlow\)", "\n".join(texts), re.MULTILINE)
    assert sorted(flows) == ["SensorFlow", "StarterFlow"]
    for flow in flows:
        assert len(f"weather.test.{'b' * LONGEST}.{flow}") <= 45


def test_only_the_production_branch_is_production() -> None:
    target = target_of("main", Deploy())
    assert (target.production, target.branch, target.metaflow_name) == (True, "", "prod")
    for name in ["prod", "production", "Main", "main/", "octocat:main", "user.x", "master"]:
        other = target_of(name, Deploy())
        assert not other.production
        assert other.metaflow_name == f"test.{other.branch}"


def test_branches_called_like_metaflows_own_are_deployments_of_their_own() -> None:
    """`prod`, `prod.x`, `user.x` and `test.x` are what Metaflow calls branches itself."""
    names = ["trunk", "prod", "prod.x", "user.x", "test.x", "x"]
    for one, other in combinations([on_argo(name) for name in names], 2):
        assert one != other
    assert on_argo("trunk") == "weather.prod.sensorflow"
    assert on_argo("prod") == "weather.test.prod.sensorflow"


@pytest.mark.parametrize(
    "git_branch, schedules",
    [
        ("main", True),
        ("staging", True),
        ("release/1.0", True),
        ("release/1.0/fix", False),
        ("hotfix/a/b", True),
        ("feature/x", False),
        ("Staging", False),
    ],
)
def test_production_and_the_branches_that_match_run_on_schedule(
    git_branch: str,
    schedules: bool,  # noqa: FBT001
) -> None:
    also = Deploy(schedule_branches=("staging", "release/*", "hotfix/**"))
    assert target_of(git_branch, also).schedules is schedules
    assert target_of(git_branch, Deploy()).schedules is (git_branch == "main")


def test_a_default_branch_that_is_not_production_is_doubted_once() -> None:
    """A repository with `master` deploys it beside production, unless somebody says so."""
    [doubt] = warnings_about(target_of("master", Deploy()), Deploy(), "master")
    assert doubt == (
        "master is the default branch of this repository, but production is main. "
        'If that is a mistake: `production_branch = "master"` under [deploy].'
    )
    for git_branch, default in [("main", "main"), ("x", "master"), ("main", "master"), ("x", "")]:
        assert warnings_about(target_of(git_branch, Deploy()), Deploy(), default) == ()
