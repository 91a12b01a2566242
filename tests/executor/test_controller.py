"""Workflows of a few small pods on the emulated API: what the controller makes of each kind."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.deploy.cluster import NAMESPACE, EmulatedCluster
from tests.executor.api import Api
from tests.executor.controller import Controller
from tests.executor.images import Images
from tests.executor.pods import Machine

OUTPUT = {"parameters": [{"name": "id", "valueFrom": {"path": "/mnt/out/id"}}]}


class Place:
    """A cluster, and a controller that runs what is on it."""

    def __init__(self, cluster: EmulatedCluster, folder: Path, visible: Path) -> None:
        self.api = Api(cluster.kubeconfig)
        self.waits: list[float] = []
        images = Images(folder / "images", {"bare": ()})
        machine = Machine(folder, images, environment={}, visible=[visible])
        self.controller = Controller(self.api, machine, pause=self.waits.append)

    def run(self, name: str, *templates: dict[str, Any], **spec: Any) -> dict[str, Any]:
        """The workflow of a new template with that name, as it stands when nothing goes on."""
        given = spec.pop("given", None)
        spec = {"entrypoint": "main", "arguments": {}, **spec, "templates": list(templates)}
        body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate"}
        body |= {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        self.api.create("workflowtemplates", NAMESPACE, body)
        self.controller.submit(name, given)
        self.controller.settle()
        return self.last(name)

    def last(self, name: str) -> dict[str, Any]:
        return self.controller.workflows(name)[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    cluster = EmulatedCluster(tmp_path_factory.mktemp("cluster"))
    folder = tmp_path_factory.mktemp("machine")
    yield Place(cluster, folder, tmp_path_factory.getbasetemp())
    cluster.stop()


def pod(name: str, command: str, **more: Any) -> dict[str, Any]:
    container = {"image": "bare", "command": ["bash", "-c", command], "env": more.pop("env", [])}
    return {"name": name, "container": container, **more}


def dag(name: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "dag": {"tasks": list(tasks)}, **more}


def task(name: str, depends: str = "", **more: Any) -> dict[str, Any]:
    arguments = {"parameters": [{"name": k, "value": v} for k, v in more.pop("given", {}).items()]}
    return {"name": name, "template": name, "depends": depends, "arguments": arguments, **more}


def phases(workflow: dict[str, Any]) -> dict[str, str]:
    nodes = workflow["status"]["nodes"].values()
    return {node["displayName"]: node["phase"] for node in nodes}


def messages(workflow: dict[str, Any]) -> dict[str, str]:
    nodes = workflow["status"]["nodes"].values()
    return {node["displayName"]: node["message"] for node in nodes}


def test_a_loop_gives_each_item_a_pod_and_an_output_goes_to_the_next_task(place: Place) -> None:
    inputs = {"parameters": [{"name": "in"}]}
    done = place.run(
        "loop",
        pod("first", "printf '[\"a\", 2]' > /mnt/out/id", outputs=OUTPUT),
        pod("each", "echo {{inputs.parameters.in}} > /mnt/out/id", inputs=inputs, outputs=OUTPUT),
        pod("last", "test '{{inputs.parameters.in}}' = '[\"a\", 2]'", inputs=inputs),
        dag(
            "main",
            task("first"),
            task(
                "each",
                "first.Succeeded",
                given={"in": "{{workflow.name}}/{{item}}"},
                withParam="{{tasks.first.outputs.parameters.id}}",
            ),
            task("last", "each.Succeeded", given={"in": "{{tasks.first.outputs.parameters.id}}"}),
        ),
    )
    assert phases(done) == {
        done["metadata"]["name"]: "Succeeded",
        "first": "Succeeded",
        "each": "Succeeded",
        "each(0:a)": "Succeeded",
        "each(1:2)": "Succeeded",
        "last": "Succeeded",
    }


def test_what_waits_for_a_failure_is_omitted_and_its_siblings_finish(place: Place) -> None:
    failed = place.run(
        "siblings",
        pod("bad", "echo why; exit 3"),
        pod("good", "true"),
        pod("after", "true"),
        dag("main", task("bad"), task("good"), task("after", "bad.Succeeded && good.Succeeded")),
    )
    assert failed["status"]["phase"] == "Failed"
    told = phases(failed)
    assert (told["bad"], told["good"], told["after"]) == ("Failed", "Succeeded", "Omitted")
    assert messages(failed)["bad"] == "main: Error (exit code 3): why"


def test_attempts_are_pods_of_one_step_as_many_as_the_strategy_says(place: Place) -> None:
    strategy = {"retryPolicy": "Always", "limit": 2, "backoff": {"duration": "2m"}}
    command = "echo attempt {{retries}}; test {{retries}} = %d && echo x > /mnt/out/id"
    third = place.run("third", pod("main", command % 2, retryStrategy=strategy, outputs=OUTPUT))
    assert [*phases(third).values()] == ["Succeeded", "Failed", "Failed", "Succeeded"]
    never = place.run("never", pod("main", command % 9, retryStrategy=strategy, outputs=OUTPUT))
    assert never["status"]["phase"] == "Failed"
    assert never["status"]["message"] == "No more retries left"
    assert place.waits == [120.0] * 4


def test_argo_retry_runs_only_what_did_not_succeed(place: Place, tmp_path: Path) -> None:
    marker = tmp_path / "there"
    failed = place.run(
        "again",
        pod("one", "date +%N > /mnt/out/id", outputs=OUTPUT),
        pod("two", f"ls {marker}"),
        dag("main", task("one"), task("two", "one.Succeeded")),
    )
    assert failed["status"]["phase"] == "Failed"
    marker.touch()
    place.controller.retry(failed["metadata"]["name"])
    again = place.last("again")
    ids = [
        node["outputs"]
        for workflow in (failed, again)
        for node in workflow["status"]["nodes"].values()
        if node["displayName"] == "one"
    ]
    assert ids[0] == ids[1]
    assert (again["status"]["phase"], phases(again)["two"]) == ("Succeeded", "Succeeded")
    assert again["metadata"]["name"] == failed["metadata"]["name"]


@pytest.mark.parametrize("exit_code, ran", [(0, "Skipped"), (1, "Succeeded")])
def test_an_exit_hook_knows_how_the_run_ended(place: Place, exit_code: int, ran: str) -> None:
    when = "{{workflow.status}} != Succeeded"
    step = {"name": "look", "template": "look", "when": when}
    env = [{"name": "FAILURES", "value": "{{workflow.failures}}"}]
    workflow = place.run(
        f"hook{exit_code}",
        pod("main", f"exit {exit_code}"),
        pod("look", 'echo "$FAILURES" | grep -q exit.code', env=env),
        {"name": "exit", "steps": [[step]]},
        onExit="exit",
    )
    assert phases(workflow)["look"] == ran
    assert workflow["status"]["phase"] == ("Failed" if exit_code else "Succeeded")


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    heard: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What was heard is enough."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hook_sends_its_request_if_its_expression_holds(
    place: Place, receiver: tuple[str, list[bytes]]
) -> None:
    url, heard = receiver
    http = {"method": "POST", "url": url, "body": '{"run": "argo-{{workflow.name}}"}'}
    hooks = {
        "bad": {"template": "tell", "expression": "workflow.status == 'Failed'"},
        "good": {"template": "tell", "expression": "workflow.status == 'Succeeded'"},
    }
    told = place.run("told", pod("main", "true"), {"name": "tell", "http": http}, hooks=hooks)
    assert heard == [f'{{"run": "argo-{told["metadata"]["name"]}"}}'.encode()]


SAY = pod("main", 'echo "$X"', env=[{"name": "X", "value": "{{workflow.parameters.x}}"}])
ARGUMENTS = {"parameters": [{"name": "x", "value": "default"}]}


@pytest.mark.parametrize(
    "value, phase",
    [
        ("plain", "Succeeded"),
        ("{{workflow.name}}", "Succeeded"),
        ("{{inputs.parameters.none}}", "Failed"),
        ("{{tasks.none.status}}", "Failed"),
        ("a\x7fb", "Failed"),
    ],
)
def test_a_value_meets_the_template(place: Place, value: str, phase: str) -> None:
    name = f"value-{abs(hash(value)) % 10**9}"
    workflow = place.run(name, SAY, arguments=ARGUMENTS, given={"x": value})
    assert workflow["status"]["phase"] == phase
    if phase == "Failed":
        assert workflow["status"]["message"].startswith("invalid spec: ")
        assert not workflow["status"]["nodes"]


def test_a_text_that_is_no_expression_leaves_the_workflow_standing(place: Place) -> None:
    encoded = [{"name": "X", "value": "{{=toBase64(workflow.parameters.x)}}"}]
    say = pod("main", "true", env=encoded)
    workflow = place.run("standing", say, arguments=ARGUMENTS, given={"x": "{{=1 +}}"})
    assert "status" not in workflow


def test_a_pod_that_can_not_start_keeps_its_run_where_it_is(place: Place) -> None:
    missing = {**pod("main", "true"), "container": {"image": "gone", "command": ["true"]}}
    workflow = place.run("pending", missing)
    assert workflow["status"]["phase"] == "Running"
    [node] = workflow["status"]["nodes"].values()
    assert (node["phase"], node["message"]) == ("Pending", "ImagePullBackOff: no image 'gone'")


def test_a_branch_that_is_not_taken_is_skipped_and_what_joins_it_goes_on(place: Place) -> None:
    """As Metaflow compiles a step that chooses."""
    outputs = {"parameters": [{"name": "to", "valueFrom": {"path": "/mnt/out/to"}}]}
    chosen = (
        "({{=(tasks['choose'].status == 'Succeeded' ? "
        "tasks['choose'].outputs.parameters['to'] : nil) == '%s'}})"
    )
    workflow = place.run(
        "branches",
        pod("choose", "printf left > /mnt/out/to", outputs=outputs),
        pod("left", "true"),
        pod("right", "true"),
        pod("join", "true"),
        dag(
            "main",
            task("choose"),
            task("left", "choose.Succeeded", when=chosen % "left"),
            task("right", "choose.Succeeded", when=chosen % "right"),
            task("join", "left.Succeeded || right.Succeeded"),
        ),
    )
    told = phases(workflow)
    assert (told["left"], told["right"], told["join"]) == ("Succeeded", "Skipped", "Succeeded")
    assert workflow["status"]["phase"] == "Succeeded"
