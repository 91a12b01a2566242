"""Tables that grow beyond what the journal keeps in one file, and whose format tells no number."""

from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Past, fingerprint_items
from flowproject.journal import Journal, snapshots
from flowproject.journal.datastore import open_store
from flowproject.sources.result import keyed
from flowproject.sources.versioned import versions
from flowproject.sources.versioned.versions import Candidates
from flowproject.tables import row_comparison

Row = dict[str, Any]


class Recorded:
    """A journal that gets one look after the other, each of rows that are said to have changed."""

    def __init__(self, root: Path) -> None:
        self.journal = Journal(open_store(str(root)), project="p", branch="b", sensor="s")
        self.entry = Entry(
            seq=0, id="0", project="p", branch="b", sensor="s", outcome="baseline", reason=""
        )

    def look(self, old: list[Row], new: list[Row]) -> None:
        past = Past(
            value=None,
            load_items=lambda: self.journal.snapshots.items(self.entry),
            fingerprint=self.entry.fingerprint,
            total=self.entry.total,
        )
        items, _, fingerprint = Candidates(old=old, new=new).compared(past, ["id"], "here")
        following = Entry(
            seq=self.entry.seq + 1,
            id="1",
            project="p",
            branch="b",
            sensor="s",
            outcome="changed",
            reason="",
            fingerprint=fingerprint,
            total=len(items),
        )
        self.entry = self.journal.snapshots.write(following, items, Difference())

    @property
    def rows(self) -> list[Row]:
        items = self.journal.snapshots.items(self.entry)
        return sorted((dict(one.data) for one in items.values()), key=lambda row: row["id"])


def rows(start: int, end: int) -> list[Row]:
    return [{"id": n, "v": n} for n in range(start, end)]


def test_a_table_that_grows_by_changes_alone_keeps_the_fingerprint_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in (versions, row_comparison, snapshots):
        monkeypatch.setattr(module, "FEW_ROWS", 5)
    recorded, truth = Recorded(tmp_path), list[Row]()
    for start, end in [(0, 4), (4, 8), (8, 9), (9, 12), (12, 14)]:
        recorded.look([], rows(start, end))
        truth += rows(start, end)
        assert recorded.rows == truth
        items = keyed(truth, ["id"], "here").items or {}
        assert recorded.entry.fingerprint == fingerprint_items(items.values())
    recorded.look(rows(3, 10), [])
    assert recorded.rows == rows(0, 3) + rows(10, 14)
