"""How messages look to a person and to a machine."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowproject.dev import messages
from flowproject.dev.messages import Message, RunFinished, Transcript, line, to_json

AT = datetime(2024, 1, 1, 12, 30, 5, tzinfo=UTC)
LOG = Path("logs/f.log")

ALL: list[tuple[Message, str]] = [
    (
        messages.LoopStarted(
            at=AT,
            url="http://127.0.0.1:1/event",
            logs=Path("logs"),
            page="http://127.0.0.1:2/",
            schedules={"F": "every 10 s"},
            listeners={"G": ["a", "b"]},
            pushes={"F": ["c", "d"]},
        ),
        (
            "12:30:05  listening  http://127.0.0.1:1/event  logs in logs\n"
            "                     http://127.0.0.1:2/  shows all of this in a browser\n"
            "                     F  runs every 10 s\n"
            "                     G  waits for a and b\n"
            "                     F  looks on c or d"
        ),
    ),
    (
        messages.LoopStarted(at=AT, url="http://127.0.0.1:1/event", logs=Path("logs")),
        "12:30:05  listening  http://127.0.0.1:1/event  logs in logs",
    ),
    (
        messages.EventReceived(at=AT, event="a", id="1", flows=["G"]),
        "12:30:05  event      a  id 1",
    ),
    (
        messages.EventDropped(at=AT, event="a", id="1", flow="G", reason="why"),
        "12:30:05  dropped    a  did not start G: why",
    ),
    (
        messages.EventDropped(at=AT, event="a", id="1", flow="", reason="why"),
        "12:30:05  dropped    a  started nothing: why",
    ),
    (
        messages.EventWaiting(at=AT, event="a", id="1", flow="G", missing=["b", "c"]),
        "12:30:05  waiting    G  has a, needs b and c",
    ),
    (
        messages.Warned(at=AT, flow="G", message="careful"),
        "12:30:05  warning    G  careful",
    ),
    (messages.RunSkipped(at=AT, flow="F", reason="busy"), "12:30:05  skipped    F  busy"),
    (
        messages.RunStarted(
            at=AT, flow="F", run_id="7", cause="schedule", events=[], pid=1, log=LOG
        ),
        "12:30:05  run        F/7  started by schedule",
    ),
    (messages.RunPrinted(at=AT, flow="F", run_id="7", line="hello"), ""),
    (
        RunFinished(
            at=AT, flow="F", run_id="7", cause="a", ok=True, seconds=1.26, exit_code=0, log=LOG
        ),
        "12:30:05  run        F/7  succeeded in 1.3 s",
    ),
    (
        RunFinished(
            at=AT,
            flow="F",
            run_id="",
            cause="a",
            ok=False,
            seconds=1,
            exit_code=1,
            log=LOG,
            tail=["2024-01-01 12:30:05.123 [7/start/1 (pid 22)] ValueError: boom", "end"],
        ),
        (
            "12:30:05  run        F  FAILED (exit code 1); its log is logs/f.log\n"
            "            start/1: ValueError: boom\n"
            "            end"
        ),
    ),
    (
        messages.LeftRun(
            at=AT,
            flow="F",
            run_id="7",
            cause="a",
            events=[],
            state="unfinished",
            started=AT,
            pid=22,
            log=LOG,
            resume="python f.py resume --origin-run-id 7",
            replays=["flowproject replay 9"],
        ),
        (
            "12:30:05  run        F/7  was KILLED, as its loop was; its log is logs/f.log\n"
            "            to go on with it: python f.py resume --origin-run-id 7\n"
            "            to begin anew:    flowproject replay 9"
        ),
    ),
    (
        messages.TickFinished(
            at=AT, flow="F", run_id="7", sensor="weather", outcome="changed", reason="3 rows"
        ),
        "12:30:05  tick       weather  changed: 3 rows",
    ),
    (
        messages.TickFinished(
            at=AT,
            flow="F",
            run_id="7",
            sensor="weather",
            outcome="unchanged",
            reason="still 3 rows",
            queued="changes 3 to 4 wait behind change 2",
        ),
        (
            "12:30:05  tick       weather  unchanged: still 3 rows; changes 3 to 4 wait behind "
            "change 2"
        ),
    ),
    (
        messages.Acted(at=AT, action="pause", target="weather", text=""),
        "12:30:05  page       pause weather",
    ),
    (
        messages.Acted(at=AT, action="replay", target="weather/7", text="failed: no bus"),
        "12:30:05  page       replay weather/7  failed: no bus",
    ),
    (
        messages.LoopStopping(at=AT, runs=2, grace=5.0),
        "12:30:05  stopping   2 runs may go on for 5 s;  Ctrl-C ends them now",
    ),
    (
        messages.LoopStopped(at=AT, reason="idle", runs=3, failed=1),
        "12:30:05  stopped    idle  3 runs, 1 failed",
    ),
]


KINDS = {
    "Acted",
    "Dropped",
    "EventReceived",
    "LeftRun",
    "RunFinished",
    "RunPrinted",
    "RunStarted",
    "Skipped",
    "Started",
    "Stopped",
    "Stopping",
    "Tick",
    "Waiting",
    "Warned",
}
"""What scripts that read `flowproject dev --json` compare: it stays, whatever a class is called."""


@pytest.mark.parametrize("message,text", ALL)
def test_a_message_is_a_readable_line(message: Message, text: str):
    assert line(message) == text


@pytest.mark.parametrize("message", [message for message, _ in ALL])
def test_a_message_is_a_json_object_with_its_kind(message: Message):
    data: dict[str, Any] = json.loads(json.dumps(to_json(message)))
    assert data["kind"] in KINDS
    assert data["at"] == "2024-01-01T12:30:05.000+00:00"


def failing(number: int, reason: str = "no folder", **run: Any) -> list[Message]:
    """What the loop says of a run that failed because its sensor did."""
    at, run_id = AT.replace(second=number), str(1000 + number)
    tail = [
        f"2024-01-01 12:30:0{number}.123 [{run_id}/end/2 (pid 7{number})] - s: {reason}",
        f"    [{run_id}/end/2 (pid 7{number})]",
    ]
    facts: dict[str, Any] = {"ok": False, "exit_code": 1, "tail": tail, **run}
    return [
        RunFinished(at=at, flow="F", run_id=run_id, cause="", seconds=1, log=LOG, **facts),
        messages.TickFinished(
            at=at, flow="F", run_id=run_id, sensor="s", outcome="failed", reason=reason
        ),
    ]


def test_what_fails_in_the_same_way_again_is_told_in_short():
    transcript = Transcript()

    def told(*said: Message) -> list[str]:
        return [transcript.line(message) for message in said]

    first = failing(1)
    assert told(*first) == [line(message) for message in first]
    often = "as before, 2 times since 12:30:01"
    again = [
        f"12:30:02  run        F/1002  FAILED {often}; its log is logs/f.log",
        f"12:30:02  tick       s  failed {often}",
    ]
    assert told(*failing(2)) == again
    assert told(first[0])[0].startswith("12:30:01  run        F/1001  FAILED as before, 3 times")
    other = failing(4, "no disk")
    assert told(*other) == [line(message) for message in other]
    worked = failing(5, "fine", ok=True, exit_code=0, tail=[])[0]
    assert told(worked, *failing(6, "no disk"))[:2] == [
        line(worked),
        line(failing(6, "no disk")[0]),
    ]
    assert told(*failing(7, "no disk", exit_code=-9))[0].count("signal 9") == 1


def test_every_kind_of_message_has_a_line_and_the_name_that_scripts_know():
    assert {type(message) for message, _ in ALL} == set(Message.__subclasses__())
    assert {to_json(message)["kind"] for message, _ in ALL} == KINDS


@pytest.mark.parametrize("sign", ["\n", "\r", "\x1b[2J", "\x9b", "\u2028"])
def test_the_name_of_an_event_makes_no_line_and_no_colour_of_its_own(sign: str):
    forged = f"a{sign}12:30:06  run        F/1  succeeded"
    told = line(messages.EventReceived(at=AT, event=forged, id="1", flows=[]))
    assert len(told.splitlines()) == 1
    assert sign[0] not in told


def test_what_strangers_send_is_printed_in_short() -> None:
    name = "x" * 200_000
    for message in (
        messages.EventReceived(at=AT, event=name, id=name, flows=[]),
        messages.EventDropped(
            at=AT, event=name, id=name, flow="", reason=f"nobody waits for {name}"
        ),
        messages.EventWaiting(at=AT, event=name, id=name, flow="G", missing=["b"]),
    ):
        told = line(message)
        assert len(told) < 1_200
        assert "x… (200,000 characters)" in told
