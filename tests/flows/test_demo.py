"""`make demo` as a newcomer runs it: on a copy of the checkout, with hostile settings around it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import blocks, commands
from tests.docs.terminal import fits

ROOT = Path(__file__).resolve().parents[2]
FLOWS = ("baseflow.py", "sensorflow.py", "starterflow.py", "forecast.py")
FILES = ("flowproject.toml", *FLOWS)

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the demo needs of the checkout."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    for name in ("demo", "sql", "data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def demo(
    checkout: Path, *arguments: str, script: str = "demo.py"
) -> subprocess.CompletedProcess[str]:
    """The demo, where this machine's Metaflow is set up for something else altogether."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "SUDO_USER"},
        "USERNAME": "you",
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": "/nowhere",
        "METAFLOW_DEFAULT_METADATA": "service",
        "METAFLOW_SERVICE_URL": "http://127.0.0.1:9/",
        "METAFLOW_PROFILE": "theirs",
        "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": "http://127.0.0.1:9/",
    }
    return subprocess.run(
        [sys.executable, str(checkout / "demo" / script), *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_the_demo_shows_what_the_readme_says_and_can_be_repeated(checkout: Path) -> None:
    before = files(checkout)
    (checkout / "build" / "demo").mkdir(parents=True)
    (checkout / "build" / "demo" / "left behind").touch()
    done = demo(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert fits(shown_in_readme(), done.stdout, ordered=False), done.stdout
    for flow in ("SensorFlow", "StarterFlow"):
        card = checkout / "build" / "demo" / "cards" / f"{flow}.html"
        assert card.stat().st_size > 10_000
    assert files(checkout) == before, "it writes below build/ only, which git ignores"


def shown_in_readme() -> str:
    [output] = [
        command.output
        for block in blocks(ROOT / "README.md")
        if block.language == "console"
        for command in commands(block)
        if command.line == "make demo"
    ]
    return output


def files(folder: Path) -> list[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if "build" not in path.parts and path.suffix != ".pyc")


@pytest.mark.thorough
def test_the_same_story_is_told_with_rows_of_snowflake(checkout: Path) -> None:
    done = demo(checkout, script="demo_snowflake.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "31 rows are inserted" in done.stdout
    ending = r"change  number 2 .*(?=\ncards)"
    [shown] = re.findall(ending, shown_in_readme(), re.DOTALL)
    [told] = re.findall(ending, done.stdout, re.DOTALL)
    assert fits(shown, told), told


@pytest.mark.thorough
def test_the_demo_fails_if_nothing_listens(checkout: Path) -> None:
    flow = checkout / "starterflow.py"
    flow.write_text(flow.read_text().replace('@on_change("weather")', ""))
    done = demo(checkout)
    assert done.returncode == 1
    assert "StarterFlow was never started" in done.stderr


@pytest.mark.thorough
def test_the_demo_fails_with_the_sensor(checkout: Path) -> None:
    (checkout / "sql" / "sensor.sql").write_text("SELECT no_such_column")
    done = demo(checkout)
    assert done.returncode == 1
    assert "flowproject dev ended with exit code 7" in done.stderr


def test_the_demo_does_not_empty_a_folder_that_it_has_not_made(checkout: Path) -> None:
    done = demo(checkout, "--folder", str(checkout / "data"))
    assert done.returncode == 2
    assert (checkout / "data" / "weather" / "2012.csv").is_file()
