"""Every command on every page is typed in, page by page, and prints what the page shows."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks, commands
from tests.docs.terminal import fits, normal, type_in
from tests.servers import Moto
from tests.snow import Snow
from tests.warm import commands as commands_that_start_warm

NOT_TYPED = {
    r"make demo(-snowflake)?": "typed in by tests/flows/test_demo.py, which compares the output",
    r"make test": "these tests run in it",
    r"make dev|flowproject dev (--every 10s( --open)?|--host 0.0.0.0)": "runs until Ctrl-C: "
    "tests/flows/test_dev_loop.py",
    r"\. \.venv/bin/activate": "done: the commands are found",
}
"""Commands (patterns of them) that pages may show without a test typing them in, and why."""

LAKE = ROOT / "docs" / "s3.md"
"""Needs a bucket to look at."""

SHOP = ROOT / "docs" / "snowflake.md"
"""Needs an account with a table."""

TYPED = [page for page in PAGES if any(block.language == "console" for block in blocks(page))]


@pytest.fixture
def environment(project: Path) -> dict[str, str]:
    """What a reader's terminal has, after `. .venv/bin/activate`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("METAFLOW_", "PYTHONPATH", "COLUMNS", "LINES"))
    }
    return {
        **kept,
        "PATH": f"{commands_that_start_warm()}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "METAFLOW_USER": "you",
        "METAFLOW_HOME": str(project / ".metaflow" / "none"),
        "TERM": "xterm",
    }


@pytest.fixture
def place(project: Path) -> Path:
    """A fresh copy of the project, as a reader has it."""
    (project / ".metaflow").mkdir()
    (project / "docs").mkdir()
    shutil.copy(ROOT / "flowproject.schema.json", project)
    shutil.copy(ROOT / "docs" / "configuration.md", project / "docs")
    return project


@pytest.fixture
def lake(moto: Moto, environment: dict[str, str]) -> dict[str, str]:
    """What a reader's terminal has besides, who follows the page on object stores."""
    moto.client().create_bucket(Bucket="weather-lake")
    moto.fill("weather-lake", {f"raw/days/2026/11/{day}.csv": b"2.1" for day in (20, 21)})
    return environment | moto.credentials | {"METAFLOW_S3_ENDPOINT_URL": moto.endpoint_url}


@pytest.mark.timeout(400)
@pytest.mark.thorough
def test_a_reader_of_object_stores_sees_what_the_page_shows(
    place: Path, lake: dict[str, str]
) -> None:
    follow(LAKE, place, lake)


@pytest.fixture
def shop(snow: Snow, environment: dict[str, str], place: Path) -> dict[str, str]:
    """What a reader's terminal has besides, who follows the page on Snowflake."""
    snow.run(
        snow.database("SHOP"),
        "CREATE TABLE orders (order_id INT, customer VARCHAR, amount NUMBER(10, 2), "
        "placed_at TIMESTAMP_NTZ)",
        "INSERT INTO orders VALUES (1, 'Ada', 3.50, '2026-11-24 08:00:00'), "
        "(2, 'Bo', 7.20, '2026-11-24 09:30:00'), (3, 'Cy', 1.00, '2026-11-24 10:00:00')",
    )
    settings = {name.removeprefix("SNOWFLAKE_").lower(): it for name, it in snow.settings.items()}
    own = [f'{name} = "{value}"' for name, value in settings.items() if "_" not in name]
    home = place / ".metaflow" / "snowflake"
    home.mkdir()
    file = home / "connections.toml"
    file.write_text("\n".join(["[shop]", *own]), encoding="utf-8")
    file.chmod(0o600)
    return environment | {"SNOWFLAKE_HOME": str(home)}


@pytest.mark.timeout(400)
@pytest.mark.thorough
def test_a_reader_of_snowflake_sees_what_the_page_shows(place: Path, shop: dict[str, str]) -> None:
    follow(SHOP, place, shop)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.thorough] if page.name == "commands.md" else [])
        for page in TYPED
        if page not in (LAKE, SHOP)
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_reader_who_follows_the_page_sees_what_it_shows(
    page: Path, place: Path, environment: dict[str, str]
) -> None:
    follow(page, place, environment)


def follow(page: Path, place: Path, environment: dict[str, str]) -> None:
    for block in blocks(page):
        if block.saved_as:
            file = place / block.saved_as
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        if block.language == "console":
            type_block(block, place, environment)


def type_block(block: Block, place: Path, environment: dict[str, str]) -> None:
    for command in commands(block):
        if reason_not_to_type(command.line):
            continue
        printed, code = type_in(command.line, place, environment)
        # What runs at the same time in the local loop ends in no certain order.
        ordered = not command.line.startswith("flowproject dev")
        assert fits(command.output, printed, ordered=ordered), "\n".join(
            [
                f"{block}: {command.line}",
                "-- the page shows",
                *normal(command.output),
                "-- printed was",
                *normal(printed),
            ]
        )
        assert code == 0, f"{block}: {command.line} ended with exit code {code}"


def test_every_exception_is_used_and_true() -> None:
    shown = {command for page in TYPED for block in blocks(page) for command in lines(block)}
    for pattern in NOT_TYPED:
        assert any(re.fullmatch(pattern, line) for line in shown), f"{pattern} is on no page"
    for file in re.findall(r"tests/[\w/]+\.py", " ".join(NOT_TYPED.values())):
        assert (ROOT / file).is_file()


def lines(block: Block) -> Iterator[str]:
    if block.language == "console":
        yield from (command.line for command in commands(block))


def reason_not_to_type(line: str) -> str:
    reasons = (why for pattern, why in NOT_TYPED.items() if re.fullmatch(pattern, line))
    return next(reasons, "")
