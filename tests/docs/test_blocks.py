"""Blocks that stand for themselves, tables that list what the code has, and links."""

import json
import re
import tomllib
from pathlib import Path

import duckdb
import pytest
import yaml

from flowproject import errors
from flowproject.cli import app
from flowproject.config import Project
from flowproject.config.parse import parse_config
from flowproject.deploy.branches import target_of
from flowproject.sql import bind, dollar, find_query, parameters
from tests.docs.pages import PAGES, ROOT, Block, blocks, prose

BLOCKS = [block for page in PAGES for block in blocks(page)]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
COMMANDS = set(app.COMMANDS)

NOT_RUN = {
    r"(?s)python -m pip download .*": "needs the network: how the data was made",
    r"(?s)curl .*": "needs a running loop: tests/unit/dev/test_event_bus.py posts the same",
    r"(?s).*[─│▶].*": "a drawing",
    r"(?s)(\./deploy|flowproject (check --deploy|deploy|teardown|gc)).*": "needs a cluster",
    r"(?s)python sensorflow.py .*": "needs a cluster",
    r"(?s)make clean .*": "needs an account of Outerbounds",
    r"(?s)python3 -m venv .*": "needs a clone: .ci/try-wheel goes that way",
    r"(?s)gh .*": "needs a repository on GitHub",
    r"(?s)gcloud .*": "needs a bucket of Google's",
    r"(?s)(.venv/bin/python -m pip install -r|flowproject upgrade).*": "needs an older version: "
    "tests/unit/scaffold/test_upgrade.py has one",
}
"""Blocks (patterns of them) that no test can run, and why."""


def of_kind(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=str)


def test_every_kind_of_block_is_checked_or_excused() -> None:
    for block in BLOCKS:
        checked = (
            block.language in ("console", "json", "python", "sql", "text", "toml", "yaml")
            or block.saved_as
        )
        assert checked or any(re.fullmatch(pattern, block.text) for pattern in NOT_RUN), block
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, block.text) for block in BLOCKS), pattern


@of_kind("toml")
def test_a_block_of_toml_is_a_configuration_or_sections_of_the_one_before(block: Block) -> None:
    if block.saved_as.startswith("broken/"):
        with pytest.raises(errors.ConfigError):
            parse_config(block.text)
    else:
        assert parse_config(completed(block))["sensors"]


def completed(block: Block) -> str:
    """A whole configuration; sections alone are laid over the last one that the page shows."""
    if "project_name" in tomllib.loads(block.text):
        return block.text
    above = [one for one in blocks(block.page) if one.language == "toml" and one.line < block.line]
    base = next(one.text for one in reversed(above) if "project_name" in one.text)
    sections = set(re.findall(r"^\[.+\]", block.text, re.MULTILINE))
    kept = re.split(r"^(?=\[)", base, flags=re.MULTILINE)
    return "".join([*(part for part in kept if part.split("\n")[0] not in sections), block.text])


@of_kind("python")
def test_a_block_of_python_compiles_unless_it_is_an_excerpt(block: Block) -> None:
    if not block.excerpt_of:
        compile(block.text, str(block), "exec")


@of_kind("json")
def test_a_block_of_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@of_kind("yaml")
def test_a_block_of_yaml_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


@of_kind("sql")
def test_a_block_of_sql_parses(block: Block, tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "block.sql").write_text(block.text, encoding="utf-8")
    query = find_query(tmp_path, "block")
    names = {parameter.name: None for parameter in parameters(query.text)}
    assert duckdb.extract_statements(bind(query, names, dollar))


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.excerpt_of], ids=str)
def test_an_excerpt_stands_in_its_file_line_by_line(block: Block) -> None:
    file = iter((ROOT / block.excerpt_of).read_text(encoding="utf-8").splitlines())
    for line in block.text.splitlines():
        assert line.strip() in ("", "...") or line in file, f"{block}: {line}"


def test_the_tables_of_commands_are_complete() -> None:
    for page, pattern in (
        ("README.md", r"^\| `flowproject (\w+)` \|"),
        ("docs/commands.md", r"\[`(\w+)`\]\(#"),
    ):
        listed = re.findall(pattern, (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert set(listed) == COMMANDS, page


def test_the_table_of_branches_says_where_each_goes() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    [config] = [one for one in BLOCKS if one.page.name == "deploy.md" and one.language == "toml"]
    settings = Project.from_dict(parse_config(config.text)).deploy
    rows = re.findall(r"^\| `(.+?)` \| `([a-z0-9_.]+)` \| (yes|no) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for git_branch, metaflow_name, schedules in rows:
        target = target_of(git_branch, settings)
        assert (target.metaflow_name, target.schedules) == (metaflow_name, schedules == "yes")


def test_the_settings_of_the_workflow_are_all_explained() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(DEPLOY_\w+)` \| (variable|secret) \|", page, re.MULTILINE)
    for kind, context in (("variable", "vars"), ("secret", "secrets")):
        used = re.findall(rf"{context}\.(DEPLOY_\w+)", workflow)
        assert {name for name, its in listed if its == kind} == set(used)


@pytest.mark.parametrize("command", ["dev", "deploy"])
def test_the_options_of_a_command_with_many_are_all_explained(command: str) -> None:
    options = {
        # What is on unless it is switched off is explained by the switch.
        parameter.secondary_opts[0] if parameter.secondary_opts else name
        for parameter in app.load_command(command).params
        for name in parameter.opts
        if name != "--help"
    }
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `--")]
    assert set(re.findall(r"`(--[a-z-]+)", " ".join(rows))) == options


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = {
        int(code): kind for code, kind in re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE)
    }
    kinds = {
        kind.exit_code: kind.headline.lower()
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FlowprojectError)
    }
    del kinds[errors.FlowprojectError.exit_code]
    ours = {
        0: "done",
        app.REFUSED: "refused",
        app.BUG: "bug",
        app.INTERRUPTED: "interrupted",
        app.BROKEN_PIPE: "broken pipe",
    }
    assert listed == kinds | ours


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_of_make_exists(page: Path) -> None:
    named = re.findall(r"(?:`|^\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_says_to_install_flowproject_from_an_index(page: Path) -> None:
    """The name is not published: who installs it by name gets what somebody else published."""
    if page.parent.name == "adr":
        return  # a record tells of its time, and is not edited
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(pip install|uv add|uv pip install)[^`\n]*[ \"']flowproject\b", text)
