"""A sensor of a table that knows its version, its ticks, and what their changes add up to."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowproject import sensing
from flowproject.change import Change
from flowproject.changes.canonical import Json
from flowproject.changes.payload import decode, payload
from flowproject.config import Project, Schedule, Sensor
from flowproject.config.data import VersionedData
from flowproject.journal import Journal, open_store
from flowproject.sensing import ProjectContext, Tick

__all__ = ["Watched"]

Row = dict[str, Json]


class Watched:
    """A sensor of one table, with a journal in a folder."""

    def __init__(self, root: Path, data: VersionedData, store: str = "") -> None:
        self.root = root
        self.store = open_store(store or str(root / "journal"))
        self.sensor = Sensor(name="it", data=data, event_name="it_changed")
        self.journal = Journal(self.store, project="demo", branch="user.tester", sensor="it")
        self.rows: dict[str, Row] = {}

    def context(self, **edits: Any) -> ProjectContext:
        sensor = replace(self.sensor, **edits)
        return ProjectContext(
            project=Project(project_name="demo", sensor=Schedule(), sensors={"it": sensor}),
            root=self.root,
            store=self.store,
            branch="user.tester",
            clock=lambda: dt.datetime.now(dt.UTC),
        )

    def tick(self, *, force: bool = False, **edits: Any) -> Tick:
        """Look once; what is recorded is added up in `rows`."""
        [seen] = sensing.observe(self.context(**edits), force=force)
        if seen.seq:
            self._add_up(seen)
        return seen

    def change(self, seq: int) -> Change:
        """The change of an entry, as a flow sees it."""
        entry = self.journal.get(seq)
        assert entry is not None
        told = payload(entry, payload_key="value", location="")["change"]
        facts = decode(told)
        assert isinstance(facts, dict)
        return Change(facts, lambda: self.store)

    def _add_up(self, seen: Tick) -> None:
        entry = self.journal.get(seen.seq)
        assert entry is not None
        if entry.outcome == "baseline" or not entry.snapshot:
            self.rows = {one.key: one.data for one in self.journal.snapshots.items(entry).values()}
            return
        happened = self.journal.snapshots.difference(entry)
        # None twice, and none that was not as it is said to have been.
        for one in happened.removed:
            assert self.rows.pop(one.key) == one.data
        for old, new in happened.modified:
            assert self.rows[old.key] == old.data != new.data
            self.rows[new.key] = new.data
        for one in happened.added:
            assert one.key not in self.rows
            self.rows[one.key] = one.data
        # Of rows in other columns than before only those that both have are compared.
        if entry.columns_change:
            self.rows = {one.key: one.data for one in self.journal.snapshots.items(entry).values()}
        kept = {one.key: one.data for one in self.journal.snapshots.items(entry).values()}
        assert kept == self.rows
