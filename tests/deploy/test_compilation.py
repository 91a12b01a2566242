"""What Metaflow's compiler makes of flows: the same as its own `create`, or a reason."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flowproject.config.parse import load
from flowproject.deploy.branches import target_of
from flowproject.deploy.compilation import CompilationFailure, child_options, compile_flows
from flowproject.deploy.compiled_flow import CompiledFlow, essence_of
from flowproject.deploy.objects import with_policies
from flowproject.deploy.plan import differences, make_plan
from flowproject.deploy.report import of_plan
from flowproject.errors import ConfigError
from tests.deploy.cluster import Cluster
from tests.deploy.conftest import Repository

COMPILES = "what is asked is the compiler's answer, for which no cluster is needed"
pytestmark = pytest.mark.usefixtures("warm_children")


@pytest.fixture(scope="module")
def repository(new_repository: Callable[..., Repository]) -> Repository:
    return new_repository()


def test_what_is_compiled_is_what_metaflow_itself_deploys(
    repository: Repository, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what Metaflow deployed is taken over by the next deployment, which says so."""
    (repository.root / "sensorflow.py").rename(repository.root / "sensorflow.txt")
    want_more_parameters(repository)
    command = ["--production", "argo-workflows", "create", "--tag", "x:y"]
    subprocess.run(
        [sys.executable, "starterflow.py", *command],
        cwd=repository.root,
        env=repository.environment,
        capture_output=True,
        check=True,
    )
    monkeypatch.chdir(repository.root)
    repository.enter(monkeypatch)
    target = repository.target("main")
    # What a neighbour meets while Metaflow rewrites the file of the production token.
    [tokens] = Path(repository.environment["METAFLOW_HOME"]).glob("mfprj-*")
    token = tokens.read_text()
    tokens.write_text("")
    [compiled] = compile_flows(repository.root, target, load(repository.root).deploy, ("x:y",))
    assert not isinstance(compiled, CompilationFailure)
    for one in compiled.objects:
        deployed = cluster.objects(one.kind)[one.name]
        mine = json.dumps(compiled.essence[one.kind], sort_keys=True)
        body = with_policies(replace(one, body=deployed)).body
        theirs = json.dumps(essence_of(body, compiled.package, ()), sort_keys=True)
        assert understood(drawn(mine)) == understood(drawn(theirs))
    assert tokens.read_text() == token


