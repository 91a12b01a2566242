"""A copy of a project to test: changes made by hand, runs of its flows, ticks of its sensors.

What runs, runs as users run it: in processes of its own, with a datastore in the copy's folder and
an environment in which nothing leads to somebody's data, cluster or account.
"""

import json
import os
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import metaflow

from flowproject.change import Change
from flowproject.changes.canonical import Json, canonical
from flowproject.changes.difference import Difference, Item, item
from flowproject.changes.observation import Observation, fingerprint_items, fingerprint_value
from flowproject.changes.payload import facts
from flowproject.config.model import FILE, Project, Sensor
from flowproject.config.parse import load
from flowproject.config.root import project_root
from flowproject.errors import FlowError, UsageError, closest
from flowproject.flowfiles import find_flow_files
from flowproject.globs import Globs
from flowproject.journal import Journal, Mark
from flowproject.metaflow_internals.cards import cards_of
from flowproject.metaflow_internals.exceptions import MetaflowNotFound
from flowproject.metaflow_internals.metadata import find_run
from flowproject.sensing import SENSORS_ONLY, ProjectContext, Tick
from flowproject.sensing.look import Comparison
from flowproject.sensing.tick import Recording
from flowproject.sources import open_source
from flowproject.sources.result import keyed
from flowproject.testing.event_bus import RecordingBus
from flowproject.testing.isolation import isolated

__all__ = ["FlowRun", "ProjectCopy"]

_USER: Final = "tester"
_PATIENCE: Final = 600.0
_START: Final = "flowproject.testing.start_flow"
# Metaflow's time, and its run and task, before each line that a step prints.
_PREFIX: Final = re.compile(r"^[\d-]{10} [\d:.]{12} (?:\[\d+/\S+ \(pid \d+\)\] )?", re.MULTILINE)
_CARD_DATA: Final = re.compile(r'__MF_DATA__\["[^"]+"\] = "([^"]+)"')
_NEVER_COPIED: Final = ("__pycache__", "node_modules")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FlowRun:
    """A run of a flow in the copy: how it ended, what it printed, its artifacts and its cards."""

    flow: str
    id: str
    code: int
    output: str
    """What was printed, without Metaflow's time and task before each line."""
    root: Path

    @property
    def succeeded(self) -> bool:
        """Whether all of its steps did."""
        return self.code == 0

    @property
    def run(self) -> Any:
        """The run as Metaflow's client has it, a `metaflow.Run`."""
        # Each time: another copy may have been asked since, and the client has one place.
        metaflow.metadata(f"local@{self.root}")
        metaflow.namespace(None)
        return find_run(f"{self.flow}/{self.id}")

    @property
    def data(self) -> Any:
        """The artifacts as the last step left them: `run.data.error`."""
        return self.run.data

    def task(self, step: str) -> Any:
        """The first task of a step, a `metaflow.Task`: `run.task("start").data.error`.

        Raises:
            FlowError: if the run did not come to that step.
        """
        run = self.run
        try:
            return next(iter(run[step]))
        except (KeyError, StopIteration, MetaflowNotFound):
            there = [str(one.id) for one in run]
            raise FlowError(
                f"The run has no step {step!r}",
                where=f"{self.flow}/{self.id}",
                allowed=f"It came to {', '.join(there)}",
                fix=closest(step, there),
            ) from None

    def card(self, step: str) -> str:
        """What the cards of a step show, as text: one line for each piece of it.

        Raises:
            FlowError: if the step has no card.
        """
        found = [_CARD_DATA.search(card.get() or "") for card in cards_of(self.task(step))]
        if not any(found):
            raise FlowError(
                f"Step {step!r} has no card",
                where=f"{self.flow}/{self.id}",
                fix='Put `@card(type="blank")` before `@step`',
            )
        parts = [json.loads(b64decode(one[1]))["components"] for one in found if one]
        return "\n".join(text for part in parts for text in _texts(part))

    @property
    def does_nothing_because(self) -> list[str]:
        """Why it passed over its steps; empty if it did its work."""
        data = self.data
        claim = data.change_claim if "change_claim" in data else {}
        return [str(reason) for reason in claim.get("nothing_because", ())]


_PACKAGE: Final = Path(__file__).resolve().parents[1]


