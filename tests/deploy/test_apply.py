"""What goes wrong on the way to the cluster: failures, two at once, and a teardown in between.

What is deployed is made up, so that it costs no compiler.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from flowproject.deploy.apply import Outcome, apply_plan, remove
from flowproject.deploy.argo import Argo
from flowproject.deploy.branches import Target, objects_of_branch
from flowproject.deploy.compiled_flow import CompiledFlow, compiled_from
from flowproject.deploy.plan import make_plan
from flowproject.deploy.report import of_outcomes
from flowproject.errors import DeployError
from flowproject.flowfiles import Dependency, FlowFile
from tests.deploy.cluster import EVENTS, NAMESPACE, SECONDS, Cluster, Fault, written

TARGET = Target(git_branch="x", branch="x", production=False, schedules=True)
WANTED = {
    "workflowtemplates": {"oneflow", "twoflow", "sensorflow"},
    "cronworkflows": {"sensorflow"},
    "sensors": {"oneflow", "twoflow"},
}


@pytest.fixture
def cluster(new_cluster: Callable[..., Cluster]) -> Cluster:
    return new_cluster()


@pytest.fixture
def argo(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Argo:
    from kubernetes import client, config

    monkeypatch.setattr("flowproject.deploy.argo._BACKOFF", 0.0)
    config.load_kube_config(str(cluster.kubeconfig))
    return Argo(client, NAMESPACE, EVENTS)


def flow(name: str, content: str) -> CompiledFlow:
    """A flow as Metaflow compiles it, as far as deploying it goes."""
    listens = name != "SensorFlow"
    event = Dependency(event="e", type="event", alias="e")
    described = FlowFile(
        name=name,
        path=Path(f"/{name.lower()}.py"),
        project="p",
        branch="test.x",
        dependencies=(event,) if listens else (),
    )

    def one(plural: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
        body = written(plural, name.lower(), namespace, {}) | {"spec": spec}
        return {"plural": plural, "namespace": namespace, "body": body}

    starter = (
        one("sensors", EVENTS, {"dependencies": [_dependency(content)], "triggers": []})
        if listens
        else one(
            "cronworkflows", NAMESPACE, {"schedules": [f"{content} * * * *"], "workflowSpec": {}}
        )
    )
    answer = {
        "flow": described.to_json(),
        "name": name.lower(),
        "package": ["s3://b/k", "k"],
        "files": {"code.py": content},
        "objects": [one("workflowtemplates", NAMESPACE, {"content": content}), starter],
    }
    return compiled_from(answer, ()).annotated({"flowproject/git_branch": "x"})


def _dependency(event: str) -> dict[str, str]:
    return {"name": "e", "eventSourceName": "webhook", "eventName": event}


def flows(content: str = "1") -> list[CompiledFlow]:
    return [flow(name, content) for name in ("OneFlow", "SensorFlow", "TwoFlow")]


def plan(argo: Argo, compiled: Sequence[CompiledFlow]) -> Any:
    return make_plan(compiled, argo.find(), {}, project="p", branch="test.x")


def deploy(argo: Argo, compiled: Sequence[CompiledFlow]) -> list[Outcome]:
    return apply_plan(argo, plan(argo, compiled), max_parallel=1)


def teardown(argo: Argo) -> None:
    remove(argo, objects_of_branch(argo.find(), project="p", branch="test.x"))


def results(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {one.action.flow: one.result for one in outcomes}


def assert_whole(cluster: Cluster, argo: Argo, compiled: Sequence[CompiledFlow]) -> None:
    """Everything is there, nothing else, and all of it from these flows."""
    assert cluster.names == WANTED
    assert {one.state for one in plan(argo, compiled)} == {"unchanged"}


def test_when_nothing_could_be_written_nothing_is_called_live(cluster: Cluster, argo: Argo) -> None:
    cluster.fail(Fault(status=500))
    report = of_outcomes("p", TARGET, deploy(argo, flows()))
    assert {row.state for row in report.rows} == {"failed", "not tried"}
    assert report.notes[0].startswith("No flow was deployed whole")
    assert cluster.names == {}


def test_when_the_api_fails_on_the_second_flow_the_table_says_which_are_live(
    cluster: Cluster, argo: Argo
) -> None:
    cluster.fail(Fault(status=500, name="twoflow"))
    outcomes = deploy(argo, flows())
    report = of_outcomes("p", TARGET, outcomes)
    told = {row.flow: (row.state, row.what) for row in report.rows}
    assert told["OneFlow"] == ("deployed", "new; starts on e")
    assert told["SensorFlow"] == ("not tried", "because TwoFlow could not be deployed")
    state, why = told["TwoFlow"]
    assert state == "failed"
    assert "'twoflow' could not be written: the API is out of order" in why
    assert report.exit_code == DeployError.exit_code == 9
    assert "the rest is live" in report.notes[0]
    assert cluster.names == {"workflowtemplates": {"oneflow"}, "sensors": {"oneflow"}}

    cluster.fail(None)
    again = deploy(argo, flows())
    assert results(again) == {
        "OneFlow": "unchanged",
        "SensorFlow": "deployed",
        "TwoFlow": "deployed",
    }
    assert_whole(cluster, argo, flows())


@pytest.mark.parametrize("number", range(1, 7))
def test_whatever_write_fails_the_next_deployment_completes_it(
    cluster: Cluster, argo: Argo, number: int
) -> None:
    cluster.fail(Fault(status=422, methods=("POST",), number=number))
    assert "failed" in results(deploy(argo, flows())).values()
    deploy(argo, flows())
    assert_whole(cluster, argo, flows())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_the_api_does_not_take_for_a_moment_it_is_asked_again(
    cluster: Cluster, argo: Argo, status: int
) -> None:
    cluster.fail(Fault(status=status, number=2))
    assert set(results(deploy(argo, flows())).values()) == {"deployed"}
    assert_whole(cluster, argo, flows())


def test_an_api_that_stays_out_of_order_is_asked_a_few_times(cluster: Cluster, argo: Argo) -> None:
    cluster.fail(Fault(status=429))
    one, *_ = deploy(argo, flows())
    assert "Kubernetes said 429, 5 times" in one.reason
    assert "busy, or out of order: nothing is wrong with what was sent" in one.reason
    assert "kubectl get --raw /readyz" in one.reason
    assert (
        cluster.writes()
        == ["post /apis/argoproj.io/v1alpha1/namespaces/flows/workflowtemplates"] * 10
    )


def test_the_same_deployment_twice_at_once_succeeds_twice(cluster: Cluster, argo: Argo) -> None:
    first, second = plan(argo, flows()), plan(argo, flows())
    outcomes = [apply_plan(argo, one, max_parallel=2) for one in (first, second)]
    assert {result for one in outcomes for result in results(one).values()} == {"deployed"}
    assert_whole(cluster, argo, flows())


def test_of_two_commits_at_once_the_second_says_that_it_lost(cluster: Cluster, argo: Argo) -> None:
    deploy(argo, flows("0"))
    first, second = plan(argo, flows("1")), plan(argo, flows("2"))
    assert set(results(apply_plan(argo, first, max_parallel=2)).values()) == {"deployed"}
    lost = apply_plan(argo, second, max_parallel=2)
    assert results(lost) == {"OneFlow": "failed", "TwoFlow": "failed", "SensorFlow": "not tried"}
    assert "another deployment or teardown was there first" in lost[0].reason
    assert_whole(cluster, argo, flows("1"))


@pytest.mark.parametrize("number", range(1, 7))
def test_two_commits_between_any_two_writes_leave_nothing_a_third_does_not_repair(
    cluster: Cluster, argo: Argo, number: int
) -> None:
    deploy(argo, flows("0"))
    interrupt(cluster, number, lambda: deploy(argo, flows("1")), lambda: deploy(argo, flows("2")))
    deploy(argo, flows("3"))
    assert_whole(cluster, argo, flows("3"))


@pytest.mark.parametrize("third", ["deployment", "teardown"])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_teardown_between_any_two_writes_leaves_nothing_a_third_does_not_repair(
    cluster: Cluster, argo: Argo, number: int, third: str
) -> None:
    deploy(argo, flows("0"))
    interrupt(cluster, number, lambda: deploy(argo, flows("1")), lambda: teardown(argo))
    settle(cluster, argo, third)


@pytest.mark.parametrize("third", ["deployment", "teardown"])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_deployment_between_any_two_removals_leaves_nothing_a_third_does_not_repair(
    cluster: Cluster, argo: Argo, number: int, third: str
) -> None:
    deploy(argo, flows("0"))
    interrupt(cluster, number, lambda: teardown(argo), lambda: deploy(argo, flows("1")))
    settle(cluster, argo, third)


def interrupt(
    cluster: Cluster,
    number: int,
    interrupted: Callable[[], object],
    meanwhile: Callable[[], object],
) -> None:
    """Do the second while the first waits before its nth write."""
    hold = cluster.hold(number)
    thread = threading.Thread(target=interrupted)
    thread.start()
    assert hold.wait()
    meanwhile()
    hold.release()
    thread.join(SECONDS)
    assert not thread.is_alive()


def settle(cluster: Cluster, argo: Argo, third: str) -> None:
    if third == "deployment":
        deploy(argo, flows("2"))
        assert_whole(cluster, argo, flows("2"))
    else:
        teardown(argo)
        assert cluster.names == {}


def test_a_cluster_that_does_not_answer_is_told_in_words(cluster: Cluster, argo: Argo) -> None:
    with cluster.away(), pytest.raises(DeployError, match="does not answer") as raised:
        argo.find()
    assert "kubectl cluster-info" in str(raised.value)


def test_what_is_not_allowed_names_the_command_that_says_what_is(
    cluster: Cluster, argo: Argo
) -> None:
    cluster.fail(Fault(status=403, methods=("GET",)))
    with pytest.raises(DeployError, match="Kubernetes said 403.*check --deploy"):
        argo.find()


def test_a_cluster_that_has_nothing_is_deployed_to(cluster: Cluster, argo: Argo) -> None:
    assert argo.find() == []
    deploy(argo, flows())
    assert_whole(cluster, argo, flows())


@pytest.mark.emulated("an API server keeps no null where a definition wants an object")
@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"annotations": None, "labels": None}, "spec": None},
        {"metadata": {"annotations": {"flowproject/files": "null", "metaflow/tags": "null"}}},
        {"metadata": {}, "spec": {"templates": None}},
        {"metadata": {}, "spec": {"templates": [None, {"container": None}]}},
        {"metadata": {}, "spec": {"templates": [{"container": {"env": None}}]}},
    ],
)
def test_what_is_null_on_the_cluster_is_as_good_as_absent(
    cluster: Cluster, argo: Argo, body: dict[str, Any]
) -> None:
    """Null or not there at all: the API may answer either for what is empty."""
    deploy(argo, flows())
    for plural, names in WANTED.items():
        for name in names:
            there = cluster.objects(plural)[name]
            annotations = body["metadata"].get("annotations", {})
            noted = {**there["metadata"]["annotations"], **(annotations or {})}
            noted["flowproject/fingerprint"] = "another"
            there["metadata"] |= body["metadata"] | {"annotations": noted}
            there["spec"] = body.get("spec")
    bodies = {
        (one.kind, one.name): argo.read(one.kind, one.name, one.namespace) or {}
        for one in argo.find()
    }
    planned = make_plan(flows(), argo.find(), bodies, project="p", branch="test.x")
    assert {one.state for one in planned} == {"changed"}
    assert all(one.why for one in planned)
    for bare in cluster.objects("workflowtemplates").values():
        bare["metadata"] |= {"annotations": None, "resourceVersion": None}
    assert {one.project for one in argo.find() if one.kind == "workflowtemplates"} == {""}


def test_long_listings_are_read_page_by_page(argo: Argo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowproject.deploy.argo._PAGE", 2)
    deploy(argo, flows())
    assert len(argo.find()) == 6
