"""Finds journals with changes to deliver that no sensor stands for any more.

It was renamed or removed: its changes wait, and no tick looks after them.
"""

import datetime as dt
import threading
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from flowproject.changes.canonical import digest
from flowproject.changes.retries import RetryPolicy, in_ranges
from flowproject.config.model import FILE, Sensor
from flowproject.errors import JournalError
from flowproject.journal import DamagedEntryError, Head, Journal, UnreadableError
from flowproject.sensing.chain import chain
from flowproject.sensing.context import ProjectContext

__all__ = [
    "Orphan",
    "OrphanCheck",
    "context_of",
    "find_former",
    "find_orphan",
    "likely_orphans",
    "orphans",
]

_UNDELIVERED: Final = ("waiting", "sent", "undelivered")
_BELOW: Final = ("", "*/", "*/*/")
"""How deep below the folder of a datastore other projects are looked for."""

_STRAGGLING: Final = dt.timedelta(days=1)
"""How long a tick of an older deployment may go on after sensors got other names."""


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """Is a journal whose sensor, or whose project, has another name now, or is gone.

    `unresolved` are the numbers of the changes that nobody delivers, and `definition` is the digest
    of what was watched last.
    """

    journal: Journal
    unresolved: tuple[int, ...]
    is_of_this_project: bool
    definition: str = ""

    @property
    def name(self) -> str:
        """How a command is told of it."""
        place = self.journal
        return place.sensor if self.is_of_this_project else f"{place.project}/{place.sensor}"

    @property
    def in_words(self) -> str:
        """What is left there, and what can be done about it."""
        it = "it" if len(self.unresolved) == 1 else "them"
        return (
            f"{self.what_is_left}. If it has another name now, `flowproject move {self.name} "
            f"NEW-NAME` hands {it} over; or give up what is left: `flowproject reset {self.name}`."
        )

    @property
    def in_doubt(self) -> str:
        """What to say of it, if it may also be of another project."""
        place = self.journal
        changes = "change" if len(self.unresolved) == 1 else "changes"
        numbers = in_ranges(self.unresolved)
        return (
            f"The datastore, which other projects share, has {changes} {numbers} of sensor "
            f"{place.sensor!r} of a project {place.project!r}, not delivered. If that is what "
            f"this project was called before, `flowproject move {self.name} {place.sensor}` "
            "hands over what is left. If it is another project, leave that to it"
        )

    @property
    def what_is_left(self) -> str:
        """Which changes nobody delivers, and why."""
        changes = in_ranges(self.unresolved)
        many = "change" if len(self.unresolved) == 1 else "changes"
        return (
            f"No sensor is called {self.name!r} any more, and {many} {changes} of it "
            f"{'is' if len(self.unresolved) == 1 else 'are'} not delivered"
        )


def orphans(context: ProjectContext) -> list[Orphan]:
    """Find all on the branch that have something left to deliver.

    One listing, and two requests for each journal of no sensor in which nothing is left.

    Raises:
        JournalError: if the datastore can't be listed.
    """
    return _stirring(context, [one for one in _journals(context) if not _has_sensor(context, one)])


