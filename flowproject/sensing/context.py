"""Holds what ticks need to know: project, folder, the store of the journals, branch and run."""

import datetime as dt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from flowproject.changes.observation import Report, ignore_progress
from flowproject.config.model import Project, Sensor
from flowproject.errors import UsageError, closest
from flowproject.journal import Journal, Store, check_branch, open_store

__all__ = ["SENSORS_ONLY", "ProjectContext", "chosen"]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, kw_only=True)
class ProjectContext:
    """Knows the project, its folder, the store of its journals, the branch, and the run that ticks.

    `datastore` is where the store is, if that is known. `report` is told how far long looks are.
    """

    project: Project
    root: Path
    store: Store
    branch: str
    run: str = ""
    datastore: str = ""
    clock: Callable[[], dt.datetime] = field(default=_now)
    report: Report = ignore_progress

    @classmethod
    def open(cls, root: Path, *, project: Project, branch: str, datastore: str) -> Self:
        """Open the store of a project's journals, from outside of a run.

        Raises:
            UsageError: if no journal can be kept under that branch.
            JournalError: if the datastore can't be opened.
        """
        store = open_store(datastore)
        return cls(project=project, root=root, store=store, branch=branch, datastore=datastore)

    def __post_init__(self) -> None:
        """Refuse a branch that no journal can be kept under.

        Raises:
            UsageError: if it is one.
        """
        check_branch(self.branch)

    def journal(self, sensor: str) -> Journal:
        """Give the journal of one sensor."""
        return Journal(
            self.store, project=self.project.project_name, branch=self.branch, sensor=sensor
        )

    def sensors(self, names: Sequence[str] = ()) -> list[Sensor]:
        """Find the sensors with these names, or all.

        Raises:
            UsageError: if there is no such sensor.
        """
        known = self.project.sensors
        for name in names:
            if name not in known:
                raise UsageError(
                    f"There is no sensor {name!r}",
                    where="flowproject.toml",
                    allowed=f"Sensors: {', '.join(known)}",
                    fix=closest(name, known),
                )
        return [known[name] for name in names or known]


SENSORS_ONLY: Final = "FLOWPROJECT_SENSORS"
"""The variable with the names, commas between them. Empty, it names none; unset, it means all."""


def chosen(context: ProjectContext, names: Sequence[str] = ()) -> list[str]:
    """Choose those of the sensors with these names (default: all) that this run is to look at.

    Raises:
        UsageError: if there is no such sensor.
    """
    known = [sensor.name for sensor in context.sensors(names)]
    # A sensor that is passed by is no tick at all, and so leaves nothing behind (ADR 0020).
    only = os.environ.get(SENSORS_ONLY)
    if only is None:
        return known
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    context.sensors(wanted)  # a name that no sensor has is a mistake, not nobody
    return [name for name in known if name in wanted]
