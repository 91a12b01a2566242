"""Looks at sensors in a process beside the loop, and hears from the system when their files move.

It reads requests as lines of JSON and answers in lines, each when it is done; it ends with its
input. A look that hangs or kills its engine harms this process only (ADR 0046).
"""

import contextlib
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from watchfiles import watch

from flowproject.config.model import FILE, Sensor
from flowproject.config.parse import load
from flowproject.errors import FlowprojectError
from flowproject.secrecy import guard_output, safe
from flowproject.sensing import ProjectContext, survey
from flowproject.sources import WatchedFiles, open_source, watched_files

__all__ = ["FileWatch", "main"]

# Seconds in which nothing more is written before a write counts as whole; and after how many we
# look all the same, because somebody writes without an end.
_QUIET: Final = 0.3
_LONGEST: Final = 30.0
_STEP_MS: Final = 100
# Bytes of memory after which a new process is better: what an engine had, it does not give back.
_MOST_MEMORY: Final = 1 << 30


def main() -> None:
    """Answer requests until there is no more input."""
    with _private_output() as tell:
        guard_output()
        looking = _Looking(tell)
        for line in sys.stdin:
            request = json.loads(line)
            threading.Thread(target=looking.answer, args=(request,), daemon=True).start()
    # Not by returning: a look that hangs would keep the process.
    os._exit(0)


@contextlib.contextmanager
def _private_output() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """The standard output for answers alone: what libraries print goes to the log."""
    turn = threading.Lock()
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)

        def tell(answer: Mapping[str, Any]) -> None:
            with turn:
                output.write(json.dumps(answer) + "\n")
                output.flush()

        yield tell


