"""From a git branch to a cluster and back: one story, told in the order of the tests.

Real: git, Metaflow's compiler, our command as a process; S3 is moto.
"""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.difference import Difference
from flowproject.journal import Journal, open_store
from tests.deploy.cluster import EVENTS, NAMESPACE, Cluster
from tests.deploy.conftest import Ran, Repository
from tests.deploy.forum import Forum
from tests.journals import entry as an_entry

FEATURE = "feature/Foo-1"


class Story:
    """What was done, in order, and what it looked like after each step."""

    def __init__(self, repository: Repository, cluster: Cluster) -> None:
        self.repository = repository
        self.cluster = cluster
        self.ran: dict[str, Ran] = {}
        self.names: dict[str, dict[str, set[str]]] = {}
        self.writes: dict[str, list[str]] = {}

    def do(self, step: str, *command: str, **environment: str) -> Ran:
        self.cluster.writes()
        self.ran[step] = self.repository.flowproject(*command, **environment)
        self.names[step] = self.cluster.names
        self.writes[step] = self.cluster.writes()
        return self.ran[step]


@pytest.fixture(scope="module")
def story(new_repository: Callable[..., Repository], cluster: Cluster) -> Story:
    return Story(new_repository(), cluster)


@pytest.fixture(scope="module")
def branch(story: Story) -> str:
    """What Argo Workflows calls the feature branch: it knows no underscores."""
    return f"test.{story.repository.target(FEATURE).branch}".replace("_", "")


def body(cluster: Cluster, plural: str, name: str) -> dict[str, Any]:
    return cluster.objects(plural)[name]


def test_the_plan_of_a_first_deployment_says_what_is_new_and_writes_nothing(story: Story) -> None:
    planned = story.do("plan", "deploy", "--plan")
    assert planned.code == 0, planned.err
    assert planned.rows == {
        "SensorFlow": ["new", "runs at */5 * * * *"],
        "StarterFlow": ["new", "starts on weather_changed"],
    }
    assert story.writes["plan"] == []


def test_main_goes_to_production_and_has_just_what_it_needs(story: Story) -> None:
    deployed = story.do("main", "deploy")
    assert deployed.code == 0, deployed.err
    assert [row[0] for row in deployed.rows.values()] == ["deployed", "deployed"]
    assert story.names["main"] == {
        "workflowtemplates": {"weather.prod.sensorflow", "weather.prod.starterflow"},
        "cronworkflows": {"weather.prod.sensorflow"},
        "sensors": {"weather-prod-starterflow"},
    }


def test_listeners_are_live_before_sensors_and_templates_before_what_starts_them(
    story: Story,
) -> None:
    assert [line.rpartition("/")[2] for line in story.writes["main"]] == [
        "workflowtemplates",
        "sensors",
        "workflowtemplates",
        "cronworkflows",
    ]


def test_commit_branch_and_fingerprint_are_noted_on_every_object(
    story: Story, cluster: Cluster
) -> None:
    commit = story.repository.git("rev-parse", "HEAD")
    for plural in story.names["main"]:
        for one in cluster.objects(plural).values():
            noted = one["metadata"]["annotations"]
            assert noted["flowproject/git_branch"] == "main"
            assert noted["flowproject/git_commit"] == commit
            assert noted["flowproject/fingerprint"]
            assert (noted["metaflow/project_name"], noted["metaflow/branch_name"]) == (
                "weather",
                "prod",
            )
    template = body(cluster, "workflowtemplates", "weather.prod.sensorflow")
    tags = json.loads(template["metadata"]["annotations"]["metaflow/tags"])
    assert tags == ["git_branch:main", f"git_commit:{commit}"]