class OrphanCheck:
    """Finds the orphans for one tick: one listing, and only if its sensors can't rule them out."""

    # Each sensor remembers in the memo of its head, which a tick reads in any case, with which
    # names of sensors nothing was left in journals of others. So an unchanged tick makes no request
    # for them. Not in a thread beside the looks: whoever counts or kills requests could not tell
    # when that one is made.

    def __init__(self, context: ProjectContext, names: Collection[str]) -> None:
        self._context = context
        self._asking = frozenset(names)
        self._sure: set[str] = set()
        self._sensors = digest(context.project.project_name, *sorted(context.project.sensors))
        self._lock = threading.Lock()
        self._listed: tuple[list[Orphan], bool] | None = None

    def found(self) -> list[Orphan]:
        """List all of them."""
        return self._list()[0]

    def left(self) -> list[Orphan]:
        """List all of them, unless every sensor of the tick rules them out."""
        return [] if self._asking == self._sure else self.found()

    def remembered(self, journal: Journal, head: Head) -> Head:
        """Note what is known of orphans in the memo of a sensor's head: the head as it is then."""
        if head.no_orphans_of == self._sensors and not head.orphans_until:
            self._sure.add(journal.sensor)
            return head
        try:
            known = self._noted(head)
        except JournalError:
            return head  # What can be looked at and delivered is, and the next tick asks again.
        if known != head and head.seq:
            journal.memos.write_head(known)  # otherwise the first entry does it
        return known

    def _noted(self, head: Head) -> Head:
        orphans_left, has_others = self._list()
        if orphans_left:
            return replace(head, no_orphans_of="", orphans_until="")
        now = self._context.clock()
        if head.no_orphans_of != self._sensors:
            # A tick of an older deployment may still record a change in a journal that is at rest.
            until = (now + _STRAGGLING).isoformat() if has_others else ""
            return replace(head, no_orphans_of=self._sensors, orphans_until=until)
        is_over = now >= dt.datetime.fromisoformat(head.orphans_until)
        return replace(head, orphans_until="") if is_over else head

    def _list(self) -> tuple[list[Orphan], bool]:
        """List the orphans, and say whether there are journals of no sensor of the project."""
        # The sensors of a tick ask side by side, and one listing is enough for all.
        with self._lock:
            if self._listed is None:
                journals = _journals(self._context)
                others = [one for one in journals if not _has_sensor(self._context, one)]
                mine = [one for one in journals if one not in others and one.sensor in self._asking]
                # Whoever goes back to other names must not go by what was known under those.
                self._context.store.concurrently(
                    [partial(self._forget, one) for one in journals if one not in mine]
                )
                self._listed = (_stirring(self._context, others), bool(others))
            return self._listed

    def _forget(self, journal: Journal) -> None:
        known = journal.memos.head()
        if known and known.no_orphans_of not in ("", self._sensors):
            journal.memos.write_head(replace(known, no_orphans_of="", orphans_until=""))


def likely_orphans(context: ProjectContext) -> list[Orphan]:
    """Find those of another project in the datastore that may be this one's former name.

    They are of sensors called as one of this project is, and no project with that name lies beside
    this one or below the folder of the datastore.

    Raises:
        JournalError: if the datastore can't be listed.
    """
    if not context.datastore or "://" in context.datastore or _is_alone(context):
        return []
    here = context.project.project_name
    journals = [
        one
        for project in context.store.folders("flowproject")
        if project != here
        for one in _journals_of(context, project)
        if one.sensor in context.project.sensors
    ]
    found = _stirring(context, journals)
    if not found:
        return []
    # Whoever shares a datastore with this project, and lives, is no former name of it.
    alive = _projects_around(context)
    return [one for one in found if one.journal.project not in alive]


def find_former(context: ProjectContext, name: str) -> Journal | None:
    """Find the journal of this name (`sensor`, or `project/sensor`), closed or not."""
    project, _, sensor = name.rpartition("/")
    project = project or context.project.project_name
    if sensor not in context.store.folders(f"flowproject/{project}/{context.branch}"):
        return None
    return Journal(context.store, project=project, branch=context.branch, sensor=sensor)


def context_of(context: ProjectContext, name: str) -> tuple[ProjectContext, str]:
    """Find where a journal of no sensor can be read, and what its sensor is called there.

    The same context for a sensor that there is, also if the journal of this name was moved to it;
    and for a name of which there is no journal.
    """
    journal = None if name in context.project.sensors else find_former(context, name)
    while journal and (to := journal.moved_to()):
        journal = to
    if journal is None:
        return context, name
    if (
        journal.project == context.project.project_name
        and journal.sensor in context.project.sensors
    ):
        return context, journal.sensor
    # Of what the sensor was, the journal has all that is needed to read it.
    # Any sensor will do for what a sensor must have: of the one that is gone only the name counts.
    some = next(iter(context.project.sensors.values()))
    gone = {journal.sensor: replace(some, name=journal.sensor)}
    project = replace(context.project, project_name=journal.project, sensors=gone)
    return replace(context, project=project), journal.sensor


