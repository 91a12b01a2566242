"""The script `deploy`, and what the workflow asks of a repository before it does anything."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
OUTERBOUNDS = {
    "DEPLOY_TO": "outerbounds",
    "DEPLOY_OUTERBOUNDS_DOMAIN": "acme.obp.outerbounds.com",
    "DEPLOY_OUTERBOUNDS_PERIMETER": "default",
    "DEPLOY_OUTERBOUNDS_USER": "weather-ci",
}
KUBERNETES = {
    "DEPLOY_TO": "kubernetes",
    "KUBECONFIG_TEXT": "apiVersion: v1\nkind: Config",
    "METAFLOW_CONFIG_TEXT": '{"METAFLOW_DEFAULT_DATASTORE": "s3"}',
}


def fake(file: Path) -> None:
    """A `flowproject` that says what it was called with, and where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('#!/bin/sh\necho "$0" "$(pwd)"\nfor word in "$@"; do echo "<$word>"; done\n')
    file.chmod(0o755)


def run(*command: str, cwd: Path, environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    path = {"PATH": os.defpath}
    return subprocess.run(
        command, cwd=cwd, env=path | environ, capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "my project"
    folder.mkdir()
    shutil.copy(ROOT / "deploy", folder)
    return folder


def test_it_hands_its_arguments_to_the_command_of_the_environment_beside_it(
    project: Path, tmp_path: Path
) -> None:
    fake(project / ".venv" / "bin" / "flowproject")
    told = run(str(project / "deploy"), "--with", "a b", "", cwd=tmp_path, environ={})
    assert told.stdout.splitlines() == [
        f".venv/bin/flowproject {project}",
        "<deploy>",
        "<--with>",
        "<a b>",
        "<>",
    ]


def test_without_an_environment_it_takes_the_command_on_the_path(
    project: Path, tmp_path: Path
) -> None:
    fake(tmp_path / "bin" / "flowproject")
    path = {"PATH": f"{tmp_path / 'bin'}:{os.defpath}"}
    told = run(str(project / "deploy"), cwd=project, environ=path)
    assert told.stdout.splitlines()[0] == f"{tmp_path / 'bin' / 'flowproject'} {project}"


def test_without_any_it_says_how_to_install_it(project: Path) -> None:
    told = run("./deploy", cwd=project, environ={})
    assert told.returncode == 127
    assert f"neither in {project}/.venv/bin nor on the PATH" in told.stderr
    target = re.search(r"`make ([^`]+)`", told.stderr)
    assert target
    assert target[1].replace(".venv", "$(VENV)") + ":" in (ROOT / "Makefile").read_text()


def test_it_ends_as_the_command_ends(project: Path) -> None:
    fake(project / ".venv" / "bin" / "flowproject")
    (project / ".venv" / "bin" / "flowproject").write_text("#!/bin/sh\nexit 7\n")
    assert run("./deploy", cwd=project, environ={}).returncode == 7


def step(name: str) -> dict[str, Any]:
    action = yaml.safe_load((GITHUB / "actions" / "cluster" / "action.yml").read_text())
    [found] = [one for one in action["runs"]["steps"] if one.get("name", "").startswith(name)]
    return found


@pytest.mark.parametrize("variables", [OUTERBOUNDS, KUBERNETES], ids=["outerbounds", "kubernetes"])
def test_the_workflow_names_each_setting_that_is_missing(
    variables: dict[str, str], tmp_path: Path
) -> None:
    script = step("Check what")["run"]
    assert run("bash", "-euc", script, cwd=tmp_path, environ=variables).returncode == 0
    for name in variables:
        told = run("bash", "-euc", script, cwd=tmp_path, environ=variables | {name: ""})
        assert told.returncode == 64
        assert f"::error title={name} is" in told.stdout


def test_the_workflow_refuses_a_place_that_it_does_not_know(tmp_path: Path) -> None:
    script = step("Check what")["run"]
    told = run("bash", "-euc", script, cwd=tmp_path, environ={"DEPLOY_TO": "k8s"})
    assert told.returncode == 64
    assert "Set the variable of this repository to outerbounds or kubernetes" in told.stdout


def test_credentials_are_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    script = step("Configure Kubernetes")["run"]
    told = run("bash", "-euc", script, cwd=tmp_path, environ=KUBERNETES | {"HOME": str(tmp_path)})
    assert (told.returncode, told.stdout) == (0, "")
    for name, text in [
        (".kube/config", KUBERNETES["KUBECONFIG_TEXT"]),
        (".metaflowconfig/config.json", KUBERNETES["METAFLOW_CONFIG_TEXT"]),
    ]:
        assert (tmp_path / name).read_text() == text + "\n"
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GITHUB / "workflows" / "deploy.yml").read_text())[
        "jobs"
    ]
    return found