def test_the_sensor_of_production_is_told_who_must_confirm(story: Story, moto: Any) -> None:
    bucket = story.repository.environment["METAFLOW_DATASTORE_SYSROOT_S3"].split("/")[2]
    client = moto.client()
    [key] = [
        item["Key"]
        for item in client.list_objects_v2(Bucket=bucket, Prefix="metaflow/flowproject")["Contents"]
    ]
    assert "/weather/prod/weather/" in key
    told = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert (told["flows"], told["by"]) == (["StarterFlow"], "flowproject deploy")


def test_a_branch_goes_beside_production_without_a_schedule(story: Story, branch: str) -> None:
    story.repository.git("switch", "--quiet", "--create", FEATURE)
    story.repository.commit()
    deployed = story.do("feature", "deploy")
    assert deployed.code == 0, deployed.err
    assert deployed.rows["SensorFlow"][1] == "new; its schedule is paused on this branch"
    flat = branch.replace(".", "-")
    assert story.names["feature"] == {
        "workflowtemplates": {
            "weather.prod.sensorflow",
            "weather.prod.starterflow",
            f"weather.{branch}.sensorflow",
            f"weather.{branch}.starterflow",
        },
        "cronworkflows": {"weather.prod.sensorflow"},
        "sensors": {"weather-prod-starterflow", f"weather-{flat}-starterflow"},
    }


def test_each_branch_listens_to_its_own_events(story: Story, cluster: Cluster, branch: str) -> None:
    target = story.repository.target(FEATURE)
    for metaflow_name, argo_name in ((target.metaflow_name, branch), ("prod", "prod")):
        event = f"mfns.weather.{metaflow_name}.weather_changed"
        sensor = body(cluster, "sensors", f"weather-{argo_name.replace('.', '-')}-starterflow")
        [dependency] = sensor["spec"]["dependencies"]
        assert dependency["filters"]["exprs"][0]["expr"] == f"name == '{event}'"
        # What SensorFlow publishes there: `events.full_name` of its own project and branch.
        template = body(cluster, "workflowtemplates", f"weather.{argo_name}.sensorflow")
        noted = template["metadata"]["annotations"]
        assert noted["metaflow/branch_name"] == metaflow_name


def test_the_namespaces_are_those_of_metaflow(cluster: Cluster) -> None:
    places = {
        plural: {one["metadata"]["namespace"] for one in cluster.objects(plural).values()}
        for plural in cluster.names
    }
    assert places == {
        "workflowtemplates": {NAMESPACE},
        "cronworkflows": {NAMESPACE},
        "sensors": {EVENTS},
    }


def test_the_objects_are_what_the_models_of_argo_say(cluster: Cluster) -> None:
    from hera.events.models import Sensor
    from hera.workflows.models import CronWorkflow, WorkflowTemplate

    models = {
        "workflowtemplates": WorkflowTemplate,
        "cronworkflows": CronWorkflow,
        "sensors": Sensor,
    }
    for plural, model in models.items():
        for one in cluster.objects(plural).values():
            sent = one | {"metadata": {"annotations": one["metadata"]["annotations"]}}
            sent |= {"spec": known_to_hera(one["spec"]), "status": None}
            understood = json.loads(
                model.model_validate(sent).model_dump_json(by_alias=True, exclude_none=True)
            )
            assert set(lost(sent, understood)) <= _UNKNOWN_TO_HERA


def known_to_hera(spec: dict[str, Any]) -> dict[str, Any]:
    """Without the retries of triggers: it takes the API's numbers and durations for objects."""
    triggers = [
        {key: value for key, value in one.items() if key != "retryStrategy"}
        for one in spec.get("triggers", [])
    ]
    return spec | ({"triggers": triggers} if triggers else {})


_UNKNOWN_TO_HERA = {
    # Its model of a sensor has no kind, a container's name is missing, and what a trigger creates
    # is an empty model.
    "apiVersion",
    "kind",
    "spec.template.container.name",
    "spec.triggers.template.k8s.source.resource.apiVersion",
    "spec.triggers.template.k8s.source.resource.kind",
    "spec.triggers.template.k8s.source.resource.metadata",
    "spec.triggers.template.k8s.source.resource.spec",
}


