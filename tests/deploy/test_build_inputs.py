"""What need not be compiled again: whatever changes what Metaflow makes of a flow is noticed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.config import Deploy
from flowproject.config.parse import load
from flowproject.deploy.build_inputs import BuildInputs, RecordedReads, unchanged_flow
from flowproject.deploy.compilation import child_options, compile_flows
from flowproject.deploy.compiled_flow import CompiledFlow
from flowproject.deploy.objects import DeployedObject
from tests.deploy.conftest import Repository

pytestmark = pytest.mark.emulated(
    "what is asked is the compiler's answer, for which no cluster is needed"
)

FLOW = """import json
import os
import subprocess
from datetime import date
from pathlib import Path

from metaflow import Config, Parameter, environment, step

from aside import WORD
from flowproject import BaseFlow
from inner.deep import NUMBER
from tests.helping import HELP

HERE = Path(__file__).parent
TOLD = json.loads((HERE / "told.json").read_text())
NAMES = ",".join(sorted(path.name for path in (HERE / "listed").iterdir()))
{more}

class ReadingFlow(BaseFlow):
    own = Config("own", default="own.json")
    told = Parameter("told", default=f"{{TOLD}} {{WORD}} {{NUMBER}} {{HELP}} {{NAMES}}")
    {parameter}

    @environment(vars={{"PLACE": os.environ.get("READING_PLACE", "")}})
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ReadingFlow()
"""
FILES = {
    "aside.py": "WORD = 1",
    "inner/__init__.py": "",
    "inner/deep.py": "NUMBER = 1",
    "tests/__init__.py": "",
    "tests/helping.py": "HELP = 1",
    "tests/test_x.py": "",
    "told.json": "1",
    "own.json": "{}",
    "listed/a.txt": "",
    "readingflow.py": FLOW.format(more="", parameter=""),
}
SETTINGS = Deploy(image_has_packages=True)

# Each makes the flow another one for Metaflow, or could.
EDITS: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "the flow": lambda root, _: append(root / "readingflow.py", "# a word"),
    "a module": lambda root, _: (root / "aside.py").write_text("WORD = 2"),
    "a package": lambda root, _: (root / "inner" / "deep.py").write_text("NUMBER = 2"),
    "a new file": lambda root, _: (root / "new.py").write_text(""),
    "what stays at home": lambda root, _: (root / "tests" / "helping.py").write_text("HELP = 2"),
    "a file that is read": lambda root, _: (root / "told.json").write_text("2"),
    "a configuration of its own": lambda root, _: (root / "own.json").write_text('{"a": 1}'),
    "a folder that is listed": lambda root, _: (root / "listed" / "b.txt").write_text(""),
    "a query": lambda root, _: append(root / "sql" / "sensor.sql", "-- a word"),
    "the configuration": lambda root, _: append(root / "flowproject.toml", "# a word"),
    "a variable that is read": lambda _, patch: patch.setenv("READING_PLACE", "here"),
    "what Metaflow is told": lambda _, patch: patch.setenv("METAFLOW_KUBERNETES_CPU", "2"),
}
OF_NO_MATTER: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "a test": lambda root, _: (root / "tests" / "test_x.py").write_text("assert True"),
    "a text": lambda root, _: (root / "README.md").write_text("words"),
    "another flow": lambda root, _: (root / "elseflow.py").write_text(""),
    "a variable": lambda _, patch: patch.setenv("SOMETHING", "else"),
    "who deploys": lambda _, patch: patch.setenv("METAFLOW_USER", "somebody"),
}


def append(file: Path, text: str) -> None:
    file.write_text(f"{file.read_text()}\n{text}\n")


class Place:
    """A project with a flow that reads this and that."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.root = repository.root
        for name, text in FILES.items():
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).write_text(text)
        self._before = self._files()

    def restore(self) -> None:
        for path in self._files().keys() - self._before.keys():
            path.unlink()
        for path, content in self._before.items():
            path.write_bytes(content)

    def _files(self) -> dict[Path, bytes]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {
            path: path.read_bytes()
            for path in found
            if not {".git", ".metaflow", "__pycache__"} & {*path.parts}
        }

    def inputs(self, settings: Deploy = SETTINGS, *tags: str) -> BuildInputs:
        return BuildInputs(
            self.root,
            options=child_options(self.repository.target("main"), settings, tags),
            variables={settings.notify_slack},
            exclude=load(self.root).deploy.exclude,
        )

    def compile(self) -> CompiledFlow:
        target = self.repository.target("main")
        [found] = compile_flows(self.root, target, SETTINGS, inputs=self.inputs())
        assert isinstance(found, CompiledFlow), found
        return found

    def fingerprint(self, compiled: CompiledFlow, settings: Deploy = SETTINGS, *tags: str) -> str:
        reads = RecordedReads.from_json(compiled.reads)
        return self.inputs(settings, *tags).fingerprint(self.root / "readingflow.py", reads)


@pytest.fixture(scope="module")
def shared(new_repository: Callable[..., Repository]) -> Place:
    return Place(new_repository(flows=False))


