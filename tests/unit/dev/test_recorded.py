"""What real controllers answered, and what the local loop makes of the same.

`recorded.json` says with which versions and when. Every row of it is held here, or stands in one
of the tables of differences with its reason; docs/local-loop.md tells them to users.
"""

import asyncio
import base64
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flowproject.dev.event_bus import RefusedEvent, parse_event, serve_bus
from flowproject.dev.records import PendingEvents
from flowproject.dev.triggers import NOTHING_WAITS, Event, Start, Wait, offer, workflow_text
from flowproject.flowfiles import Dependency, FlowFile, FlowParameter

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())

NO_EVENT = "what can start no flow is refused with the reason, where a cluster drops it silently"
WEBHOOK_DIFFERENCES = {
    **dict.fromkeys(
        (
            *("array", "string", "number", "null", "no payload", "payload null", "payload str"),
            *("payload list", "name missing", "name number", "form real"),
        ),
        (400, NO_EVENT),
    ),
    "form type": (
        400,
        "a cluster reads it as a form, answers 200 and starts nothing: the loop says so",
    ),
    "deep 9000": (400, "what is nested more than 200 deep could not be read by a run's Python"),
    "foreign host": (400, "a page in a browser may let its own name lead to this machine"),
}

STANDS_STILL = "a loop reads its flows when it starts: what they wait for does not change meanwhile"
WAITS_DIFFERENCES = {
    "both sent while it was down, consumer existed": "nobody takes events while no loop runs",
    "with c added; b sent meanwhile": STANDS_STILL,
    "b5": STANDS_STILL,
    "c5: a5 was kept?": STANDS_STILL,
    "a6 b6 c6": STANDS_STILL,
    "a7 b7 c7": STANDS_STILL,
    "c removed again: nothing new was sent": STANDS_STILL,
    "a8 b8": STANDS_STILL,
    "order swapped: nothing new was sent": STANDS_STILL,
    "a9 b9": STANDS_STILL,
    "order swapped back: nothing new was sent": STANDS_STILL,
    "a10 b10": STANDS_STILL,
    "a11 waits": STANDS_STILL,
    "deleted and made again: b was sent while there was none": STANDS_STILL,
    "b12: a11 kept over the deletion?": STANDS_STILL,
    "a5 waits": STANDS_STILL,
}

DEFAULTS = {
    "int": "7",
    "float": "1.5",
    "bool": "false",
    "str": '"d"',
    "JSONType": '"{}"',
    "default None": "null",
}
LISTENER = FlowFile(
    name="RFlow",
    path=Path("rflow.py"),
    dependencies=(
        Dependency(event="r.event", type="event", alias="revent_3dkl", parameters={"r": "k"}),
    ),
    parameters=(FlowParameter(name="r", required=True, type="str", has_default=False),),
)
FINISH = {"auto-generated-by-metaflow": "True"}
LISTENER_TO_ENDS = FlowFile(
    name="FFlow",
    path=Path("fflow.py"),
    dependencies=tuple(
        Dependency(event=f"metaflow.{name}.end", type="run", alias=alias, filters=FINISH)
        for name, alias in (("VFlow", "metaflowVFlowend_kmhd"), ("RFlow", "metaflowRFlowend_c3gd"))
    ),
)


