"""What the cluster would not take is found before it is written, and told with the way out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.config.parse import load
from flowproject.deploy.apply import DryRun, dry_run
from flowproject.deploy.argo import Argo, RefusedError
from flowproject.deploy.branches import target_of
from flowproject.deploy.ci import CI
from flowproject.deploy.deployment import Deployment
from flowproject.deploy.objects import ArgoObject, DeployedObject
from flowproject.deploy.plan import Action, DeploymentPlan
from flowproject.deploy.preflight import check_deployment
from flowproject.deploy.revision import Revision
from flowproject.errors import DeployError
from tests.deploy.cluster import EVENTS, NAMESPACE, Cluster, EmulatedCluster, Fault, written

Make = Callable[[str], tuple[Cluster, Argo]]


@pytest.fixture
def make(new_cluster: Callable[[str], Cluster], monkeypatch: pytest.MonkeyPatch) -> Make:
    """A cluster with the definitions of a version of Argo Workflows."""
    from kubernetes import client, config

    monkeypatch.setattr("flowproject.deploy.argo._BACKOFF", 0.0)

    def start(argo: str) -> tuple[Cluster, Argo]:
        running = new_cluster(argo)
        config.load_kube_config(str(running.kubeconfig))
        return running, Argo(client, NAMESPACE, EVENTS)

    return start


def made(plural: str, name: str, namespace: str = NAMESPACE, **spec: Any) -> ArgoObject:
    body = written(plural, name, namespace, {}) | {"spec": spec}
    return ArgoObject(kind=plural, namespace=namespace, body=body)


def cron(name: str = "one", **spec: Any) -> ArgoObject:
    return made("cronworkflows", name, **{"workflowSpec": {}, **spec})


def action(*objects: ArgoObject, **versions: str) -> Action:
    return Action(flow="OneFlow", state="changed", to_write=objects, versions=versions)


@pytest.mark.parametrize(
    "argo, field",
    [("3.5", "schedule"), ("3.7", "schedules"), ("4.1", "schedules"), ("minimal", None)],
)
def test_the_cluster_is_asked_where_it_keeps_the_times_of_a_schedule(
    make: Make, argo: str, field: str | None
) -> None:
    cluster, client = make(argo)
    assert client.schedule_field() == field
    assert cluster.writes() == []
    assert cluster.names == {}


def test_who_may_not_write_schedules_is_not_told_where_they_go(make: Make) -> None:
    cluster, client = make("4.1")
    cluster.deny(("create", "cronworkflows"))
    assert client.schedule_field() is None


def test_what_would_be_refused_is_known_before_anything_is_written(make: Make) -> None:
    """Here: a schedule for Argo Workflows 3, on a cluster with version 4."""
    cluster, client = make("4.1")
    template = made("workflowtemplates", "one")
    found = dry_run(client, [action(template, cron(schedule="* * * * *"))], max_parallel=2)
    told = found.refused["OneFlow"]
    assert "The cron 'one' could not be written" in told
    assert "spec.schedules: Required value. Kubernetes said 422" in told
    assert "It would say so again. Change the flow's @schedule" in told
    assert "eploy again" not in told
    assert cluster.writes() == []


def test_an_object_that_is_replaced_is_rehearsed_as_that(make: Make) -> None:
    cluster, client = make("4.1")
    cluster.put("workflowtemplates", "one", {})
    version = cluster.objects("workflowtemplates")["one"]["metadata"]["resourceVersion"]
    there = action(made("workflowtemplates", "one"), workflowtemplates=version)
    assert not dry_run(client, [there], max_parallel=1).refused
    stale = action(made("workflowtemplates", "one"), workflowtemplates="999")
    assert not dry_run(client, [stale], max_parallel=1).refused
    assert cluster.writes() == []


def test_what_this_user_may_not_do_is_told_apart_from_what_nobody_may(make: Make) -> None:
    cluster, client = make("4.1")
    cluster.deny(("create", "sensors"))
    found = dry_run(client, [action(made("sensors", "one", EVENTS))], max_parallel=1)
    assert found.refused == {}
    assert "check --deploy" in found.forbidden["OneFlow"]


def test_what_may_not_be_removed_is_known_before_anything_is_written(make: Make) -> None:
    cluster, client = make("4.1")
    cluster.put("cronworkflows", "one", {})
    gone = DeployedObject(kind="cronworkflows", name="one", namespace=NAMESPACE)
    planned = replace(action(made("workflowtemplates", "one")), extra=(gone,))
    assert dry_run(client, [planned], max_parallel=1) == DryRun()
    cluster.deny(("delete", "cronworkflows"))
    assert dry_run(client, [planned], max_parallel=1).forbidden.keys() == {"OneFlow"}
    assert cluster.writes() == []
    assert cluster.names == {"cronworkflows": {"one"}}


def test_a_listing_that_the_server_forgot_is_begun_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowproject.deploy.argo._PAGE", 1)
    cluster, client = make("4.1")
    for name in ("one", "two", "three"):
        cluster.put("workflowtemplates", name, {})
    cluster.fail(Fault(status=410, methods=("GET",), number=3))
    assert {one.name for one in client.find()} == {"one", "two", "three"}
    cluster.fail(Fault(status=410, methods=("GET",)))
    with pytest.raises(DeployError, match="Kubernetes said 410, 5 times"):
        client.find()


@pytest.mark.parametrize(
    "status, way_out",
    [
        (400, "environment` and `with`"),
        (401, "kubectl auth whoami"),
        (403, "check --deploy"),
        (413, "fewer steps"),
        (422, "the flow's decorators"),
    ],
)
def test_each_refusal_says_what_to_change(make: Make, status: int, way_out: str) -> None:
    cluster, client = make("4.1")
    cluster.fail(Fault(status=status))
    with pytest.raises(RefusedError, match="Kubernetes said") as told:
        client.write(made("workflowtemplates", "one"), "")
    assert way_out in str(told.value)
    assert len(cluster.writes()) == 1


def test_a_namespace_that_does_not_exist_is_no_other_deployment(make: Make) -> None:
    cluster, client = make("4.1")
    cluster.fail(Fault(status=404))
    with pytest.raises(RefusedError, match="METAFLOW_ARGO_EVENTS_SENSOR_NAMESPACE"):
        client.write(made("sensors", "one", EVENTS), "")


@pytest.mark.emulated("the bus of the real cluster is JetStream, and always there")
@pytest.mark.parametrize("bus, taken", [({"nats": {}}, False), ({"jetstream": {}}, True)])
def test_a_bus_that_takes_one_event_for_a_sensor_refuses_flows_with_two(
    make: Make, bus: dict[str, Any], *, taken: bool
) -> None:
    cluster, client = make("4.1")
    assert isinstance(cluster, EmulatedCluster)
    cluster.put_event_bus(bus)
    two = made("sensors", "two", EVENTS, dependencies=[{"name": "a"}, {"name": "b"}])
    one = made("sensors", "one", EVENTS, dependencies=[{"name": "a"}])
    found = dry_run(client, [action(two)], max_parallel=1)
    assert bool(found.refused) != taken
    assert taken or "'nats'" in found.refused["OneFlow"]
    assert not dry_run(client, [action(one)], max_parallel=1).refused


@pytest.mark.emulated("the bus of the real cluster is JetStream, and always there")
@pytest.mark.parametrize(
    "argo, bus, state, told",
    [
        (
            "4.1",
            {"jetstream": {}},
            "ok",
            "written as 'schedules': Argo Workflows here is 3.6 or newer",
        ),
        (
            "3.5",
            {"jetstream": {}},
            "ok",
            "written as 'schedule': Argo Workflows here is older than",
        ),
        ("minimal", {}, "note", "as METAFLOW_ARGO_WORKFLOWS_USE_SCHEDULES says"),
        ("4.1", {"jetstream": {}}, "ok", "'default' is of the kind 'jetstream'"),
        ("4.1", {"nats": {}}, "note", "flows that wait for several are refused"),
        ("4.1", None, "error", "there is none called 'default' in namespace 'events'"),
        ("4.1", {}, "ok", "answers, Kubernetes v1.36.3; namespaces flows and events"),
    ],
)
def test_check_says_what_the_cluster_keeps(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    argo: str,
    bus: dict[str, Any] | None,
    state: str,
    told: str,
) -> None:
    cluster, client = make(argo)
    assert isinstance(cluster, EmulatedCluster)
    cluster.put_event_bus(bus)
    monkeypatch.setattr("flowproject.deploy.preflight.connect", lambda: client)
    found = [one for one in check_deployment() if told in one.message]
    assert [one.state for one in found] == [state]
    assert cluster.writes() == []


def test_neither_a_plan_nor_a_deployment_writes_a_part_of_what_is_refused(
    make: Make, tmp_path: Path
) -> None:
    cluster, client = make("4.1")
    config = 'project_name = "p"\n[data]\ntype = "files"\npath = "data"\n'
    (tmp_path / "flowproject.toml").write_text(config)
    project = load(tmp_path)
    deployment = Deployment(
        root=tmp_path,
        project=project,
        settings=project.deploy,
        target=target_of("x", project.deploy),
        revision=Revision(git_branch="x", commit="1", dirty=False, default_branch="", ci=CI()),
        argo=client,
    )
    refused = action(made("workflowtemplates", "one"), cron(schedule="* * * * *"))
    fine = replace(action(made("workflowtemplates", "two")), flow="TwoFlow", why=("code: a.py",))
    planned = deployment.report(DeploymentPlan(actions=(refused, fine)))
    deployed = deployment.apply(DeploymentPlan(actions=(refused, fine)), lambda _: None)
    for told in (planned, deployed):
        assert told.exit_code == 9
        assert [(row.flow, row.state) for row in told.rows] == [
            ("OneFlow", "refused"),
            ("TwoFlow", "changed"),
        ]
        assert "Nothing was deployed." in told.notes
    assert cluster.writes() == []
    cluster.deny(("create", "workflowtemplates"))
    only_planned = deployment.report(DeploymentPlan(actions=(fine,)))
    assert only_planned.exit_code == 0
    assert "Whether the cluster takes TwoFlow can't be asked." in only_planned.notes[-1]
    twice = deployment.report(DeploymentPlan(actions=(fine, replace(fine, flow="ThreeFlow"))))
    [told] = [note for note in twice.notes if "can't be asked" in note]
    assert "TwoFlow, ThreeFlow" in told
    assert deployment.apply(DeploymentPlan(actions=(fine,)), lambda _: None).exit_code == 9
    assert cluster.writes() == []
