"""Keep records of loops and their runs on disk, for commands and for the loops to come.

Who is alive holds a lock: it ends with its process, however that ended, and unlike the number of a
process it is never another's. A loop holds that of its own record, a run that of its log.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from flowproject.changes.canonical import digest
from flowproject.cron import parse
from flowproject.dev.triggers import Event, WaitingEvents
from flowproject.flowfiles import FlowFile

__all__ = [
    "Ending",
    "LoopRecord",
    "PendingEvents",
    "RunRecord",
    "adopt",
    "known_here",
    "locked_log",
    "loops_alive",
    "prune",
    "register_loop",
    "runs_recorded",
    "work_folder",
]

Ending = Literal["", "succeeded", "failed", "unfinished"]
"""How a run ended: empty while it goes on, `unfinished` if it was killed."""

_FORMAT: Final = 1
# Runs: a sensor that looks every ten seconds makes thousands a day.
# Each has a log, which is all that is left of a run whose card or artifacts failed.
_KEPT: Final = 500


@dataclass(frozen=True, kw_only=True)
class LoopRecord:
    """A loop: whose it is, and where its bus listens."""

    project: str
    """The project's folder: several may share Metaflow's local datastore."""
    branch: str
    options: tuple[str, ...]
    """The branch as command lines take it."""
    bus: str
    pid: int
    started: float
    """Seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that a loop has started, and how it ended."""

    flow: str
    cause: str
    """`schedule`, `page`, or the names of the events."""
    events: tuple[str, ...]
    """The ids of the events that started it."""
    sensors: tuple[str, ...] | None
    started: str
    """An ISO moment with its offset."""
    loop: str
    """The name of the record of the loop that sees to it."""
    project: str
    options: tuple[str, ...]
    ended: Ending = ""
    pid: int = 0
    log: Path = Path()
    """Where its output goes; not in the record, which lies beside it."""

    @property
    def run_id(self) -> str:
        """The run's id; empty if it has none yet."""
        # Metaflow writes the file once the run has its id: some seconds after its start, or never.
        with contextlib.suppress(OSError):
            return self.id_file.read_text().strip()
        return ""

    @property
    def id_file(self) -> Path:
        """Where Metaflow writes the id."""
        return self.log.with_suffix(".id")

    @property
    def is_alive(self) -> bool:
        """Whether its process goes on."""
        return _is_locked(self.log)

    def write(self) -> None:
        """Keep it beside its log."""
        fields = {name: value for name, value in asdict(self).items() if name != "log"}
        _write(self.log.with_suffix(".json"), fields)

    def end(self, how: Ending) -> None:
        """Keep how it ended."""
        replace(self, ended=how).write()


class PendingEvents:
    """The events that wait for others to start a flow: as on a cluster, they outlive their loop."""

    def __init__(self, folder: Path, *, project: str, options: Sequence[str]) -> None:
        # Each project and branch has its own, as it has Sensors of its own on a cluster.
        self._path = folder / "waits" / f"{digest(project, *options)}.json"

    def load(self, flows: Sequence[FlowFile], now: datetime) -> dict[Path, WaitingEvents]:
        """Read what waited when it was last kept, for flows that still wait for the same."""
        kept = _read(self._path) or {}
        return {
            flow.path: {alias: Event(text=text) for alias, text in events.items()}
            for flow in flows
            if (events := kept.get("waits", {}).get(_expectation(flow)))
            and not _was_reset(flow, datetime.fromisoformat(kept["at"]), now)
        }

    def save(
        self, flows: Sequence[FlowFile], waiting: Mapping[Path, WaitingEvents], now: datetime
    ) -> None:
        """Keep it, in place of what was kept before."""
        waits = {
            _expectation(flow): {alias: event.text for alias, event in events.items()}
            for flow in flows
            if (events := waiting.get(flow.path))
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _write(self._path, {"at": now.isoformat(), "waits": waits})


def _expectation(flow: FlowFile) -> str:
    """The flow and all that it waits for: if that is another, what waited is dropped."""
    return " ".join([flow.name, *(dependency.alias for dependency in flow.dependencies)])


def _was_reset(flow: FlowFile, since: datetime, now: datetime) -> bool:
    """Whether what waited should have been forgotten while no loop was there to do it."""
    if not flow.reset:
        return False
    following = parse(flow.reset.expression, flow.reset.timezone, nicknames=False).following(since)
    return following is not None and following <= now


def work_folder(local_root: str | Path) -> Path:
    """The loops' folder, beside what Metaflow itself keeps on this machine."""
    return Path(local_root) / "flowproject" / "dev"


@contextlib.contextmanager
def register_loop(folder: Path, record: LoopRecord) -> Iterator[str]:
    """Write the loop's record, hold its lock meanwhile, and give its name."""
    place = folder / "loops"
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{record.started:.0f}-{record.pid}.json"
    # Written aside and renamed: other processes read these files at any time, and a rename shows
    # them all of it or nothing.
    new = path.with_suffix(".new")
    # flock and not a lock of `fcntl.lockf`: that is given back as soon as the process closes any
    # descriptor of the file, such as one that it has read the record with.
    with new.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"v": _FORMAT, **asdict(record)}))
        file.flush()
        new.rename(path)  # locked before anybody sees it
        try:
            yield path.name
        finally:
            path.unlink(missing_ok=True)