def lost(sent: Any, understood: Any, path: str = "") -> list[str]:
    """What of the object its model does not know: a misspelled key would be among it."""
    if isinstance(sent, dict):
        told = {key: value for key, value in sent.items() if value not in (None, {}, [])}
        inner = [
            lost(value, understood[key], f"{path}.{key}")
            if key in understood
            else [f"{path}.{key}".lstrip(".")]
            for key, value in told.items()
        ]
        return [*chain.from_iterable(inner)]
    if isinstance(sent, list):
        pairs = zip(sent, understood, strict=True)
        return [*chain.from_iterable(lost(mine, theirs, path) for mine, theirs in pairs)]
    return [] if sent == understood else [f"{path}: {sent} became {understood}"]


def test_a_second_deployment_changes_nothing_although_the_commit_is_another(story: Story) -> None:
    story.repository.git("switch", "--quiet", "main")
    (story.repository.root / "README.md").write_text("Nothing that goes to the cluster.")
    (story.repository.root / "tests").mkdir()
    (story.repository.root / "tests" / "test_new.py").write_text("neither does this")
    story.repository.commit("words")
    deployed = story.do("again", "deploy")
    assert deployed.code == 0, deployed.err
    assert {row[0] for row in deployed.rows.values()} == {"unchanged"}
    assert story.writes["again"] == []
    assert "compiled" not in deployed.err, "what goes into them is the same"


def test_what_was_deployed_by_hand_is_unchanged_in_a_ci(story: Story) -> None:
    ci = {"GITHUB_ACTIONS": "true", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}
    run = {"GITHUB_SERVER_URL": "https://x", "GITHUB_REPOSITORY": "x/y", "GITHUB_RUN_ID": "7"}
    for options in ((), ("--all",)):
        planned = story.repository.flowproject("deploy", "--plan", *options, **ci, **run)
        assert planned.code == 0, planned.err
        assert {row[1] for row in planned.rows.values()} <= {"", "asked for with --all"}


def test_a_flow_whose_code_package_is_gone_is_deployed_again(
    story: Story, cluster: Cluster, moto: Any
) -> None:
    """A bucket may expire what is old: an unchanged flow could not run any more."""
    noted = body(cluster, "workflowtemplates", "weather.prod.starterflow")["metadata"]
    bucket, _, key = noted["annotations"]["flowproject/package"][len("s3://") :].partition("/")
    moto.client().delete_object(Bucket=bucket, Key=key)
    deployed = story.do("expired", "deploy")
    assert deployed.code == 0, deployed.err
    assert deployed.rows == {
        "SensorFlow": ["unchanged", ""],
        "StarterFlow": [
            "deployed",
            "changed; its code package is not in the datastore any more",
        ],
    }
    assert len(story.writes["expired"]) == 1, "its sensor stays as it is"
    assert story.do("mended", "deploy").rows["StarterFlow"][0] == "unchanged"


def test_what_a_renamed_sensor_left_is_named_by_the_plan_and_by_the_deployment(
    story: Story, moto: Any, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path))
    journal = Journal(store, project="weather", branch="prod", sensor="rain")
    journal.record(an_entry(1), None, Difference())
    bucket = story.repository.environment["METAFLOW_DATASTORE_SYSROOT_S3"].split("/")[2]
    keys = [f"metaflow/{key}" for key in store.keys(journal.location)]
    for key in keys:
        content = store.get(key.removeprefix("metaflow/"))
        moto.client().put_object(Bucket=bucket, Key=key, Body=content)
    for command in (("deploy", "--plan"), ("deploy",)):
        done = story.do("rain", *command)
        assert done.code == 0, done.err
        assert "No sensor is called 'rain' any more, and change 1 of it is not" in done.out
        assert "`flowproject move rain NEW-NAME`" in done.out
    for key in keys:
        moto.client().delete_object(Bucket=bucket, Key=key)


