"""Text of data on its way from a sensor to a deployed run: each arrives as it was, none is run.

Real: our payload and our POST, the objects that our command compiles, Metaflow's code that sets
parameters, a shell, Metaflow's options. The executor does what Argo and a kubelet do. The local
loop is given the same, and makes the same of it.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from metaflow import JSONType, Parameter, metaflow_config
from metaflow._vendor import click

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.entry import Entry
from flowproject.changes.payload import payload
from flowproject.config.parse import load
from flowproject.deploy.compilation import compile_flows
from flowproject.deploy.compiled_flow import CompiledFlow
from flowproject.dev.triggers import NOTHING_WAITS, Event, Start, offer
from flowproject.events import publish
from flowproject.starting import decode_parameter
from flowproject.starting.run_start import event_changes
from tests.deploy.conftest import Repository
from tests.executor.values import Carried, carry
from tests.texts import EXECUTED, texts

pytestmark = pytest.mark.emulated(
    "the executor carries the texts, and the real cluster is asked nothing"
)

MANY = 2_000
SHORT = 1_000
LARGE = 10_000
ADDRESS = "ARGO_EVENTS_WEBHOOK_URL"
PARAMETERS = {
    "value": 'Parameter("value", default="d")',
    "nothing": 'Parameter("nothing")',
    "whole": 'Parameter("whole", type=JSONType, default=None)',
    "data": 'Parameter("data", type=JSONType, default="{}")',
    "number": 'Parameter("number", default=7)',
    "ratio": 'Parameter("ratio", default=1.5)',
    "yes": 'Parameter("yes", default=False)',
}
MAPPED = {name: "change" if name == "whole" else "value" for name in PARAMETERS}
FLOW = """
from metaflow import JSONType, Parameter, namespaced_event_name, step, trigger

from flowproject import BaseFlow

EVENT = namespaced_event_name("weather_changed")


@trigger(event={{"name": EVENT, "parameters": {mapped}}})
class {name}(BaseFlow):
    {parameters}

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    {name}()
"""
ENTRY = Entry(
    seq=3,
    id="0" * 32,
    project="weather",
    branch="prod",
    sensor="weather",
    outcome="changed",
    reason="it changed",
    counts={"added": 1, "modified": 0, "removed": 0},
    total=4,
    recorded_at="2026-01-01T00:00:00+00:00",
    run="SensorFlow/7",
)
VALUES: tuple[Json, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**53, 2**53 + 1, -(2**63), 12345678901234567890, 10**300),
    *(0.1, 1.5, 1e-7, 1.5e-7, 0.000001, 123456.789, 1e300, -2.5e-300, 10**399),
    *([], [1, 2.5, None], ["a b", "$(touch executed)", "é"], [[{"{{x": "y}}"}]], {}),
    *(
        {"b": 1, "a": 2**60},
        {"$(touch executed)": "`touch executed`"},
        [{"day": "2026-01-01"}] * 20,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What a run has of one value: on a cluster, and in the local loop."""

    sent: Json
    carried: Carried
    start: Start


@dataclass(frozen=True, kw_only=True)
class Way:
    """From our publisher to the runs of one deployed flow."""

    compiled: CompiledFlow
    folder: Path

    def send(self, values: Sequence[Json]) -> list[Arrived]:
        """What a run has of each value. Nothing of it was executed."""
        [dependency] = self.compiled.flow.dependencies
        with taking() as (url, bodies), patch.object(metaflow_config, ADDRESS, url):
            for value in values:
                told = payload(entry(value), payload_key="value", location="x/3")
                publish(dependency.event, told)
        objects = {one.kind: one.body for one in self.compiled.objects}
        carried = carry(objects["sensors"], objects["workflowtemplates"], bodies, self.folder)
        assert {path.suffix for path in self.folder.iterdir()} == {".sh", ".out", ".err"}
        assert not Path(EXECUTED).exists()
        return [
            Arrived(sent=value, carried=one, start=started(self.compiled, body))
            for value, one, body in zip(values, carried, bodies, strict=True)
        ]


@pytest.fixture(scope="module")
def ways(
    new_repository: Callable[..., Repository], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Way]:
    """A listener with the value in a text, and one that has it in a parameter of each type."""
    repository = new_repository(flows=False)
    for name, mapped in (("TextFlow", {"value": "value"}), ("TypedFlow", MAPPED)):
        parameters = "\n    ".join(f"{one} = {PARAMETERS[one]}" for one in mapped)
        text = FLOW.format(name=name, mapped=mapped, parameters=parameters)
        (repository.root / f"{name.lower()}.py").write_text(text)
    with pytest.MonkeyPatch.context() as entered:
        repository.enter(entered)
        target = repository.target("main")
        compiled = compile_flows(repository.root, target, load(repository.root).deploy)
    return {
        one.flow.name: Way(compiled=one, folder=tmp_path_factory.mktemp("shell"))
        for one in compiled
        if isinstance(one, CompiledFlow)
    }


