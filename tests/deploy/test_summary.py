"""The table of a deploy on the summary page of each CI, and what of it is markup."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from flowproject.deploy.ci import CI
from flowproject.deploy.revision import Revision
from flowproject.deploy.summary import Summary, publish

PLAN = Summary(
    project="weather",
    title="Plan for feature/x",
    head=("flow", "change"),
    rows=(("SensorFlow", "new"), ("StarterFlow", "changed: schedule, image")),
    notes=("2 flows will be deployed.",),
)


def revision(name: str = "", url: str = "", branch: str = "feature/x") -> Revision:
    ci = CI(name=name, branch=branch, url=url)
    return Revision(git_branch=branch, commit="c" * 40, dirty=False, default_branch="main", ci=ci)


def test_a_plan_reads_well() -> None:
    run = "https://github.com/acme/weather/actions/runs/7"
    assert PLAN.markdown(revision("GitHub Actions", run)) == (
        "### Plan for feature/x\n"
        "\n"
        "| flow | change |\n"
        "| --- | --- |\n"
        "| SensorFlow | new |\n"
        "| StarterFlow | changed: schedule, image |\n"
        "\n"
        "2 flows will be deployed.\n"
        "\n"
        f"<sub>feature/x, commit cccccccccccc · [GitHub Actions]({run})</sub>"
    )


def test_a_pull_request_merged_says_of_which_commit_and_with_what() -> None:
    ci = CI(name="CircleCI", pull_request="12", commit="d" * 40, target_branch="main")
    merged = replace(revision(), ci=ci)
    assert merged.is_merge
    assert PLAN.markdown(merged).endswith(
        "<sub>feature/x, commit dddddddddddd merged with main</sub>"
    )


def test_nothing_in_a_name_is_markup_or_calls_somebody() -> None:
    summary = Summary(
        project="weather",
        title="@octocat <img src=x> & `x`",
        head=("flow",),
        rows=(("a|b\nc *d* [e](f)",),),
        failed=True,
    )
    text = summary.markdown(revision(branch="@everybody|x"))
    assert "### ❌ @<!-- -->octocat &lt;img src=x\\> &amp; \\`x\\`" in text
    assert "| a\\|b<br>c \\*d\\* \\[e\\](f) |" in text
    assert "<sub>@<!-- -->everybody\\|x, commit" in text


def test_github_shows_it_on_the_page_of_the_run_after_what_is_there(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    told = publish([PLAN], revision("GitHub Actions"), {"GITHUB_STEP_SUMMARY": str(page)})
    assert told == ("The summary is on the page of this run.",)
    assert page.read_text().startswith("before\n### Plan for feature/x\n")
    assert publish([PLAN], revision("GitHub Actions"), {}) == (
        "The summary page of GitHub Actions could not be written: no GITHUB_STEP_SUMMARY.",
    )


def test_azure_is_told_where_the_file_is(tmp_path: Path) -> None:
    [line] = publish([PLAN], revision("Azure Pipelines"), {"AGENT_TEMPDIRECTORY": str(tmp_path)})
    command, _, file = line.partition("]")
    assert command == "##vso[task.uploadsummary"
    assert Path(file).parent == tmp_path
    assert Path(file).read_text().startswith("### Plan for feature/x\n")


def test_buildkite_gets_one_annotation_for_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = tmp_path / "buildkite-agent"
    agent.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat >{tmp_path}/text\n')
    agent.chmod(agent.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = publish([PLAN], revision("Buildkite"), {})
    assert told == ("The summary is on the page of this build.",)
    asked = (tmp_path / "asked").read_text()
    assert asked == "annotate --style info --context flowproject-weather\n"
    assert (tmp_path / "text").read_text().startswith("### Plan for feature/x\n")
    agent.write_text("#!/bin/sh\nexit 3\n")
    [line] = publish([PLAN], revision("Buildkite"), {})
    assert line.startswith("The summary page of Buildkite could not be written: ")


@pytest.mark.parametrize("place", ["missing/summary.md", "."])
def test_a_page_that_cannot_be_written_is_said_and_nothing_raises(
    tmp_path: Path, place: str
) -> None:
    environ = {"GITHUB_STEP_SUMMARY": str(tmp_path / place)}
    [line] = publish([PLAN], revision("GitHub Actions"), environ)
    assert line.startswith("The summary page of GitHub Actions could not be written: ")


def test_a_ci_without_a_page_says_so_and_a_laptop_says_nothing() -> None:
    assert publish([PLAN], revision("CircleCI"), {}) == ("CircleCI has no summary page.",)
    assert publish([PLAN], revision("GitLab CI"), {}) == ("GitLab CI has no summary page.",)
    assert publish([PLAN], revision(), {}) == ()
