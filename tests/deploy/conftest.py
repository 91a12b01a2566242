"""Projects in real git repositories, and a cluster and a datastore that they are deployed to."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from metaflow.metaflow_config import DATATOOLS_CLIENT_PARAMS

from flowproject.config.parse import load
from flowproject.deploy.branches import Target, target_of
from flowproject.packages import requirements
from tests.argo.cluster import ArgoCluster
from tests.conftest import ROOT
from tests.deploy.cluster import NEWEST, SECONDS, Cluster, EmulatedCluster
from tests.deploy.forum import Forum
from tests.executor.api import Api
from tests.executor.controller import Controller
from tests.executor.events import ArgoEvents
from tests.executor.images import Images
from tests.executor.pods import Machine
from tests.servers import CREDENTIALS, Moto
from tests.warm import python

_OF_CI = ("GITHUB_", "GITLAB_", "CI", "CIRCLE", "TF_BUILD", "BUILDKITE", "METAFLOW_", "GIT_")
_FLOW = """from metaflow import step

from flowproject import BaseFlow{imports}


{decorator}class {name}(BaseFlow):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    {name}()
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command of ours said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, list[str]]:
        """The lines of its table by their first cell."""
        lines = [line.split("\t") for line in self.out.splitlines() if "\t" in line]
        return {line[0]: line[1:] for line in lines[1:]}

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A project in a git repository with a remote, and the environment that it is deployed from."""

    root: Path
    environment: dict[str, str] = field(repr=False)

    def git(self, *command: str) -> str:
        done = subprocess.run(
            ["git", *command], cwd=self.root, env=self.environment, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def commit(self, message: str = "a change") -> str:
        """Commit everything and push it; the commit."""
        self.git("add", "--all")
        self.git("commit", "--allow-empty", "--message", message)
        self.git("push", "--quiet", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def flowproject(self, *arguments: str, seconds: float = 240, **environment: str) -> Ran:
        done = subprocess.run(
            [python(), "-m", "flowproject", *arguments],
            cwd=self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    def enter(self, patch: pytest.MonkeyPatch, **more: str) -> None:
        """Let this process compile, look and publish as the commands of the repository do."""
        for name, text in (self.environment | more).items():
            patch.setenv(name, text)
        webhook = self.environment["METAFLOW_ARGO_EVENTS_WEBHOOK_URL"]
        patch.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", webhook)
        endpoint = self.environment["METAFLOW_S3_ENDPOINT_URL"]
        patch.setitem(DATATOOLS_CLIENT_PARAMS, "endpoint_url", endpoint)

    def target(self, git_branch: str) -> Target:
        return target_of(git_branch, load(self.root).deploy)

    def write_flow(self, name: str, listens_to: str = "") -> None:
        """A small flow, in a file of its own name."""
        decorator = f'@on_change("{listens_to}")\n' if listens_to else ""
        imports = ", on_change" if listens_to else ""
        text = _FLOW.format(name=name, decorator=decorator, imports=imports)
        (self.root / f"{name.lower()}.py").write_text(text)


def run_in_images(root: Path) -> None:
    """Say that images have all that steps need: what makes environments is not installed here."""
    config = root / "flowproject.toml"
    shipped = 'environment = "pypi"', "image_has_packages = false"
    text = config.read_text()
    assert all(text.count(line) == 1 for line in shipped)
    text = text.replace(shipped[0], 'environment = ""')
    config.write_text(text.replace(shipped[1], "image_has_packages = true"))


ON_ARGO = os.environ.get("TEST_CLUSTER") == "argo"
"""Whether the cluster is the real one, which `make argo` builds, or the emulator."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On the real cluster, run what deploys to one, but for what only the emulator can do."""
    if not ON_ARGO:
        return
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    others = [one for one in here if "new_cluster" not in getattr(one, "fixturenames", ())]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]
    for item in items:
        if emulated := item.get_closest_marker("emulated"):
            item.add_marker(pytest.mark.skip(reason=emulated.args[0]))


@pytest.fixture(scope="module")
def new_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """Make an empty cluster; there is one at a time, and it goes when the next one is made."""
    running: list[Cluster] = []

    def make(argo: str = NEWEST) -> Cluster:
        if ON_ARGO:
            shared = ArgoCluster.shared()
            shared.clear(argo)
            return shared
        stop()
        running.append(EmulatedCluster(tmp_path_factory.mktemp("cluster"), argo))
        return running[-1]

    def stop() -> None:
        if running:
            running.pop().stop()

    yield make
    stop()


@pytest.fixture(scope="module")
def cluster(new_cluster: Callable[..., Cluster]) -> Cluster:
    """An empty cluster for a file of tests, which tell one story."""
    return new_cluster()