def test_a_plan_says_what_changed_and_what_goes(story: Story) -> None:
    story.repository.git("switch", "--quiet", FEATURE)
    (story.repository.root / "starterflow.py").unlink()
    sensor = story.repository.root / "sensorflow.py"
    sensor.write_text(sensor.read_text().replace("Observe, compare", "Look, compare"))
    story.repository.commit("no starter any more")
    planned = story.do("what goes", "deploy", "--plan", "--json")
    assert planned.code == 0, planned.err
    assert planned.json["flows"] == [
        {
            "flow": "SensorFlow",
            "state": "changed",
            "what": "flow: sensorflow.py; description",
        },
        {"flow": "StarterFlow", "state": "removed", "what": "not in this repository any more"},
    ]
    assert planned.json["branch"] == story.repository.target(FEATURE).metaflow_name
    assert story.writes["what goes"] == []


def test_a_removed_flow_disappears_from_its_branch_only(story: Story, branch: str) -> None:
    deployed = story.do("gone", "deploy")
    assert deployed.code == 0, deployed.err
    assert deployed.rows["StarterFlow"][0] == "removed"
    assert story.names["gone"] == story.names["main"] | {
        "workflowtemplates": {
            *story.names["main"]["workflowtemplates"],
            f"weather.{branch}.sensorflow",
        }
    }


def test_a_pull_request_is_told_what_merging_it_changes_in_production(
    story: Story, forum: Forum, tmp_path: Path
) -> None:
    """On the merge that GitHub checks out; beside it stands what is deployed of the branch."""
    repository = story.repository
    head = repository.git("rev-parse", FEATURE)
    repository.git("switch", "--quiet", "--detach", "main")
    repository.git("merge", "--quiet", "--no-edit", FEATURE)
    event = tmp_path / "event.json"
    event.write_text(json.dumps(pull_request(head)))
    github = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(event), **forum.github}
    planned = story.do("merge", "deploy", "--plan", **github)
    assert planned.code == 0, planned.err
    assert story.writes["merge"] == []
    assert "The comment on pull request 12 is new." in planned.out
    [body] = [one["body"] for one in forum.comments.values()]
    flows = [line for line in body.splitlines() if line.startswith("| S")]
    assert flows == [
        "| SensorFlow | changed | flow: sensorflow.py; description |",
        "| StarterFlow | removed | not in this repository any more |",
        f"| SensorFlow | deployed | last changed by commit {head[:12]}, which this is about |",
    ]
    assert [line for line in body.splitlines() if line.startswith("###")] == [
        f"### Merging {FEATURE} into main changes production: weather, prod",
        "### Its own deployment: weather, "
        + repository.target(FEATURE).metaflow_name.replace("_", "\\_"),
    ]
    assert f"<sub>{FEATURE}, commit {head[:12]} merged with main</sub>" in body
    assert "paused" not in body, "not in production"


def pull_request(head: str) -> dict[str, Any]:
    """What GitHub says of one, as far as it is read."""
    ours = {"ref": FEATURE, "sha": head, "repo": {"full_name": "acme/w"}}
    pull = {"number": 12, "head": ours, "base": {"ref": "main"}}
    return {"pull_request": pull, "repository": {"default_branch": "main"}}


def test_an_older_commit_is_deployed_only_on_purpose(story: Story) -> None:
    repository = story.repository
    repository.git("switch", "--quiet", "--detach", f"{FEATURE}~1")
    late = ("deploy", "--git-branch", FEATURE)
    refused = story.do("late", *late)
    assert refused.code == 64
    assert "would take back what came since" in refused.err
    assert "`flowproject deploy --roll-back`" in refused.err
    assert story.writes["late"] == []
    back = story.do("back", *late, "--roll-back")
    assert (back.code, back.rows["StarterFlow"][0]) == (0, "deployed"), back.err
    assert story.names["back"] == story.names["feature"]


