"""What the layout promises and import-linter can't see. The layers themselves: `make check`."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import metaflow
import pytest
from packaging.requirements import Requirement

from benchmarks.structure import classes_by_name

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "flowproject").rglob("*.py"))
FLOWS = sorted(ROOT.glob("*flow.py"))
LOCKS = sorted(ROOT.glob("requirements*.lock"))

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIME = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], EXTRAS["duckdb"], EXTRAS["loop"])
    for line in lines
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


INTERNALS = ROOT / "flowproject" / "metaflow_internals"
INNER = frozenset(
    {
        *("_control_mapper_tasks", "_datastore", "_flow_cls", "_flow_decorators", "_flow_state"),
        *("_get_parameters", "_graph", "_mfcontent", "_storage_impl", "_transition"),
        *(
            "_update_env",
            "_user_code_tuples",
            "config_decorators",
            "metaflow_config",
            "parallel_step",
        ),
        *("path_components", "register_metadata", "system_context"),
    }
)
"""Attributes of Metaflow's objects that are not documented, and that nothing of ours is called."""


@cache
def is_submodule(dotted: str) -> bool:
    """Whether the name is a module of Metaflow's or in one, not one of its public names."""
    first = dotted.split(".")[1]
    return dotted.count(".") > 1 or isinstance(getattr(metaflow, first, None), ModuleType)


@cache
def imports(path: Path) -> frozenset[str]:
    """The dotted names that a module imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@pytest.mark.seconds(30)
def test_importing_flowproject_loads_metaflow_and_no_other_third_party_client() -> None:
    code = (
        "import sys, metaflow\n"
        "before = set(sys.modules)\n"
        "import flowproject\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True
    )
    loaded = set(told.stdout.split()) - sys.stdlib_module_names - {"metaflow"}
    assert loaded == {"flowproject"}


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_a_module_says_in_five_lines_what_belongs_in_it(module: Path) -> None:
    said = ast.get_docstring(ast.parse(module.read_text()))
    assert said, "no docstring"
    assert len(said.splitlines()) <= 5


@pytest.mark.seconds(30)
def test_a_class_name_stands_for_one_thing() -> None:
    assert {one: where for one, where in classes_by_name().items() if len(where) > 1} == {}


def test_every_word_of_the_vocabulary_is_in_the_code() -> None:
    told = (ROOT / "docs" / "architecture.md").read_text().partition("## Vocabulary")[2]
    rows = re.findall(r"^\| \*\*(.+?)\*\*.*\|(.+)\|$", told.partition("## Layers")[0], re.MULTILINE)
    assert len(rows) > 30
    for word, place in rows:
        module, _, defined = place.strip(" `").rpartition(".")
        assert hasattr(import_module(f"flowproject.{module}"), defined), f"{word}: {place}"


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_public_names_are_in_all(module: Path) -> None:
    tree = ast.parse(module.read_text())
    promised = {
        element.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for element in ast.walk(node.value)
        if isinstance(element, ast.Constant)
    }
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    assert {one for one in defined if not one.startswith("_")} <= promised


@pytest.mark.parametrize("flow", FLOWS, ids=name)
def test_a_flow_fits_on_one_screen(flow: Path) -> None:
    assert len(flow.read_text().splitlines()) <= 60


@pytest.mark.parametrize("flow", FLOWS, ids=name)
def test_a_flow_imports_only_public_names_of_flowproject(flow: Path) -> None:
    modules = {name(module).removesuffix(".py").removesuffix("/__init__") for module in MODULES}
    used = {one.replace(".", "/") for one in imports(flow)} & modules
    assert used <= {"flowproject", "flowproject/cards"}


def test_events_are_published_by_one_module_and_not_by_metaflows_argo_event() -> None:
    """Metaflow's own follows redirects, and what it sends is not inert on a cluster."""
    asked = re.compile(r'setting\("ARGO_EVENTS_WEBHOOK_URL"\)')
    homes = {name(module) for module in MODULES if asked.search(module.read_text())}
    assert homes == {"flowproject/events.py"}
    others = {one for module in MODULES for one in imports(module)}
    assert not [one for one in others if one.startswith("metaflow.integrations")]


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_what_is_inside_metaflow_is_used_in_one_package(module: Path) -> None:
    """import-linter sees packages of others as one: it can't tell their submodules apart."""
    if module.is_relative_to(INTERNALS):
        return
    submodules = {one for one in imports(module) if one.startswith("metaflow.")}
    public = {one for one in submodules if one.startswith("metaflow.cards")}
    assert {one for one in submodules - public if is_submodule(one)} == set()
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert attributes & INNER == set()


def test_the_base_has_neither_metaflow_nor_outerbounds_and_an_extra_has_one() -> None:
    platforms = {"metaflow", "outerbounds", "ob-metaflow"}
    assert not {one.name for one in RUNTIME} & platforms
    for extra, lines in EXTRAS.items():
        assert {Requirement(line).name for line in lines} & platforms <= {extra}


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_a_lock_has_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    pins = [line for line in text.splitlines() if "==" in line]
    assert pins
    assert all(line.endswith("\\") for line in pins)
    assert "://" not in text


def test_the_lock_of_a_test_server_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "tests" / "azurite" / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for place, package in packages.items() if place)
    assert "://" not in text


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
@pytest.mark.parametrize("wanted", RUNTIME, ids=str)
def test_a_lock_pins_what_the_project_asks_for(lock: str, wanted: Requirement) -> None:
    pinned = [
        Requirement(line.removesuffix("\\").strip())
        for line in (ROOT / lock).read_text().splitlines()
        if line.startswith(f"{wanted.name}==")
    ]
    versions = [specifier.version for one in pinned for specifier in one.specifier]
    assert versions
    assert all(wanted.specifier.contains(version) for version in versions)