@dataclass(kw_only=True)
class ProjectCopy:
    """A project in a folder of its own, to be changed, looked at and run as a test likes."""

    root: Path
    """Its folder. Edit and add files there: nothing of it is the project that is tested."""
    interpreter: str
    environment: dict[str, str] = field(default_factory=dict)
    """The variables that its flows run with; a test adds those of its own servers."""

    @classmethod
    def of(cls, place: Path, folder: Path, *, interpreter: str) -> "ProjectCopy":
        """Copy the project of a folder into an empty one: all that its steps may read, its data."""
        project = project_root(place)
        root = folder / project.name
        root.mkdir(parents=True)
        # What no step needs is not taken to a cluster either.
        excluded = Globs(load(project).deploy.exclude).match
        _copy(project, project, root, excluded)
        home = folder / "home"
        home.mkdir()
        own = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(root), "METAFLOW_USER": _USER}
        environment = {**isolated(os.environ, home), **own}
        return cls(root=root, interpreter=interpreter, environment=environment)

    @property
    def project(self) -> Project:
        """What its `flowproject.toml` says now."""
        return load(self.root)

    @cached_property
    def bus(self) -> RecordingBus:
        """The event bus that its flows publish to, from the moment that a test first names it."""
        return RecordingBus()

    def close(self) -> None:
        """Stop the bus, if there is one."""
        if "bus" in vars(self):
            self.bus.stop()

    def write(self, name: str, text: str) -> Path:
        """Write a file of the copy, with the folders above it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    # ------------------------------------------------------------------------- changes by hand

    def change(
        self,
        sensor: str = "",
        *,
        added: Sequence[Row | str] = (),
        modified: Sequence[tuple[Row | str, Row | str]] = (),
        removed: Sequence[Row | str] = (),
        value: object = None,
        previous: object = None,
    ) -> Change:
        """Record a change as if a tick had seen it; the source is not asked.

        Items are rows by column name, or of files and objects `{"key": ..., "size": ...}`. The name
        of a file alone stands for the file that is there. `modified` are pairs of old and new. A
        sensor without items has `value` and `previous` only. `sensor` may be left out if there is
        one.

        Raises:
            UsageError: if there is no such sensor, or the change is none.
            QueryError: if a row has no key.
        """
        context = self._context()
        watched = self._sensor(context, sensor)
        journal = context.journal(watched.name)
        old, new = [pair[0] for pair in modified], [pair[1] for pair in modified]
        if not (added or modified or removed) and value is None:
            raise UsageError(
                f"The change of sensor {watched.name!r} changes nothing",
                allowed="added=[...], modified=[(old, new), ...], removed=[...], or value=...",
            )
        if not (added or modified or removed):
            before = _value_seen(canonical(previous))
            after = _value_seen(canonical(value))
        else:
            gone = self._items(watched, [*removed, *old])
            known = {**self._known(journal), **gone}
            fresh = self._items(watched, [*added, *new])
            difference = _difference(known, fresh, self._items(watched, removed))
            left = {key: one for key, one in known.items() if key not in gone} | fresh
            before, after = _items_seen(known), _items_seen(left, difference)
        if not journal.head().seq:
            self._record(context, watched, before)
        tick = self._record(context, watched, after)
        if not tick.id:
            raise UsageError(
                f"The change of sensor {watched.name!r} changes nothing: {tick.reason}",
                fix="Let the new items differ from those before",
            )
        entry = journal.get(tick.seq)
        if entry is None:
            raise UsageError(f"There is no change {tick.seq}", where=journal.location)
        # As if a bus had taken it, so that no tick of the copy sends it once more.
        sent = Mark(
            seq=entry.seq,
            id=entry.id,
            first=entry.seq,
            event_name=watched.event_name,
            listeners=(),
            published_at=entry.recorded_at,
            run="",
        )
        journal.outbox.mark_published([([entry], sent)])
        told = facts(entry, location=journal.entry_key(entry.seq), attempt=1, first_seq=entry.seq)
        return Change(told, lambda: context.store, lambda: (watched.data, self.root))

    def _record(self, context: ProjectContext, sensor: Sensor, seen: Observation) -> Tick:
        journal = context.journal(sensor.name)
        head = journal.head()
        # Whoever makes a change by hand does not want to wait until it has settled.
        waits: dict[str, Any] = {
            name: kind()
            for name, kind in (("settle", float), ("marker", str))
            if hasattr(sensor.data, name)
        }
        at_once = replace(sensor, first="baseline", data=replace(sensor.data, **waits))
        now = context.clock()
        found = Comparison(sensor=at_once, head=head, seen=seen, now=now)
        return Recording(found=found, journal=journal).record()

    def _known(self, journal: Journal) -> dict[str, Item]:
        entry = journal.head().entry
        items = journal.snapshots.items(entry) if entry and entry.is_state else None
        return {one.key: one for one in items.values()} if items is not None else {}

    def _items(self, sensor: Sensor, given: Sequence[Row | str]) -> dict[str, Item]:
        """Items by key, of the form that the source of the sensor gives them."""
        rows = [canonical(one if not isinstance(one, str) else {"key": one}) for one in given]
        # Of an object store it is a text: what its keys begin with.
        key: object = getattr(sensor.data, "key", ())
        if isinstance(key, tuple) and key:
            for row in rows:
                if isinstance(row, dict) and (lacks := [one for one in key if one not in row]):
                    raise UsageError(
                        f"A row of the change has no {lacks[0]!r}, which `key` names",
                        where=f"Sensor {sensor.name!r}",
                        allowed=f"It has {', '.join(row)}",
                        fix=closest(lacks[0], row),
                    )
            where = f"A change made by hand, sensor {sensor.name!r}"
            return dict(_as_items(keyed(rows, key, where)))  # type: ignore[arg-type]  # rows are objects
        there: dict[str, Item] = {}
        if sensor.data.type == "files" and any(isinstance(one, str) for one in given):
            there = dict(_as_items(open_source(sensor.data, self.root).observe()))
        return {
            str(row["key"]): there.get(str(row["key"])) or item(str(row["key"]), row)
            for row in rows
            if isinstance(row, dict)
        }

    def _context(self) -> ProjectContext:
        return ProjectContext.open(
            self.root,
            project=self.project,
            branch=f"user.{_USER}",
            datastore=str(self.root / ".metaflow"),
        )

    def _sensor(self, context: ProjectContext, name: str) -> Sensor:
        known = context.project.sensors
        if not name and len(known) > 1:
            raise UsageError(
                "This project has several sensors",
                where=FILE,
                allowed=f"Sensors: {', '.join(known)}",
                fix="Name the one that is meant",
            )
        [sensor] = context.sensors([name] if name else [])
        return sensor

    # ------------------------------------------------------------------------ runs and ticks

    def run(
        self,
        flow: str,
        *changes: Change | Tick,
        check: bool = True,
        options: Sequence[str] = (),
        **parameters: object,
    ) -> FlowRun:
        """Run a flow file, started by changes if there are any, and else by hand.

        `options` are further ones of Metaflow's `run`, and `parameters` those of the flow.

        Raises:
            FlowError: if the run fails, with what it printed; not with `check=False`.
        """
        path = self._flow_file(flow)
        id_file = self.root.parent / "run-id"
        id_file.unlink(missing_ok=True)
        values = (f"--{name}={_argument(value)}" for name, value in parameters.items())
        arguments = ["--run-id-file", str(id_file), *options, *values]
        told = [
            {"sensor": one.sensor, "seq": one.seq, "attempt": getattr(one, "attempt", 1)}
            for one in changes
        ]
        order = json.dumps({"changes": told, "arguments": arguments})
        code, text = self._execute(
            ["-m", _START, str(path), order] if changes else [str(path), "run", *arguments]
        )
        run_id = id_file.read_text().strip() if id_file.exists() else ""
        # Metaflow's own folder of the flow: run ids are moments, and no two flows share one.
        [*folders] = (self.root / ".metaflow").glob(f"*/{run_id}") if run_id else ()
        name = folders[0].parent.name if folders else ""
        ran = FlowRun(flow=name, id=run_id, code=code, output=text, root=self.root)
        if check and code:
            raise FlowError(f"The run of {flow} failed", allowed=f"It printed:\n{text}")
        return ran

    def tick(self, sensor: str = "", *, flow: str = "sensorflow.py") -> Tick:
        """Look at one sensor, by a run of the flow that observes, and publish what it recorded.

        The tick comes back, also one that failed; `sensor` may be left out if there is one.

        Raises:
            FlowError: if the flow failed before it looked.
        """
        name = self._sensor(self._context(), sensor).name
        self.bus  # noqa: B018  # without a bus nothing would be published
        before = self.environment.get(SENSORS_ONLY)
        self.environment[SENSORS_ONLY] = name
        try:
            ran = self.run(flow, check=False)
        finally:
            del self.environment[SENSORS_ONLY]
            if before is not None:
                self.environment[SENSORS_ONLY] = before
        ticks = [one for one in self._ticks(ran) if one.sensor == name]
        if not ticks:
            raise FlowError(
                f"{flow} did not look at sensor {name!r}", allowed=f"It printed:\n{ran.output}"
            )
        return ticks[0]

    def _ticks(self, ran: FlowRun) -> list[Tick]:
        if not ran.flow:
            return []
        for step in ran.run:
            for task in step:
                if "ticks" in task:
                    return [Tick.from_json(one) for one in task["ticks"].data]
        return []

    def _flow_file(self, flow: str) -> Path:
        path = self.root / flow
        if not path.is_file():
            there = [one.name for one in find_flow_files(self.root)]
            raise UsageError(
                f"There is no flow file {flow!r}",
                where=str(self.root),
                allowed=f"Flow files: {', '.join(there)}",
                fix=closest(flow, there),
            )
        return path

    def _execute(self, command: Sequence[str]) -> tuple[int, str]:
        environment = dict(self.environment)
        if "bus" in vars(self):
            environment |= {
                "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": self.bus.url,
                "METAFLOW_SERVICE_RETRY_COUNT": "2",
                # `ArgoEvent.safe_publish` publishes only where this says that the run is deployed.
                "ARGO_WORKFLOW_TEMPLATE": "tested",
            }
        done = subprocess.run(  # noqa: S603  # a flow of the project that is tested
            [self.interpreter, *command],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
        return done.returncode, _PREFIX.sub("", done.stdout)


def _copy(project: Path, folder: Path, target: Path, excluded: Any) -> None:
    for path in sorted(folder.iterdir()):
        name = path.relative_to(project).as_posix()
        # Hidden: git's, Metaflow's and every tool's own. An environment of Python is thousands.
        # In a clone of flowproject's own repository, flows of a copy import what is installed: a
        # second package beside them would be another one.
        is_left_out = path.name.startswith(".") or path.name in _NEVER_COPIED or path == _PACKAGE
        if is_left_out or excluded(name) or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir():
            (target / path.name).mkdir()
            _copy(project, path, target / path.name, excluded)
        elif path.is_file():
            # With its time: what is watched by its time is as old as it was.
            shutil.copy2(path, target / path.name)


def _as_items(seen: Observation) -> Iterator[tuple[str, Item]]:
    return ((one.key, one) for one in (seen.items.values() if seen.items is not None else ()))


def _items_seen(items: dict[str, Item], difference: Difference | None = None) -> Observation:
    fingerprint = fingerprint_items(items.values())
    return Observation(
        value=len(items), fingerprint=fingerprint, items=items, difference=difference
    )


def _value_seen(value: Json) -> Observation:
    return Observation(value=value, fingerprint=fingerprint_value(value))


def _difference(
    known: Mapping[str, Item], fresh: Mapping[str, Item], removed: Mapping[str, Item]
) -> Difference:
    """What was handed in, in the order of keys."""
    return Difference(
        added=tuple(fresh[key] for key in sorted(fresh.keys() - known.keys())),
        modified=tuple((known[key], fresh[key]) for key in sorted(fresh.keys() & known.keys())),
        removed=tuple(removed[key] for key in sorted(removed.keys() - fresh.keys())),
    )


def _argument(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _texts(part: Any) -> Iterator[str]:
    """The texts of a card's components that a reader sees."""
    match part:
        case dict():
            for name, value in part.items():
                # The styles of our own cards are no words.
                is_style = isinstance(value, str) and value.lstrip().startswith("<style>")
                if name not in ("id", "type", "src") and not is_style:
                    yield from _texts(value)
        case list():
            for one in part:
                yield from _texts(one)
        case str():
            if part:
                yield part
        case bool() | None:
            return
        case _:
            yield str(part)
