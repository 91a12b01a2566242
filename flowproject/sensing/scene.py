"""Where ticks happen: the project, its folder, the store of its journals, branch and run."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flowproject.changes.progress import Report, say_nothing
from flowproject.config.model import Project, Sensor
from flowproject.errors import UsageError, closest
from flowproject.journal import Journal, Store

__all__ = ["Scene"]


_LONGEST: Final = 100


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where ticks happen: the project, its folder, the store of its journals, branch and run.

    `datastore` is where the store is, if that is known. `report` is told how far long looks are.
    """

    project: Project
    root: Path
    store: Store
    branch: str
    run: str = ""
    datastore: str = ""
    clock: Callable[[], dt.datetime] = field(default=_now)
    report: Report = say_nothing

    def __post_init__(self) -> None:
        """Refuse a branch that can't be a folder of the datastore.

        Metaflow lets `--branch` be nothing else, but takes a user's name as it is.

        Raises:
            UsageError: if it can't.
        """
        if not self.branch.isprintable() or set("/\\") & set(self.branch):
            raise UsageError(
                f"{self.branch[:_LONGEST]!r} is no branch that journals can be kept under",
                where="The user's name, of which Metaflow makes the branch `user.NAME`",
                allowed="It has no slash, no backslash, and nothing that can't be printed",
                fix="Set METAFLOW_USER to another name, or name a branch with `--branch`",
            )

    def journal(self, sensor: str) -> Journal:
        """The journal of one sensor."""
        return Journal(
            self.store, project=self.project.project_name, branch=self.branch, sensor=sensor
        )

    def sensors(self, names: Sequence[str] = ()) -> list[Sensor]:
        """The sensors with these names, or all.

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