@pytest.fixture
def place(shared: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    shared.repository.enter(monkeypatch)
    yield shared
    shared.restore()


@pytest.fixture(scope="module")
def compiled(shared: Place) -> CompiledFlow:
    with pytest.MonkeyPatch.context() as patch:
        shared.repository.enter(patch)
        return shared.compile()


def test_what_a_flow_reads_is_seen(compiled: CompiledFlow) -> None:
    assert compiled.inputs
    assert compiled.reads == {
        "files": ["own.json", "tests/__init__.py", "tests/helping.py", "told.json"],
        "folders": ["listed"],
        "variables": ["READING_PLACE"],
    }


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_another_input(
    place: Place, compiled: CompiledFlow, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    EDITS[edit](place.root, monkeypatch)
    assert place.fingerprint(compiled) != compiled.inputs


@pytest.mark.parametrize("edit", OF_NO_MATTER)
def test_what_does_not_go_into_a_flow_is_no_input(
    place: Place, compiled: CompiledFlow, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    OF_NO_MATTER[edit](place.root, monkeypatch)
    assert place.fingerprint(compiled) == compiled.inputs


@pytest.mark.thorough
@pytest.mark.parametrize("edit", [*EDITS, *OF_NO_MATTER])
def test_metaflow_itself_finds_no_change_that_is_not_noticed(
    place: Place, compiled: CompiledFlow, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (EDITS | OF_NO_MATTER)[edit](place.root, monkeypatch)
    again = place.compile()
    assert (again.inputs == compiled.inputs) <= (again.fingerprints == compiled.fingerprints)


def test_options_tags_and_secrets_are_inputs(
    place: Place, compiled: CompiledFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = replace(SETTINGS, notify_slack="HOOK")
    found = {compiled.inputs, place.fingerprint(compiled, SETTINGS, "team:sky")}
    found.add(place.fingerprint(compiled, replace(SETTINGS, with_=("retry",))))
    for secret in ("https://hooks.example/one", "https://hooks.example/two"):
        monkeypatch.setenv("HOOK", secret)
        found.add(place.fingerprint(compiled, loud))
    assert len(found) == 5


def deployed(compiled: CompiledFlow) -> list[DeployedObject]:
    return [
        DeployedObject(
            kind=one.kind,
            name=one.name,
            namespace=one.namespace,
            annotations=one.body["metadata"]["annotations"],
        )
        for one in compiled.annotated({}).objects
    ]


def test_a_flow_that_is_there_as_it_would_be_compiled_is_known_without(
    place: Place, compiled: CompiledFlow
) -> None:
    file = compiled.flow.path
    known = unchanged_flow(file, place.inputs(), deployed(compiled), ())
    assert known
    assert (known.name, known.fingerprints) == (compiled.name, compiled.fingerprints)
    local = {"local_root": "", "metadata": "", "owner": ""}
    assert known.flow == replace(compiled.flow, **local)
    assert known.annotated({"x": "y"}) == known


@pytest.mark.parametrize(
    "annotations",
    [
        {"flowproject/inputs": "another"},
        {"flowproject/fingerprint": "another"},
        {"flowproject/known": "{}"},
        {"flowproject/known": "7"},
        {"flowproject/files": "somebody's own words"},
        {"flowproject/known": json.dumps({"file": "readingflow.py", "reads": {"x": 1}})},
    ],
)
def test_anything_else_is_compiled(
    place: Place, compiled: CompiledFlow, annotations: dict[str, Any]
) -> None:
    [template] = deployed(compiled)
    other = replace(template, annotations={**template.annotations, **annotations})
    assert unchanged_flow(compiled.flow.path, place.inputs(), [other], ()) is None
    assert unchanged_flow(compiled.flow.path, place.inputs(), [], ()) is None


@pytest.mark.parametrize(
    "more, parameter",
    [
        ('NOW = subprocess.run(["date"], capture_output=True, check=True).stdout', ""),
        ('import sqlite3\nONE = sqlite3.connect(":memory:").execute("SELECT 1").fetchone()', ""),
        ("", 'day = Parameter("day", default=lambda _: str(date.today()))'),
    ],
)
def test_what_nobody_can_compare_is_compiled_each_time(
    place: Place, more: str, parameter: str
) -> None:
    flow = FLOW.format(more=more, parameter=parameter)
    (place.root / "readingflow.py").write_text(flow)
    assert place.compile().inputs == ""


def test_what_the_flows_own_code_reads_is_seen_wherever_it_lies(
    place: Place, tmp_path: Path
) -> None:
    """Below the temporary folder as well, where libraries read what is nobody's business."""
    (tmp_path / "told.txt").write_text("1")
    more = f'ALSO = Path({str(tmp_path / "told.txt")!r}).read_text()\nb = os.environb[b"HOME"]'
    (place.root / "readingflow.py").write_text(FLOW.format(more=more, parameter=""))
    reads = place.compile().reads
    assert str(tmp_path / "told.txt") in reads["files"]
    assert "HOME" in reads["variables"]