def test_gc_leaves_alone_whatever_it_is_not_sure_of(story: Story, cluster: Cluster) -> None:
    foreign(cluster, "weather.test.hand.sensorflow", project="weather", branch="test.hand")
    foreign(cluster, "weather.user.ann.sensorflow", project="weather", branch="user.ann")
    foreign(cluster, "other.test.x.flow", project="other", branch="test.x", git_branch="x")
    foreign(
        cluster, "weather.test.odd.flow", project="weather", branch="test.odd", git_branch="x/y"
    )
    foreign(cluster, "not-of-metaflow")
    shown = story.do("gc alive", "gc", "--apply")
    assert shown.code == 0, shown.err
    assert {branch: row[0] for branch, row in shown.rows.items()} == {
        "prod": "alive",
        story.repository.target(FEATURE).metaflow_name: "alive",
        "test.hand": "kept",
        "test.odd": "kept",
        "user.ann": "kept",
    }
    assert story.writes["gc alive"] == []


def foreign(cluster: Cluster, name: str, **noted: str) -> None:
    """A template on the cluster that is not ours."""
    names = {"project": "metaflow/project_name", "branch": "metaflow/branch_name"}
    annotations = {names.get(key, f"flowproject/{key}"): value for key, value in noted.items()}
    cluster.put("workflowtemplates", name, annotations)


def test_gc_shows_a_dead_branch_and_removes_it_when_asked_to(story: Story, branch: str) -> None:
    dead = story.repository.target(FEATURE).metaflow_name
    story.repository.git("switch", "--quiet", "main")
    story.repository.git("push", "--quiet", "origin", "--delete", FEATURE)
    shown = story.do("gc shows", "gc")
    assert shown.rows[dead] == ["dead", f"git no longer has {FEATURE}"]
    assert story.writes["gc shows"] == []
    removed = story.do("gc removes", "gc", "--apply")
    assert removed.rows[dead][0] == "removed"
    before = story.names["gc shows"]["workflowtemplates"]
    assert story.names["gc removes"]["workflowtemplates"] == before - {
        f"weather.{branch}.sensorflow",
        f"weather.{branch}.starterflow",
    }


def test_production_is_torn_down_only_on_purpose(story: Story) -> None:
    refused = story.do("teardown refused", "teardown", "--yes")
    assert refused.code == 64
    assert "--production" in refused.err
    assert story.writes["teardown refused"] == []
    asked = story.do("nobody to ask", "teardown", "--production")
    assert asked.code == 64
    assert "Add `--yes`" in asked.err


def test_teardown_leaves_nothing_and_twice_is_no_error(story: Story) -> None:
    first = story.do("teardown", "teardown", "--production", "--yes", "--json")
    assert first.code == 0, first.err
    assert {(one["flow"], one["kind"]) for one in first.json["removed"]} == {
        ("SensorFlow", "template"),
        ("SensorFlow", "cron"),
        ("StarterFlow", "template"),
        ("StarterFlow", "sensor"),
    }
    left = story.names["teardown"]
    assert left.keys() == {"workflowtemplates"}
    assert not {name for name in left["workflowtemplates"] if ".prod." in name}
    again = story.do("teardown again", "teardown", "--production", "--yes", "--json")
    assert (again.code, again.json["removed"]) == (0, [])


def test_the_journal_stays_until_it_is_purged(story: Story, moto: Any) -> None:
    bucket = story.repository.environment["METAFLOW_DATASTORE_SYSROOT_S3"].split("/")[2]
    prefix = "metaflow/flowproject/weather/prod/"
    assert moto.client().list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 1
    purged = story.do("purge", "teardown", "--production", "--purge", "--yes")
    assert purged.code == 0, purged.err
    assert moto.client().list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 0
