"""Starts a flow with changes in hand, as the event of a sensor does: a program for child processes.

`python -m flowproject.testing.start_flow FILE ORDER`, in the folder of a project; the order is JSON
with `changes` (sensor, number and attempt of each) and `arguments`. It then is the run of the flow.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from flowproject.changes.payload import payload
from flowproject.config.parse import load
from flowproject.dev.triggers import NOTHING_WAITS, Drop, Event, Start, Wait, offer, unheard
from flowproject.errors import FlowError, FlowprojectError
from flowproject.events import full_name, turn_event
from flowproject.flowfiles import FlowFile, describe_flow
from flowproject.sensing import ProjectContext

__all__ = ["main"]

_TRIGGERED = "flowproject.dev.triggered.triggered"


def main() -> NoReturn:
    """Become the run of the flow; say why, with an exit code, if the changes do not start it."""
    file, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    try:
        start = _started(describe_flow(file), order["changes"])
    except FlowprojectError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    os.environ.update(start.environment)
    arguments = [f"--{name}={text}" for name, text in start.arguments.items()]
    command = [str(file), "run", "--with", _TRIGGERED, *order["arguments"], *arguments]
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606  # a flow of this project


def _started(flow: FlowFile, changes: Sequence[Mapping[str, Any]]) -> Start:
    """What the events of the changes start, by the rules of a cluster.

    Raises:
        FlowError: if they do not start the flow.
    """
    waiting, words = NOTHING_WAITS, ""
    for event in _events(flow, changes):
        match offer(flow, waiting, event):
            case Start() as start:
                return start
            case Wait() as verdict:
                waiting = verdict.waiting
                words = f"It waits for {', '.join(verdict.missing)} as well"
            case Drop() as verdict:
                words = verdict.reason
            case None:
                words = unheard(event, (flow,))
    sensors = ", ".join(repr(change["sensor"]) for change in changes)
    raise FlowError(
        f"A change of {sensors} does not start {flow.name}",
        where=flow.path.name,
        allowed=words,
        fix="Name the sensor in `@on_change`, or hand in a change of each sensor that it waits for",
    )


def _events(flow: FlowFile, changes: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    root = flow.path.parent
    context = ProjectContext.open(
        root, project=load(root), branch=flow.branch, datastore=flow.datastore
    )
    names = {dependency.event for dependency in flow.dependencies}
    for change in changes:
        [sensor] = context.sensors([change["sensor"]])
        journal = context.journal(sensor.name)
        entry = journal.get(change["seq"])
        if entry is None:
            raise FlowError(
                f"There is no change {change['seq']} in the journal of sensor {sensor.name!r}",
                where=journal.location,
            )
        name = full_name(sensor.event_name, project=flow.project, branch=flow.branch)
        in_order = turn_event(name, flow.name) in names
        message = payload(
            entry,
            payload_key=sensor.payload_key,
            location=journal.entry_key(entry.seq),
            attempt=change["attempt"],
            turn_of=flow.name if in_order else "",
        )
        name = turn_event(name, flow.name) if in_order else name
        yield Event.sent({"name": name, "timestamp": change["seq"], **message})


if __name__ == "__main__":
    main()
