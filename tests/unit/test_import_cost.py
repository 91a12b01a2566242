"""What `import flowproject` brings into every step of every run: Metaflow, and nothing else."""

import json
import subprocess
import sys
from functools import cache

import pytest

CLIENTS = [
    "anyio",
    "duckdb",
    "numpy",
    "obstore",
    "pyarrow",
    "pydantic",
    "rich",
    "sqlglot",
    "stamina",
    "starlette",
    "typer",
    "uvicorn",
]


@cache
def packages_after(statement: str) -> frozenset[str]:
    """The top-level packages that a fresh interpreter has imported after a statement."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return frozenset(name.partition(".")[0] for name in json.loads(done.stdout))


@pytest.mark.seconds(20)
@pytest.mark.parametrize("client", CLIENTS)
def test_no_client_is_imported_beyond_what_metaflow_brings(client: str) -> None:
    assert client not in packages_after("import flowproject") - packages_after("import metaflow")


@pytest.mark.seconds(20)
def test_nothing_else_of_a_third_party_is_either() -> None:
    added = packages_after("import flowproject") - packages_after("import metaflow")
    assert added - sys.stdlib_module_names == {"flowproject"}


@pytest.mark.seconds(20)
@pytest.mark.parametrize("words", [["--help"], ["history", "--help"]])
def test_a_command_does_not_import_the_web_server_or_a_client_of_others(words: list[str]) -> None:
    help_only = "from flowproject.cli import main\nimport sys\nsys.stdout = sys.stderr\n"
    help_only += f"main({words})\nsys.stdout = sys.__stdout__"
    added = packages_after(help_only) - packages_after("import metaflow")
    assert not added & {"starlette", "uvicorn", "duckdb", "pyarrow", "obstore", "numpy"}


@pytest.mark.seconds(20)
def test_only_the_loop_needs_the_web_server_and_no_command_a_client_before_it_begins() -> None:
    """Whoever has installed no extra can check, preview, deploy; `dev` says what it misses."""
    clients = ["duckdb", "jinja2", "snowflake", "sqlglot", "starlette", "uvicorn", "watchfiles"]
    script = f"""
import sys
sys.modules.update(dict.fromkeys({clients}))
import json
from flowproject.cli import app
from flowproject.errors import UsageError
said = {{}}
for name in app.COMMANDS:
    try:
        app.load_command(name)
    except UsageError as error:
        said[name] = str(error)
print(json.dumps(said))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert set(said) == {"dev"}
    for part in ("'starlette'", sys.prefix, "flowproject[loop]", "-m pip install"):
        assert part in said["dev"]
