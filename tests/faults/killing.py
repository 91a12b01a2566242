"""Ticks a sensor in child processes that die or fail, over real files, a real journal, a real bus.

Run as a script, which prints its figures as JSON:

    killing.py random FOLDER URL KILLS          kill -9 at random times while data keeps changing
    killing.py each FOLDER URL FAULT WHEN       FAULT (die, fail) at each request of a tick in turn
    killing.py publish FOLDER URL FAULT WHEN    FAULT while an event is handed to the bus

This process itself never opens a store: what obstore starts does not survive a fork.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import metaflow.integrations
import metaflow.metaflow_config

# Imported here, so that the lives of the children are spent on ticking.
import obstore.store  # noqa: F401
import pandas as pd  # noqa: F401  # pyarrow asks it about each list that becomes an array
import pyarrow.parquet  # noqa: F401
import stamina

import flowproject.sources.files  # noqa: F401
from flowproject import sensing
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.errors import DeliveryError, JournalError
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, change_events

SENSOR = "killed"
SEED = 7
PARENT = os.getpid()
MEASURED_EVERY = 20  # kills: a machine may be busy now and idle then


def context(folder: Path, wrap: Callable[[Any], Any] = lambda store: store) -> ProjectContext:
    """A sensor on `folder`/data, with its journal in `folder`/store."""
    sensor = Sensor(name=SENSOR, data=FilesData(path="data"), event_name="killed_changed")
    project = Project(project_name="demo", sensor=Schedule(), sensors={SENSOR: sensor})
    store = wrap(open_store(str(folder / "store")))
    return ProjectContext(project=project, root=folder, store=store, branch="user.tester")


def change_data(folder: Path, number: int) -> None:
    """Make one change that no other number makes, as one atomic step."""
    staged = folder / f"staged-{os.getpid()}"
    staged.write_text("x" * number)
    staged.rename(folder / "data" / f"{number % 7}.csv")


def tick(place: ProjectContext) -> bool:
    """Whether one whole tick, observe and publish, went through."""
    ticks = sensing.publish(place, sensing.observe(place))
    return all(seen.outcome != "failed" and not seen.undelivered for seen in ticks)


def in_child(work: Callable[[], bool | None]) -> int:
    """Start `work` in a child process: its pid. It exits with 1 if `work` gives False."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(work() is False)
    return pid


def has_parent() -> bool:
    """Whether the process still runs that this one was started by, and may not outlive."""
    return os.getppid() == PARENT


def went_through(pid: int) -> bool:
    """Whether the child lived and succeeded."""
    return os.waitpid(pid, 0)[1] == 0


class Faulty:
    """A store that does something terrible just before or after its n-th request."""

    def __init__(self, store: Any, fault: Callable[[], None], at: int, when: str) -> None:
        self._store = store
        self._fault = fault
        self._left = at
        self._when = when

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "concurrently":
            # Each of them is struck in its turn. (The campaign of faults draws the order.)
            return lambda questions: [question() for question in questions]
        method = getattr(self._store, name)

        def request(*arguments: object) -> object:
            self._left -= 1
            is_struck = self._left == 0
            if is_struck and self._when == "before":
                self._fault()
            result = method(*arguments)
            if is_struck and self._when == "after":
                self._fault()
            return result

        return request


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise JournalError("the store failed")


def fail_to_publish() -> None:
    raise DeliveryError("the bus failed")


def random_kills(folder: Path, kills: str) -> dict[str, object]:
    """Kill a ticking child again and again, while another child keeps changing the data."""
    chance = random.Random(SEED)
    changing = in_child(lambda: keep_changing(folder))
    longest = 0.0
    for number in range(int(kills)):
        if number % MEASURED_EVERY == 0:
            longest = 3 * seconds_of_a_tick(folder)
        life = in_child(lambda: tick_forever(folder))
        time.sleep(chance.uniform(0, longest))
        os.kill(life, signal.SIGKILL)
        os.waitpid(life, 0)
    os.kill(changing, signal.SIGKILL)
    os.waitpid(changing, 0)
    return {"faults": int(kills)}


def seconds_of_a_tick(folder: Path) -> float:
    """How long a child lives that sees one change: busy machines get longer lives."""
    started = time.monotonic()
    went_through(in_child(lambda: tick(context(folder))))
    return time.monotonic() - started


def tick_forever(folder: Path) -> None:
    while has_parent():
        tick(context(folder))


def keep_changing(folder: Path) -> None:
    chance = random.Random(SEED)
    number = 1
    while has_parent():
        number += 1
        change_data(folder, number)
        time.sleep(chance.uniform(0, 0.02))


def fault_at_each_request(folder: Path, fault: str, when: str) -> dict[str, object]:
    """Each round makes a change, and the tick that sees it dies or fails at its n-th request.

    Until a tick has fewer: then each of its requests was struck.
    """
    mark = folder / "struck"

    def strike() -> None:
        mark.touch()
        {"die": die, "fail": fail}[fault]()

    hits = 0
    for number in count(1):
        change_data(folder, number + 1)
        mark.unlink(missing_ok=True)
        hits += not went_through(in_child(context_with_fault(folder, strike, number, when)))
        if not mark.exists():
            break
        went_through(in_child(lambda: tick(context(folder))))
    return {"faults": hits, "rounds": number}


def context_with_fault(
    folder: Path, strike: Callable[[], None], number: int, when: str
) -> Callable[[], bool]:
    return lambda: tick(context(folder, lambda store: Faulty(store, strike, number, when)))


def fault_while_publishing(folder: Path, fault: str, when: str) -> dict[str, object]:
    """Each round makes a change, and the process dies or fails around handing it to the bus."""
    strike = {"die": die, "fail": fail_to_publish}[fault]
    hand_over = change_events.publish

    def struck(*arguments: Any, **named: Any) -> None:
        if when == "after":
            hand_over(*arguments, **named)
        strike()

    hits = 0
    for number in range(2, 6):
        change_data(folder, number)
        change_events.publish = struck
        hits += not went_through(in_child(lambda: tick(context(folder))))
        change_events.publish = hand_over
        went_through(in_child(lambda: tick(context(folder))))
    return {"faults": hits, "rounds": 4}


MODES = {
    "random": random_kills,
    "each": fault_at_each_request,
    "publish": fault_while_publishing,
}


def main(mode: str, folder: Path, url: str, *arguments: str) -> None:
    metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL = url
    stamina.set_active(False)
    (folder / "data").mkdir()
    change_data(folder, 1)
    went_through(in_child(lambda: tick(context(folder))))
    figures = MODES[mode](folder, *arguments)
    assert went_through(in_child(lambda: tick(context(folder)))), "in peace it works"
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