def test_a_deploy_and_a_teardown_of_one_branch_wait_for_each_other() -> None:
    """Nothing else is in their group: of those that wait, GitHub keeps only the last."""
    groups = {name: job.get("concurrency", {}).get("group", "") for name, job in jobs().items()}
    assert groups["deploy"] == "deployment-${{ github.head_ref || github.ref_name }}"
    assert groups["teardown"] == (
        "deployment-${{ github.event_name == 'delete' && github.event.ref || github.head_ref }}"
    )
    assert groups["plan"].startswith("plan-")
    for name in ("deploy", "teardown"):
        assert jobs()[name]["concurrency"]["cancel-in-progress"] is False


def test_no_job_runs_where_nothing_is_configured_but_the_one_that_says_so() -> None:
    for name, job in jobs().items():
        wanted = "vars.DEPLOY_TO == ''" if name == "unconfigured" else "vars.DEPLOY_TO != ''"
        assert job["if"].startswith(wanted), name


def test_each_job_may_do_what_it_needs_and_no_more() -> None:
    reads = {"contents": "read", "id-token": "write"}
    assert {name: job["permissions"] for name, job in jobs().items()} == {
        "unconfigured": {},
        "deploy": reads | {"pull-requests": "write"},
        "plan": reads | {"pull-requests": "write"},
        "teardown": reads,
        "gc": reads,
    }


def test_names_of_branches_reach_commands_by_the_environment_only() -> None:
    for job in jobs().values():
        for one in job["steps"]:
            assert "${{" not in one.get("run", "")


def checkout_of(job: str) -> dict[str, Any]:
    [found] = [
        one["with"] for one in jobs()[job]["steps"] if "actions/checkout" in one.get("uses", "")
    ]
    return found


def test_a_plan_is_of_the_pull_request_merged_and_a_deployment_of_its_branch() -> None:
    assert "ref" not in checkout_of("plan"), "GitHub's own choice for a pull request: the merge"
    assert checkout_of("deploy")["ref"] == (
        "${{ github.event.pull_request.head.sha || github.sha }}"
    )


def test_a_pull_request_that_is_opened_again_deploys_again_and_a_forks_does_not() -> None:
    condition = " ".join(jobs()["deploy"]["if"].split())
    [again] = re.findall(r"\(github\.event_name == 'pull_request' (.*?)\) \)", condition)
    assert again == (
        "&& github.event.action == 'reopened' "
        "&& github.event.pull_request.head.repo.full_name == github.repository "
        "&& !startsWith(github.head_ref, 'dependabot/')"
    )


def test_who_asks_the_remote_is_logged_in_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """`persist-credentials: false` keeps the token out of the folder that code is packed from."""
    for name in ("deploy", "plan", "gc"):
        [asks] = [
            one["env"] for one in jobs()[name]["steps"] if "GIT_CONFIG_COUNT" in one.get("env", {})
        ]
        told = subprocess.run(
            ["git", "credential", "fill"],
            input="protocol=https\nhost=github.com\n\n",
            cwd=tmp_path,
            env={**asks, "GITHUB_TOKEN": "of-this-run", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "username=x-access-token\npassword=of-this-run\n" in told.stdout
        assert checkout_of(name)["persist-credentials"] is False


def test_what_enterprise_server_wants_in_place_of_our_own_action_works_everywhere() -> None:
    """`./` names a folder of the checkout, so that must come first, at the top of the workspace."""
    places = 0
    for name, job in jobs().items():
        used = [one.get("uses", "") for one in job["steps"]]
        if "$/.github/actions/cluster" not in used:
            continue
        places += 1
        assert used.index("$/.github/actions/cluster") > 0
        assert used[0].startswith("actions/checkout@")
        assert "path" not in checkout_of(name)
    assert places == 4
    assert "in all four jobs of `deploy.yml`" in (ROOT / "docs" / "deploy.md").read_text()
    assert (GITHUB / "actions" / "cluster" / "action.yml").exists()
    for file in GITHUB.rglob("*.yml"):
        assert "uses: $/" not in file.read_text() or file.name == "deploy.yml"