def find_orphan(context: ProjectContext, name: str) -> Orphan | None:
    """Find the one of this name (`sensor`, or `project/sensor`), if there is a journal of it."""
    journal = find_former(context, name)
    if journal is None or _has_sensor(context, journal):
        return None
    return _orphan(context, journal)


def _journals(context: ProjectContext) -> list[Journal]:
    """List all journals on the branch, of sensors that there are and of others.

    Of other projects only where none but this one has its journals: in a datastore in its folder.
    """
    here = context.project.project_name
    projects = context.store.folders("flowproject") if _is_alone(context) else [here]
    return [one for project in projects for one in _journals_of(context, project)]


def _journals_of(context: ProjectContext, project: str) -> list[Journal]:
    return [
        Journal(context.store, project=project, branch=context.branch, sensor=sensor)
        for sensor in context.store.folders(f"flowproject/{project}/{context.branch}")
    ]


def _has_sensor(context: ProjectContext, journal: Journal) -> bool:
    return (
        journal.project == context.project.project_name
        and journal.sensor in context.project.sensors
    )


def _stirring(context: ProjectContext, journals: Sequence[Journal]) -> list[Orphan]:
    """Find those with something left to deliver: two requests for one with nothing."""

    def orphan(journal: Journal) -> Orphan | None:
        return None if journal.is_at_rest() else _orphan(context, journal)

    found = context.store.concurrently([partial(orphan, one) for one in journals])
    return [one for one in found if one and one.unresolved]


def _orphan(context: ProjectContext, journal: Journal) -> Orphan | None:
    """Read what is left in a journal; None if it was moved, or nothing of it can be read."""
    try:
        head = _end(journal)
        unresolved = tuple(_undelivered(context, journal, head))
    except JournalError:
        return None
    return Orphan(
        journal=journal,
        unresolved=unresolved,
        is_of_this_project=journal.project == context.project.project_name,
        definition=head.entry.definition if head.entry else "",
    )


def _end(journal: Journal) -> Head:
    try:
        return journal.head()
    except UnreadableError:
        # No tick will note that this entry is damaged, and what waits before it is no less
        # undelivered.
        return journal.memos.head() or Head()


def _undelivered(context: ProjectContext, journal: Journal, head: Head) -> Iterator[int]:
    """Find the changes that did not arrive; of the others no tick has noted that they did."""
    if not head.unresolved:
        return
    index = journal.index()
    # Nobody knows any more what the sensor had configured: the defaults tell as much as is needed.
    patience = RetryPolicy(receipt_timeout=Sensor.receipt_timeout, max_attempts=Sensor.max_attempts)

    def state(seq: int) -> str:
        try:
            entry = journal.at(head, seq)
            return chain(index, entry, patience, context.clock()).state if entry else ""
        except DamagedEntryError:
            return ""
        except UnreadableError:
            return "undelivered"  # as far as anybody can tell here

    states = journal.concurrently([partial(state, seq) for seq in head.unresolved])
    for seq, told in zip(head.unresolved, states, strict=True):
        if told in _UNDELIVERED:
            yield seq


def _is_alone(context: ProjectContext) -> bool:
    """Whether the datastore lies in the folder of the project, so that it is of no other."""
    place = context.datastore
    if not place or "://" in place:
        return False
    return Path(place).resolve().is_relative_to(context.root.resolve())


def _projects_around(context: ProjectContext) -> set[str]:
    """Find the names of projects in the folders beside this one's and below the datastore's."""
    base = Path(context.datastore).resolve().parent
    files = {
        *context.root.resolve().parent.glob(f"*/{FILE}"),
        *(file for depth in _BELOW for file in base.glob(f"{depth}{FILE}")),
    }
    return {name for file in files if (name := _name_in(file))}


def _name_in(file: Path) -> str:
    try:
        return str(tomllib.loads(file.read_text("utf-8")).get("project_name", ""))
    except (OSError, ValueError):
        return ""