@pytest.fixture(scope="module")
def environment(
    cluster: Cluster, moto: Moto, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What makes Metaflow deploy to the cluster, and nothing that a CI would set."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_OF_CI)}
    return {
        **kept,
        **cluster.environment,
        **{
            f"GIT_{who}_{what}": "tester"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
        "GIT_CONFIG_GLOBAL": os.devnull,
        "HOME": str(home),
        "METAFLOW_HOME": str(home),
        "METAFLOW_USER": "tester",
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://{moto.bucket()}/metaflow",
        "METAFLOW_S3_ENDPOINT_URL": moto.endpoint_url,
        "METAFLOW_SERVICE_RETRY_COUNT": "1",
        "PYTHONPATH": str(ROOT),
    }


class Argo:
    """What works behind the API: a controller and a machine, and what they did."""

    image = "weather:1"
    """An image that has what the sources need."""

    def __init__(
        self,
        cluster: Cluster,
        environment: Mapping[str, str],
        folder: Path,
        visible: Path,
        sources: Sequence[str],
    ) -> None:
        self.api = Api(cluster.kubeconfig)
        images = Images(folder / "images", {Argo.image: requirements(sources)})
        self.machine = Machine(
            folder,
            images,
            environment=environment,
            visible=[visible],
            compiled=visible / "compiled",
        )
        self.controller = Controller(self.api, self.machine, pending=cluster.pending)
        self.events = None if ON_ARGO else ArgoEvents(self.api)
        self.webhook = self.events.url if self.events else cluster.webhook

    def runs(self, template: str) -> list[dict[str, Any]]:
        """The workflows of a template, when nothing goes on any more."""
        self.controller.settle()
        return self.controller.workflows(template)

    def publish(self, body: bytes) -> None:
        """Post an event, as anybody may. Without its type the real webhook reads it as a form."""
        request = urllib.request.Request(  # noqa: S310
            self.webhook, data=body, method="POST", headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            assert answer.status == 200

    def log(self, workflow: Mapping[str, Any], step: str) -> str:
        """What the pods of a step wrote, attempt after attempt."""
        start = f"{workflow['metadata']['name']}-{step}-"
        logs = [self.machine.log(name) for name in self.machine.logs if name.startswith(start)]
        return "\n".join(logs)

    def told(self, workflow: Mapping[str, Any]) -> str:
        """Phases, messages and logs, for a test that failed."""
        nodes = workflow["status"].get("nodes", {}).values()
        lines = [f"{one['name']}: {one['phase']} {one['message']}" for one in nodes]
        name = workflow["metadata"]["name"]
        logs = [self.machine.log(pod) for pod in self.machine.logs if pod.startswith(name)]
        return "\n".join([str(workflow["status"].get("message")), *lines, *logs])


@pytest.fixture(scope="module")
def sources() -> Sequence[str]:
    """The types of source that steps on the cluster look at."""
    return ["duckdb", "s3"]


@pytest.fixture(scope="module")
def argo(
    cluster: Cluster,
    environment: dict[str, str],
    moto: Moto,
    sources: Sequence[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Argo]:
    """Argo behind the cluster; where no real Argo Events is, ours hears what is published."""
    folder = tmp_path_factory.mktemp("machine")
    own = {**CREDENTIALS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto.endpoint_url}
    running = Argo(cluster, own, folder, tmp_path_factory.getbasetemp(), sources)
    environment["METAFLOW_ARGO_EVENTS_WEBHOOK_URL"] = running.webhook
    yield running
    if running.events:
        running.events.stop()


@pytest.fixture(scope="module")
def new_repository(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Repository]:
    """Make a repository of this project's own flows, or one without any, on `main`."""

    def make(*, flows: bool = True) -> Repository:
        folder = tmp_path_factory.mktemp("repository")
        root = folder / "project"
        root.mkdir()
        all_of_them = ("baseflow.py", "sensorflow.py", "starterflow.py", "forecast.py")
        mine = all_of_them if flows else ()
        for name in (".gitignore", "flowproject.toml", *mine):
            shutil.copy(ROOT / name, root)
        shutil.copytree(ROOT / "sql", root / "sql")
        run_in_images(root)
        repository = Repository(root=root, environment=environment)
        subprocess.run(["git", "init", "--quiet", "--bare", folder / "origin"], check=True)
        repository.git("init", "--quiet", "--initial-branch", "main")
        repository.git("remote", "add", "origin", str(folder / "origin"))
        repository.commit("the beginning")
        return repository

    return make


@pytest.fixture
def forum(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forum]:
    """Where pull requests have their comments."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Forum()
    yield running
    running.stop()