def rows(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = RECORDED[kind]["rows"]
    return found


def received(body: str) -> Event | None:
    """The event that the bus hands over; None if it refuses the body."""
    try:
        return parse_event(body.encode())
    except RefusedEvent:
        return None


@pytest.mark.parametrize("row", rows("values"), ids=lambda row: str(row["json"]))
def test_a_value_has_the_words_that_a_cluster_has(row: dict[str, Any]):
    member = "" if row["json"] is None else f', "k": {row["json"]}'
    event = received(f'{{"payload": {{"name": "v.event"{member}}}}}')
    assert event
    if row["event"]:
        assert event.text == row["event"]
    for kind, expected in row["text_of"].items():
        declared = {"JSONType": "JSON", "default None": "str"}.get(kind, kind)
        parameter = FlowParameter(name="k", required=False, type=declared, has_default=True)
        text = workflow_text(parameter, event.payload["k"]) if "k" in event.payload else None
        assert (kind, DEFAULTS[kind] if text is None else text) == (kind, expected)


def test_the_same_events_start_a_flow():
    waiting = {"rflow": NOTHING_WAITS, "fflow": NOTHING_WAITS}
    flows = {"rflow": LISTENER, "fflow": LISTENER_TO_ENDS}
    for row in rows("filters"):
        name = row["flow"]
        event = received(row["body"])
        verdict = offer(flows[name], waiting[name], event) if event else None
        if isinstance(verdict, Wait):
            waiting[name] = verdict.waiting
        assert (row["case"], isinstance(verdict, Start)) == (row["case"], bool(row["started"]))
        if isinstance(verdict, Start):
            waiting[name] = NOTHING_WAITS
            assert passed(flows[name], verdict) == row["parameters"]


def passed(flow: FlowFile, start: Start) -> dict[str, str]:
    """The parameters of the Workflow that would be made."""
    texts: dict[str, str] = {}
    for event, dependency in zip(start.events, flow.dependencies, strict=True):
        texts[dependency.alias] = event.text
        for parameter, key in dependency.parameters.items():
            text = workflow_text(flow.parameter(parameter), event.payload[key])
            texts[parameter] = "null" if text is None else text
    return texts


def test_the_latest_event_of_each_name_starts_a_flow_that_waits_for_two(tmp_path: Path):
    both = FlowFile(
        name="AFlow",
        path=Path("aflow.py"),
        dependencies=tuple(
            Dependency(event=f"{letter}.event", type="event", alias=letter) for letter in "ab"
        ),
    )
    sent = {
        "a1 alone": "a1",
        "a2 again": "a2",
        "then b1: latest a is used": "b1",
        "b2 alone": "b2",
        "a3: the wait survived the restart": "a3",
    }
    kept = PendingEvents(tmp_path, project="/x", options=())
    now = datetime.now(UTC)
    waiting = NOTHING_WAITS
    for row in rows("waits"):
        if row["step"] in WAITS_DIFFERENCES:
            continue
        if row["step"] == "after a restart":
            kept.save([both], {both.path: waiting}, now)
            waiting = PendingEvents(tmp_path, project="/x", options=()).load([both], now)[both.path]
            continue
        k = sent[row["step"]]
        event = Event.sent({"name": f"{k[0]}.event", "k": k})
        verdict = offer(both, waiting, event)
        waiting = verdict.waiting if isinstance(verdict, Wait) else NOTHING_WAITS
        started = (
            [[event.payload["k"] for event in verdict.events]] if isinstance(verdict, Start) else []
        )
        assert (row["step"], started) == (row["step"], row["started"])


@pytest.fixture(scope="module")
def answers() -> dict[str, int]:
    """Case -> the status that the local bus answers, over a real socket."""

    async def ask() -> dict[str, int]:
        async with serve_bus(lambda _: True) as url:
            return await asyncio.to_thread(_ask_all, url)

    return asyncio.run(ask())


def _ask_all(url: str) -> dict[str, int]:
    with httpx.Client(trust_env=False) as client:
        return {row["case"]: _status(client, url, row) for row in rows("webhook")}


def _status(client: httpx.Client, url: str, row: dict[str, Any]) -> int:
    plain = b'{"payload":{"name":"a.none","k":1}}'
    match row["case"]:
        case "no type":
            return client.post(url, content=plain).status_code
        case "no length chunked":
            return client.post(url, content=iter([plain[:9], plain[9:]])).status_code
        case "foreign host":
            return client.post(url, content=plain, headers={"host": "argo.example"}).status_code
        case "http1.0":
            return _http_1_0(url, plain)
    path = row["path"].replace("/metaflow-event", "/event")
    return client.request(
        row["method"],
        url.removesuffix("/event") + path,
        content=_body(row),
        headers=row["headers"],
    ).status_code


def _body(row: dict[str, Any]) -> bytes:
    if "bytes" in row:
        frame = b'{"payload":{"name":"a.none","k":"%s"}}'
        return frame % (b"x" * (row["bytes"] - len(frame) + 2))
    if row["case"].startswith("deep "):
        depth = int(row["case"].removeprefix("deep "))
        return b'{"payload":{"name":"a.none","k":%s}}' % (b"[" * depth + b"]" * depth)
    if "body_base64" in row:
        return base64.b64decode(row["body_base64"])
    return str(row["body"]).encode()


def _http_1_0(url: str, body: bytes) -> int:
    host, _, port = url.removeprefix("http://").removesuffix("/event").partition(":")
    head = f"POST /event HTTP/1.0\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("row", rows("webhook"), ids=lambda row: str(row["case"]))
def test_the_bus_answers_as_the_webhook_does(row: dict[str, Any], answers: dict[str, int]):
    expected, _ = WEBHOOK_DIFFERENCES.get(row["case"], (row["status"], ""))
    assert answers[row["case"]] == expected


def test_every_difference_is_one():
    """What has come to agree with a cluster must leave the table."""
    answered = {row["case"]: row["status"] for row in rows("webhook")}
    assert all(answered[case] != status for case, (status, _) in WEBHOOK_DIFFERENCES.items())
    assert WAITS_DIFFERENCES.keys() <= {row["step"] for row in rows("waits")}