def loops_alive(folder: Path) -> list[LoopRecord]:
    """List the loops that run, the one that started last first."""
    # A record without a lock is what a loop left that was killed: it is cleared by the next one.
    found = [_read(path) for path in (folder / "loops").glob("*.json") if _is_locked(path)]
    return [
        LoopRecord(
            project=fields["project"],
            branch=fields["branch"],
            options=tuple(fields["options"]),
            bus=fields["bus"],
            pid=fields["pid"],
            started=fields["started"],
        )
        for fields in sorted(filter(None, found), key=lambda one: str(one["started"]), reverse=True)
    ]


def runs_recorded(folder: Path) -> Iterator[RunRecord]:
    """Read the records of runs, the newest first."""
    # Names begin with the time of the start, so that their order is that of the runs.
    for path in sorted((folder / "logs").glob("*.json"), reverse=True):
        fields = _read(path)
        if fields:
            sensors = fields["sensors"]
            yield RunRecord(
                flow=fields["flow"],
                cause=fields["cause"],
                events=tuple(fields["events"]),
                sensors=None if sensors is None else tuple(sensors),
                started=fields["started"],
                loop=fields["loop"],
                project=fields["project"],
                options=tuple(fields["options"]),
                ended=fields["ended"],
                pid=fields["pid"],
                log=path.with_suffix(".log"),
            )


def known_here(folder: Path) -> dict[str, str]:
    """Say which runs did not succeed here: `running`, `failed` or `killed`."""
    return {
        f"{run.flow}/{run_id}": _word(run)
        for run in runs_recorded(folder)
        if (run_id := run.run_id) and run.ended != "succeeded"
    }


def adopt(folder: Path, *, loop: str, project: str, options: Sequence[str]) -> list[RunRecord]:
    """Take over the runs that loops which are gone left behind, oldest first."""
    mine: list[RunRecord] = []
    (folder / "loops").mkdir(parents=True, exist_ok=True)
    with (folder / "loops" / "adopting").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two loops that start at once, one sees to a run
        for run in runs_recorded(folder):
            # Several projects, and several branches of one, may share a datastore; each loop sees
            # to its own.
            known = (run.project, run.options) == (project, tuple(options))
            if known and not run.ended and not _is_locked(folder / "loops" / run.loop):
                mine.append(replace(run, loop=loop))
                # At once: from here on another loop that starts finds the run taken.
                mine[-1].write()
        for path in (folder / "loops").glob("*.json"):
            if not _is_locked(path):
                path.unlink(missing_ok=True)
    return mine[::-1]


@contextlib.contextmanager
def locked_log(path: Path) -> Iterator[int]:
    """Open and lock the log of a run to be started; the run that gets it has its lock."""
    # Opened to append, so that nobody who writes to it, the run's own children too, overwrites
    # another. The lock is the open file's, which the run inherits: it ends with the last process
    # that has it.
    with path.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def prune(folder: Path) -> None:
    """Keep the newest runs, and those that go on."""
    # Sorted by name, which begins with the time: the first ones are the oldest.
    logs = sorted((folder / "logs").glob("*.log"))
    for log in logs[: -_KEPT or None]:
        if not _is_locked(log):
            for suffix in (".json", ".id", ".log"):
                log.with_suffix(suffix).unlink(missing_ok=True)


def _word(run: RunRecord) -> str:
    if run.is_alive:
        return "running"
    return "failed" if run.ended == "failed" else "killed"


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    # A shared lock is asked for, so that two who look at the same moment do not take each other for
    # the owner.
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(path: Path) -> dict[str, Any] | None:
    """The record; None if it is gone, or another version of flowproject wrote it."""
    try:
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return fields if isinstance(fields, dict) and fields.get("v") == _FORMAT else None


def _write(path: Path, fields: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"v": _FORMAT, **fields}))
    new.rename(path)
