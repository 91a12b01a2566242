"""What a release does: `.ci/release` builds once, `.ci/try-wheel` is the new user."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def release(tag: str, root: Path) -> "subprocess.CompletedProcess[str]":
    command = [root / ".ci" / "release", tag]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that say which version this is, with 9.8.7 in all of them."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    text = (ROOT / "pyproject.toml").read_text()
    version = next(line for line in text.splitlines() if line.startswith("version = "))
    (tmp_path / "pyproject.toml").write_text(text.replace(version, 'version = "9.8.7"'))
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 9.8.7 (2026-12-01)\n")
    return tmp_path


def test_a_tag_of_another_version_builds_nothing(checkout: Path) -> None:
    done = release("v9.8.8", checkout)
    assert done.returncode == 64
    assert "v9.8.8 is not that of version 9.8.7" in done.stderr
    assert not (checkout / "dist").exists()


def test_a_version_that_the_changelog_does_not_know_builds_nothing(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    done = release("v9.8.7", checkout)
    assert done.returncode == 64
    assert '"## 9.8.7"' in done.stderr


@pytest.mark.environment
@pytest.mark.timeout(1200)
def test_a_new_user_gets_a_project_that_runs_from_what_is_released(
    checkout: Path,
) -> None:
    """From the package index, in new environments, which takes minutes."""
    for name in ("README.md", "LICENSE", "NOTICE", "requirements-build.lock"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "flowproject", checkout / "flowproject")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a release"]):
        own = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
        subprocess.run(["git", *own, *command], cwd=checkout, check=True)
    done = release("v9.8.7", checkout)
    assert done.returncode == 0, done.stderr
    wheel = checkout / "dist" / "flowproject-9.8.7-py3-none-any.whl"
    assert done.stdout.splitlines()[0] == f"dist/{wheel.name}"
    tried = subprocess.run(
        [ROOT / ".ci" / "try-wheel", wheel], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