class _Looking:
    """Answers requests, and keeps watching the files of the sensors that it was asked about."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._watch = FileWatch(lambda names: tell({"moved": sorted(names)}))
        self._turn = threading.Lock()
        self._under_way = 0

    def answer(self, request: Mapping[str, Any]) -> None:
        """Look at the sensors, unless they are only to be watched, and answer."""
        seen: list[dict[str, Any]] = []
        with self._turn:
            self._under_way += 1
        try:
            context, names, problem = _context_of(request), request["sensors"], ""
            # None of them is not all of them: a sensor may be paused.
            sensors = [] if names == [] else context.sensors(names or ())
            names = [sensor.name for sensor in sensors]
            # Before the look: what is written while it goes on is told afterwards.
            if names:
                with self._turn:
                    problem = self._watch.follow(context, names, aside=Path(request["aside"]))
            longest = max((sensor.timeout for sensor in sensors), default=0)
            # They look side by side, but not all of them at once.
            self._tell({"id": request["id"], "within": longest * (1 + len(names))})
            if request["looks"] and names:
                seen = [
                    {**one.tick.to_json(), "needs_tick": one.needs_tick}
                    for one in survey(context, names)
                ]
            told: dict[str, Any] = {"ticks": seen, "unwatched": problem}
        # Whatever it is, a run comes to it as well, and says so.
        except FlowprojectError as error:
            told = {"failed": safe(str(error))}
        except Exception as error:  # noqa: BLE001  # one that is silent would be waited for
            told = {"failed": safe(f"{type(error).__name__}: {error}")}
        with self._turn:
            self._under_way -= 1
            used_up = not self._under_way and _is_used_up()
        self._tell({"id": request["id"], "used_up": used_up, **told})


def _context_of(request: Mapping[str, Any]) -> ProjectContext:
    # Read anew each time, as a run does.
    root = Path(request["root"])
    return ProjectContext.open(
        root, project=load(root), branch=request["branch"], datastore=request["datastore"]
    )


def _is_used_up() -> bool:
    """Whether another process should take over: a look hangs in this one, or its memory is full."""
    hanging = any(thread.name.startswith("look-") for thread in threading.enumerate())
    # macOS counts it in bytes, all others in kilobytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return hanging or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit > _MOST_MEMORY


@dataclass(kw_only=True)
class _Watched:
    """The files of one sensor, and how what they were found by was then."""

    stamp: object
    files: Sequence[WatchedFiles]
    settle: float


@dataclass(kw_only=True)
class _Following:
    """One thread that hears of some folders."""

    places: frozenset[tuple[str, bool, int]]
    stop: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
    """Why the system refuses it; empty if it does not."""
    is_over: bool = False
    """Whether it has heard, and hears no more."""


class FileWatch:
    """Tells which sensors have files that moved, once nobody writes to them any more."""

    def __init__(self, moved: Callable[[frozenset[str]], None]) -> None:
        self._moved = moved
        self._known: dict[str, _Watched] = {}
        self._following: dict[bool, _Following] = {}
        self._settling: dict[str, threading.Timer] = {}
        self._turn = threading.Lock()
        self._writing: set[str] = set()
        self._began = self._last = 0.0
        self._aside = Path()

    def follow(self, context: ProjectContext, names: Sequence[str], *, aside: Path) -> str:
        """Hear of the files of these sensors from now on; why not, if the system refuses it.

        What lies below `aside` is nobody's: runs write there.
        """
        self._aside = aside
        # A sensor may be gone from the configuration by now.
        there = context.project.sensors
        known = {name: one for name, one in self._known.items() if name in there}
        for sensor in context.sensors(names):
            stamp = _stamp(context.root, sensor)
            if sensor.name not in known or known[sensor.name].stamp != stamp:
                files = _files_of(sensor, context.root)
                settle = float(getattr(sensor.data, "settle", 0.0))
                known[sensor.name] = _Watched(stamp=stamp, files=files, settle=settle)
        self._known = known  # in the place of the old one, which threads are reading
        places = {
            (str(folder), one.is_deep and folder == one.folder, folder.stat().st_ino)
            for each in known.values()
            for one in each.files
            if (folder := _nearest(one.folder))
        }
        for is_deep in (False, True):
            self._listen(frozenset(place for place in places if place[1] == is_deep), is_deep)
        return "; ".join(filter(None, (one.problem for one in self._following.values())))

    def close(self) -> None:
        """Hear no more."""
        for following in self._following.values():
            following.stop.set()

    def _listen(self, places: frozenset[tuple[str, bool, int]], is_deep: bool) -> None:  # noqa: FBT001
        before = self._following.get(is_deep)
        if before and before.places == places and not before.is_over:
            return
        # The new one hears before the old one is deaf: nothing moves unheard in between.
        following = _Following(places=places)
        self._following[is_deep] = following
        ready = threading.Event()
        if places:
            folders = sorted({folder for folder, _, _ in places})
            arguments = (folders, is_deep, following, ready)
            threading.Thread(target=self._hear, args=arguments, daemon=True).start()
            ready.wait()
        if before:
            before.stop.set()

    def _hear(
        self,
        folders: Sequence[str],
        is_deep: bool,  # noqa: FBT001
        following: _Following,
        ready: threading.Event,
    ) -> None:
        changes = watch(
            *folders,
            watch_filter=None,
            # Each round is as short as can be: how long it is quiet is counted here, for a second
            # write to the same file is not told apart from the first one within a round.
            debounce=_STEP_MS,
            step=_STEP_MS,
            rust_timeout=_STEP_MS * 2,
            yield_on_timeout=True,
            stop_event=following.stop,
            recursive=is_deep,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )
        try:
            for told in changes:
                ready.set()
                self._note(self._concerned([Path(path) for _, path in told]))
        # The system's limit of watches, most likely; the schedule still looks. What happens later,
        # watchfiles raises as a RuntimeError.
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or error
            following.problem = f"{', '.join(folders)}: {why}"
            # What the system never granted it need not be asked at each look.
            following.is_over = ready.is_set()
            ready.set()

    def _note(self, names: Collection[str]) -> None:
        """Note whose files were written just now, and tell of those that were a while ago."""
        now = time.monotonic()
        # Of one file both threads may hear.
        with self._turn:
            if names:
                self._began = self._began if self._writing else now
                self._last = now
                self._writing |= {*names}
            is_whole = now - self._last >= _QUIET or now - self._began >= _LONGEST
            if not self._writing or not is_whole:
                return
            whole, self._writing = frozenset(self._writing), set[str]()
        self._moved(whole)
        self._wait_for_settling(whole)

    def _wait_for_settling(self, names: Collection[str]) -> None:
        """Tell once more of what has to settle, when it may have: then nothing happens to it."""
        for name in names:
            known = self._known.get(name)
            if known is None or not known.settle:
                continue
            if before := self._settling.pop(name, None):
                before.cancel()
            timer = threading.Timer(known.settle + _QUIET, self._moved, [frozenset({name})])
            timer.daemon = True
            timer.start()
            self._settling[name] = timer

    def _concerned(self, paths: Sequence[Path]) -> frozenset[str]:
        outside = [path for path in paths if not path.is_relative_to(self._aside)]
        return frozenset(
            name
            for name, known in self._known.items()
            if any(one.concerns(path) for one in known.files for path in outside)
        )


def _files_of(sensor: Sensor, root: Path) -> Sequence[WatchedFiles]:
    try:
        return watched_files(open_source(sensor.data, root.absolute()))
    except FlowprojectError:
        return ()  # the look says it as well, and the next stamp may be another


def _stamp(root: Path, sensor: Sensor) -> object:
    """What tells whether a sensor may read other files than before: how they are named."""
    query = root / "sql" / f"{getattr(sensor.data, 'query', '')}.sql"
    # A database may have views over files.
    database = root / getattr(sensor.data, "database", "")
    return (sensor.data, *(_moment(path) for path in (root / FILE, query, database)))


def _moment(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _nearest(folder: Path) -> Path | None:
    """The folder, or the nearest above it that there is: in that it will be made."""
    return next((one for one in (folder, *folder.parents) if one.is_dir()), None)
