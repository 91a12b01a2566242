"""Journals with changes to deliver that no sensor stands for any more: it was renamed or removed.

Their changes wait, and no tick looks after them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowproject.changes.delivery import in_ranges
from flowproject.errors import JournalError
from flowproject.journal import Journal
from flowproject.sensing.scene import Scene

__all__ = ["Orphan", "find_former", "find_orphan", "orphans"]


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A journal on the branch of a scene whose sensor, or whose project, has no such name now.

    `unsettled` are the numbers of the changes that nobody delivers, and `definition` is the digest
    of what was watched last.
    """

    journal: Journal
    unsettled: tuple[int, ...]
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
        it = "it" if len(self.unsettled) == 1 else "them"
        return (
            f"{self.what_is_left}. If it has another name now, `flowproject move {self.name} "
            f"NEW-NAME` hands {it} over; or give up what is left: `flowproject reset {self.name}`."
        )

    @property
    def what_is_left(self) -> str:
        """Which changes nobody delivers, and why."""
        changes = in_ranges(self.unsettled)
        many = "change" if len(self.unsettled) == 1 else "changes"
        return (
            f"No sensor is called {self.name!r} any more, and {many} {changes} of it "
            f"{'is' if len(self.unsettled) == 1 else 'are'} not delivered"
        )


def orphans(scene: Scene) -> list[Orphan]:
    """All on the branch of the scene, with something left to deliver.

    Of other projects only where none but this one has its journals: in a datastore in its folder.

    Raises:
        JournalError: if the datastore can't be listed.
    """
    return [one for one in _journals(scene) if one.unsettled]


def find_former(scene: Scene, name: str) -> Journal | None:
    """The journal of a sensor of this name (`sensor`, or `project/sensor`), closed or not."""
    project, _, sensor = name.rpartition("/")
    project = project or scene.project.project_name
    if sensor not in scene.store.folders(f"flowproject/{project}/{scene.branch}"):
        return None
    return Journal(scene.store, project=project, branch=scene.branch, sensor=sensor)


def find_orphan(scene: Scene, name: str) -> Orphan | None:
    """The one of this name (`sensor`, or `project/sensor`), if there is a journal of it."""
    return next((one for one in _journals(scene) if one.name == name), None)


def _journals(scene: Scene) -> Iterator[Orphan]:
    here = scene.project.project_name
    projects = scene.store.folders("flowproject") if _is_alone(scene) else [here]
    for project in projects:
        known = scene.project.sensors if project == here else {}
        for sensor in scene.store.folders(f"flowproject/{project}/{scene.branch}"):
            if sensor in known:
                continue
            journal = Journal(scene.store, project=project, branch=scene.branch, sensor=sensor)
            try:
                head = journal.head()
                unsettled = tuple(one.seq for one in journal.all_at(head, head.unsettled))
            except JournalError:
                continue  # nothing of it can be read, and so nothing can be sent
            yield Orphan(
                journal=journal,
                unsettled=unsettled,
                is_of_this_project=project == here,
                definition=head.entry.definition if head.entry else "",
            )


def _is_alone(scene: Scene) -> bool:
    """Whether the datastore lies in the folder of the project, so that it is of no other."""
    place = scene.datastore
    if not place or "://" in place:
        return False
    return Path(place).resolve().is_relative_to(scene.root.resolve())