@pytest.fixture(scope="module")
def arrived(ways: dict[str, Way]) -> list[Arrived]:
    return ways["TextFlow"].send(texts(MANY))


@pytest.fixture(scope="module")
def typed(ways: dict[str, Way]) -> list[Arrived]:
    return ways["TypedFlow"].send([*VALUES, *(text for text in texts(300) if len(text) < SHORT)])


def entry(value: Json) -> Entry:
    """The entry of a change to the value, which stands wherever a text of data may."""
    if len(dumps(value)) > SHORT:
        return replace(ENTRY, value=value)
    return replace(
        ENTRY,
        value=value,
        previous=[value],
        reason=f"now {value}",
        sample={"added": [{"k": value}]},
    )


def started(compiled: CompiledFlow, body: bytes) -> Start:
    """How the local loop starts the flow."""
    event = Event.received(body)
    assert event
    verdict = offer(compiled.flow, NOTHING_WAITS, event)
    assert isinstance(verdict, Start), verdict
    return verdict


def test_every_text_is_in_the_change_and_in_the_parameter_as_it_was(arrived: list[Arrived]) -> None:
    assert len({str(one.sent) for one in arrived}) == MANY
    for one in arrived:
        assert not one.carried.refused, (one.sent, one.carried.refused)
        assert parameter("value", one.carried.parameters) == one.sent
        is_as_it_was(one)


def test_every_value_is_in_the_change_as_it_was(typed: list[Arrived]) -> None:
    for one in typed:
        assert not one.carried.refused, (one.sent, one.carried.refused)
        is_as_it_was(one)
        [change] = changes(one.carried.environment)
        assert same(parameter("whole", one.carried.parameters), change)


def is_as_it_was(one: Arrived) -> None:
    """Whether the change that a run is told says what was recorded."""
    [change] = changes(one.carried.environment)
    recorded = entry(one.sent)
    for key in ("previous", "reason", "sample", "counts", "run"):
        assert same(change[key], getattr(recorded, key))
    left_out = {"left_out_bytes": len(json.dumps(one.sent))}
    is_large = len(dumps(one.sent)) > LARGE
    assert same(change["value"], one.sent) or (is_large and change["value"] == left_out)


def test_a_run_on_a_cluster_and_one_of_the_local_loop_have_the_same(
    arrived: list[Arrived], typed: list[Arrived]
) -> None:
    for one in [*arrived, *typed]:
        here = {f"METAFLOW_INIT_{name.upper()}": text for name, text in one.start.arguments.items()}
        for name in PARAMETERS:
            expected = parameter(name, one.carried.parameters)
            assert same(parameter(name, here), expected), (name, one.sent)
        for name, text in one.start.environment.items():
            assert one.carried.environment[name] == text
        assert not one.start.warnings


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_a_value_is_itself_in_a_parameter_of_its_type(typed: list[Arrived], number: int) -> None:
    value, given = VALUES[number], typed[number].carried.parameters
    if value is None:
        defaults = {
            "value": "d",
            "nothing": None,
            "data": {},
            "number": 7,
            "ratio": 1.5,
            "yes": False,
        }
        assert {name: parameter(name, given) for name in defaults} == defaults
        return
    assert same(parameter("data", given), value)
    match value:
        case bool():
            assert parameter("yes", given) is value
        case int():
            assert same(parameter("number", given), value)
        case float():
            assert same(parameter("ratio", given), value)
        case list() | dict():
            assert parameter("value", given) == dumps(value)


def option(name: str) -> click.Option:
    """The option of Metaflow's command line for a parameter of the flow."""
    made = eval(PARAMETERS[name], {"Parameter": Parameter, "JSONType": JSONType})  # noqa: S307  # it is ours
    made.init()
    decode_parameter(made)
    return click.Option((f"--{name}",), **made.option_kwargs(deploy_mode=False))


OPTIONS = {name: option(name) for name in PARAMETERS}
COMMAND = click.Context(click.Command("init"))


def parameter(name: str, variables: Mapping[str, str]) -> Any:
    """What the flow's parameter is, or how Metaflow refuses the text."""
    text = variables.get(f"METAFLOW_INIT_{name.upper()}")
    try:
        return OPTIONS[name].full_process_value(COMMAND, text)
    except click.BadParameter as refused:
        return str(refused)


def changes(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """What a flow is told in a pod with these variables."""
    carriers = {name: text for name, text in environment.items() if "PAYLOAD" in name}
    with patch.dict(os.environ, carriers):
        return event_changes()


def same(one: Any, other: Any) -> bool:
    return dumps(one) == dumps(other)


@contextmanager
def taking() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a webhook, and the bodies that it took."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Only the bodies are read."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/event", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
