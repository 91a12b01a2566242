"""A source in a package of its own: found by its entry point, and treated as ours are."""

import json
import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from flowproject import plugins
from flowproject.config.data import DATA_TYPES, Data, FilesData
from flowproject.config.model import Project
from flowproject.config.parse import parse_config
from flowproject.errors import ConfigError, SourceError
from flowproject.packages import requirements
from flowproject.plugins import SourcePlugin
from flowproject.sources import open_source, speaks_sql
from flowproject.testing import SourceContract
from tests.conftest import ROOT
from tests.project_folder import ProjectFolder

EXAMPLE = ROOT / "examples" / "http_source"


def install(package: Path, site: Path) -> None:
    """What an installation of the package leaves: its code, and what it says of itself."""
    said = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = site / f"{said['name'].replace('-', '_')}-{said['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {said['name']}\nVersion: {said['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in said["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for module in package.glob("flowproject_*"):
        shutil.copytree(module, site / module.name)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    """A project beside which the example's package is installed."""
    site = tmp_path_factory.mktemp("site")
    install(EXAMPLE, site)
    root = tmp_path_factory.mktemp("theirs")
    shutil.copytree(EXAMPLE / "tests", root / "tests")
    (root / "flowproject.toml").write_text(
        'project_name = "shop"\n[data]\ntype = "http"\nurl = "http://127.0.0.1:9/"\nkey = ["id"]\n'
    )
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    path = f"{site}{os.pathsep}{ROOT}"
    return ProjectFolder(root=root, environment={**environment, "PYTHONPATH": path})


def test_it_passes_the_contract_and_its_own_tests(installed: ProjectFolder) -> None:
    told = installed.python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:kmock"),
        *("-p", "flowproject.testing", "tests"),
    )
    assert told.code == 0, told.text
    assert "19 passed" in told.text


def test_commands_know_it(installed: ProjectFolder) -> None:
    checked = {one["subject"]: one for one in json.loads(installed.command("check", "--json").text)}
    assert checked["sensor data"]["message"].startswith("http: well-formed")
    told = installed.command("check", "--connect").text
    assert "The API can't be read" in told
    installed.write("flowproject.toml", 'project_name = "shop"\n[data]\ntype = "htp"\n')
    assert "iceberg, http. Did you mean 'http'?" in installed.command("check").text


# --------------------------------------------------------------------- in this process, by a stub


class _Point:
    """An entry point, as the metadata of an installed package tells of it."""

    name = "parcels"
    value = "parcels:plugin"

    class dist:  # noqa: N801
        name = "flowproject-parcels"
        version = "1.2"

    def __init__(self, loaded: object) -> None:
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch):
    def bring(loaded: object) -> None:
        monkeypatch.setattr(plugins, "_found", lambda: {"parcels": _Point(loaded)})
        plugins.plugin.cache_clear()

    yield bring
    plugins.plugin.cache_clear()


@dataclass(frozen=True, kw_only=True)
class ParcelsData(Data):
    """Parcels, which a package of nobody's brings."""

    type: Literal["parcels"] = "parcels"
    """Parcels."""

    path: str
    """Where they are."""


def test_steps_that_run_elsewhere_get_the_package_and_what_it_needs(bring) -> None:  # noqa: ANN001
    bring(
        SourcePlugin(
            data=ParcelsData, source="nowhere:Source", requirements=("parcels-client>=3,<4",)
        )
    )
    needed = requirements(["parcels"])
    assert needed["flowproject-parcels"] == "==1.2"
    assert needed["parcels-client"] == ">=3,<4"
    assert [*DATA_TYPES][-1] == "parcels"
    assert not speaks_sql(ParcelsData(path="x"))
    with pytest.raises(SourceError, match="'parcels' can't be imported"):
        open_source(ParcelsData(path="x"), ROOT)


@pytest.mark.parametrize(
    "loaded, said",
    [
        (RuntimeError("no licence"), "RuntimeError: no licence"),
        (7, "it is of 'int'"),
        (SourcePlugin(data=FilesData, source="x:Y"), "its dataclass says type = 'files'"),
    ],
)
def test_a_package_that_can_not_be_used_is_named(bring, loaded: object, said: str) -> None:  # noqa: ANN001
    bring(loaded)
    with pytest.raises(ConfigError, match=f"'parcels' of package 'flowproject-parcels'.*{said}"):
        DATA_TYPES["parcels"]
    assert DATA_TYPES["files"] is FilesData, "what is ours needs no package"


def test_what_a_run_recorded_of_a_source_that_is_not_here_is_an_error() -> None:
    config = Project.from_dict(
        parse_config('project_name = "p"\n[data]\ntype = "files"\npath = "x"\n')
    ).to_dict()
    config["data"]["type"] = "gone"
    with pytest.raises(ConfigError, match="There is no source of type 'gone' here"):
        Project.from_dict(config)


class FolderPlace:
    """A folder of ours, held to the contract that packages are held to."""

    toml = 'type = "files"\npath = "incoming"\ncheck_mode = "files_metadata"'

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "incoming").mkdir()

    def put(self, key: str, content: str) -> None:
        path = self.root / "incoming" / key
        path.write_text(content)
        os.utime(path, (int(content) + 1, int(content) + 1))

    def delete(self, key: str) -> None:
        (self.root / "incoming" / key).unlink()

    def lose(self) -> None:
        shutil.rmtree(self.root / "incoming", ignore_errors=True)


class TestFolder(SourceContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> FolderPlace:
        return FolderPlace(tmp_path)