def test_what_somebody_else_deployed_is_refused_unless_flowproject_did(
    repository: Repository, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.enter(monkeypatch, METAFLOW_USER="ann")
    target, settings = repository.target("main"), load(repository.root).deploy
    [refused] = compile_flows(repository.root, target, settings)
    assert isinstance(refused, CompilationFailure)
    assert "was deployed by user 'tester', without flowproject" in refused.reason
    noted = {"flowproject/fingerprint": "ours"}
    cluster.annotate("workflowtemplates", "weather.prod.starterflow", noted)
    [compiled] = compile_flows(repository.root, target, settings)
    assert not isinstance(compiled, CompilationFailure)
    assert compiled.package[1]


def want_more_parameters(repository: Repository) -> None:
    """Metaflow maps those of a flow with one event in the order of a set."""
    flow = repository.root / "starterflow.py"
    more = "".join(f'    p{number} = Parameter("p{number}", default="")\n' for number in range(7))
    flow.write_text(flow.read_text().replace("    since = ", f"{more}    since = "))


def understood(text: str) -> str:
    """What Argo Events' types know of a Sensor, which it writes anew to add its finalizer."""
    return text.replace('"name": "main", "resources"', '"resources"').replace(
        '"useRawData": false, ', ""
    )


def drawn(text: str) -> str:
    """The text without the name that Metaflow draws for a file: we draw the same each time."""
    marker = "metaflow.plugins.argo.set_parameters "
    if marker not in text:
        return text
    name = text.partition(marker)[2].partition(" ")[0]
    return text.replace(name, "<drawn>")


@pytest.mark.emulated(COMPILES)
def test_when_one_of_three_does_not_compile_nothing_is_deployed(
    repository: Repository, cluster: Cluster
) -> None:
    (repository.root / "sensorflow.txt").rename(repository.root / "sensorflow.py")
    (repository.root / "brokenflow.py").write_text("from flowproject import BaseFlow\nclass :\n")
    before = cluster.names
    cluster.writes()
    deployed = repository.flowproject("deploy")
    assert deployed.code == 7
    assert deployed.rows == {
        "brokenflow.py": ["does not compile", "brokenflow.py:2: SyntaxError: invalid syntax"],
        "SensorFlow": ["not tried", "it compiles"],
        "StarterFlow": ["not tried", "it compiles"],
    }
    assert "Nothing was deployed." in deployed.out
    assert (cluster.names, cluster.writes()) == (before, [])


@pytest.mark.emulated(COMPILES)
def test_a_decorator_that_nobody_knows_is_a_mistake_in_the_configuration(
    repository: Repository,
) -> None:
    planned = repository.flowproject("deploy", "--plan", "--with", "kubernets:image=x")
    assert planned.code == 2
    assert "[deploy] with has 'kubernets:image=x'" in planned.err
    assert "Did you mean 'kubernetes'?" in planned.err
    planned = repository.flowproject("deploy", "--plan", "--with", "kubernetes:memori=1")
    assert planned.code == 7
    assert "gets 'kubernetes:memori=1'" in planned.out, planned.out


@pytest.mark.emulated(COMPILES)
def test_a_flow_that_could_never_start_is_refused_before_anything_is_deployed(
    repository: Repository, cluster: Cluster
) -> None:
    want_what_is_not_there(repository)
    cluster.writes()
    deployed = repository.flowproject("deploy")
    assert deployed.code == 7
    assert "requires parameter 'day' from the payload's 'day'" in deployed.out
    assert "NeedyFlow runs steps start, end in an image as it is, which lacks" in deployed.out
    assert cluster.writes() == []


def want_what_is_not_there(repository: Repository) -> None:
    """One flow, which requires a parameter that no event has, in an image that has no packages."""
    for file in repository.root.glob("*flow.py"):
        file.unlink()
    repository.write_flow("NeedyFlow", listens_to="weather")
    needy = repository.root / "needyflow.py"
    needed = 'class NeedyFlow(BaseFlow):\n    day = Parameter("day", required=True)\n'
    text = needy.read_text().replace("import step", "import Parameter, step")
    needy.write_text(text.replace("class NeedyFlow(BaseFlow):\n", needed))
    config = repository.root / "flowproject.toml"
    config.write_text(config.read_text().replace("image_has_packages = true", ""))


def test_preflight_says_what_is_missing_and_what_to_do(
    repository: Repository, cluster: Cluster
) -> None:
    want_what_is_not_there(repository)
    cluster.deny(("create", "sensors"))
    lacking = repository.flowproject(
        "check",
        "--deploy",
        METAFLOW_DEFAULT_DATASTORE="local",
        METAFLOW_ARGO_EVENTS_WEBHOOK_URL="",
    )
    assert lacking.code == 9
    planned = repository.flowproject("deploy", "--plan", METAFLOW_ARGO_EVENTS_WEBHOOK_URL="")
    assert "ARGO_EVENTS_WEBHOOK_URL is not set: the webhook that sensors publish" in planned.out
    assert "may not: create sensors" in lacking.out
    assert "kubectl create role flowproject" in lacking.out
    assert "METAFLOW_DATASTORE_SYSROOT_S3" in lacking.out
    assert "ARGO_EVENTS_WEBHOOK_URL is not set" in lacking.out
    assert 'Under [deploy] set `environment = "pypi"`' in lacking.out
    cluster.deny(("list", "sensors"))
    assert "may not: list sensors" in repository.flowproject("check", "--deploy").out
    cluster.deny()
    (repository.root / "needyflow.py").unlink()
    fine = repository.flowproject("check", "--deploy")
    assert fine.code == 0, fine.out
    assert fine.rows["ok"]


_BOTH = """from metaflow import namespaced_event_name, step, trigger

from flowproject import BaseFlow


@trigger(events=[namespaced_event_name("weather_changed"), "vendor.feed"])
class BothFlow(BaseFlow):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    BothFlow()
"""


@pytest.mark.emulated(COMPILES)
def test_where_foreign_events_are_left_out_a_flow_does_not_start_on_the_other_half(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in repository.root.glob("*flow.py"):
        file.unlink()
    (repository.root / "bothflow.py").write_text(_BOTH)
    repository.enter(monkeypatch)
    settings = replace(load(repository.root).deploy, foreign_event_branches=("staging",))
    for git_branch, waits in (("staging", True), ("feature", False)):
        target = target_of(git_branch, settings)
        [compiled] = compile_flows(repository.root, target, settings)
        assert not isinstance(compiled, CompilationFailure)
        assert [one.kind for one in compiled.objects if one.kind == "sensors"] == [
            "sensors"
        ] * waits
        known = [one.event for one in compiled.flow.dependencies]
        assert known == [f"mfns.weather.test.{git_branch}.weather_changed", "vendor.feed"]
        noted = compiled.objects[0].body["metadata"]["annotations"]
        assert ("metaflow/triggers" in noted) is waits
        actions = make_plan([compiled], [], {}, project="weather", branch=target.metaflow_name)
        report = of_plan("weather", target, actions)
        if waits:
            told = (
                "Events that come from elsewhere start flows on this branch, too: BothFlow (vendor."
            )
        else:
            assert report.rows[0].what == "does not start on vendor.feed on this branch"
            told = "Triggers that wait for events from elsewhere are left out on this branch: Both"
        assert any(note.startswith(told) for note in report.notes)
    production = target_of("main", settings)
    assert production.foreign_events
    assert not of_plan("weather", production, actions).notes, "there it is meant"


@pytest.mark.emulated(COMPILES)
def test_who_is_told_of_a_failed_run_is_a_secret_by_name(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metaflow writes it into the template; plans, arguments and messages are without it."""
    for file in repository.root.glob("*flow.py"):
        file.unlink()
    repository.write_flow("LoudFlow")
    repository.enter(monkeypatch)
    settings = replace(
        load(repository.root).deploy,
        notify_on=("error", "success"),
        notify_slack="HOOK",
        notify_incident_io="KEY",
        notify_incident_io_source="01GW",
    )
    monkeypatch.setenv("KEY", "s3cr3t-k3y\n")
    main = repository.target("main")
    for value in (None, "", "not an address"):
        monkeypatch.setenv("HOOK", value) if value is not None else None
        with pytest.raises(ConfigError, match="notify_slack names the environment variable 'HOOK'"):
            compile_flows(repository.root, main, settings)
    found = []
    for secret in ("https://hooks.example/one", "https://hooks.example/two"):
        monkeypatch.setenv("HOOK", secret)
        assert not [word for word in child_options(main, settings) if secret in word]
        [compiled] = compile_flows(repository.root, main, settings)
        assert isinstance(compiled, CompiledFlow)
        [template] = compiled.objects
        told = {
            one["name"]: one["http"] for one in template.body["spec"]["templates"] if "http" in one
        }
        assert told["notify-slack-on-error"]["url"] == secret
        assert told["notify-slack-on-success"]["url"] == secret
        assert "Bearer s3cr3t-k3y" in json.dumps(told["notify-incident-io-on-error"])
        found.append(compiled.annotated({}))
    one, two = found
    assert one.fingerprints != two.fingerprints
    bodies = {each.kind: each.body for each in one.objects}
    assert differences(two, bodies) == ("notifications",)
    [quiet] = compile_flows(repository.root, repository.target("feature"), settings)
    assert isinstance(quiet, CompiledFlow)
    assert "hooks.example" not in json.dumps(quiet.objects[0].body)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_ten_flows_compile_side_by_side_twenty_times_each_time_in_a_new_home(
    new_repository: Callable[..., Repository],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    repository = new_repository(flows=False)
    for number in range(10):
        repository.write_flow(f"Many{number}Flow", listens_to="weather")
    repository.enter(monkeypatch)
    for round_ in range(20):
        home = tmp_path / f"home{round_}"
        monkeypatch.setenv("METAFLOW_HOME", str(home))
        shutil.rmtree(repository.root / ".metaflow", ignore_errors=True)
        settings = replace(load(repository.root).deploy, max_parallel=10)
        results = compile_flows(repository.root, repository.target("main"), settings)
        assert [one.reason for one in results if isinstance(one, CompilationFailure)] == []
        [tokens] = home.glob("mfprj-*")
        assert json.loads(tokens.read_text())["production_token"]


@pytest.mark.thorough
def test_a_flow_compiles_to_the_same_under_every_hash_seed(
    new_repository: Callable[..., Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = new_repository()
    want_more_parameters(repository)
    repository.enter(monkeypatch)
    found = set()
    for seed in range(20):
        monkeypatch.setenv("PYTHONHASHSEED", str(seed))
        results = compile_flows(
            repository.root, repository.target("main"), load(repository.root).deploy
        )
        told = [
            repr((one.name, one.fingerprints)) for one in results if isinstance(one, CompiledFlow)
        ]
        assert len(told) == 2
        found.add(tuple(told))
    assert len(found) == 1
