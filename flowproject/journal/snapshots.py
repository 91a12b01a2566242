"""Keeps the tables that entries of a journal name: all items, and what happened to them."""

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, cast

from flowproject.changes.difference import Difference, Item
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Items
from flowproject.errors import JournalError
from flowproject.journal.errors import DamagedTableError
from flowproject.journal.layout import Layout
from flowproject.journal.store import Store
from flowproject.tables.manifest import NEW, Manifest
from flowproject.tables.row_table import (
    FEW_ROWS,
    RowManifest,
    RowTable,
    compact_rows,
    rows_need_compaction,
)
from flowproject.tables.serialization import (
    read_difference,
    read_items,
    write_difference,
    write_items,
)
from flowproject.tables.table import ObjectTable, compact, needs_compaction

__all__ = ["DIFFERENCE", "MANIFEST", "ROWS", "TABLE", "Snapshots", "read_manifest"]

TABLE: Final = "-items.parquet"
MANIFEST: Final = "-items.json"
ROWS: Final = "-rows.parquet"
DIFFERENCE: Final = "-difference.parquet"
_IN_MEMORY: Final = 8 << 20
_log = logging.getLogger(__name__)


class Snapshots:
    """The tables of one journal: snapshots of all items, and differences."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def write(self, entry: Entry, items: Items | None, difference: Difference) -> Entry:
        """Write the tables of an entry, and return the entry with their names.

        What comes first is only ever named by what comes later: whoever finds a name finds all.
        """
        if items is None and not any(difference.counts.values()):
            return entry
        # A name of its own for each try: two ticks may write tables for the same number, and only
        # one of them records the entry.
        stem = self._layout.table(entry.seq, secrets.token_hex(6))
        steps: list[Callable[[], None]] = []
        # A first look at a large table would be written twice: nobody asks what it added.
        is_large = isinstance(items, ObjectTable | RowTable)
        if not (is_large and entry.outcome == "baseline"):
            entry = replace(entry, difference=stem + DIFFERENCE)
            steps.append(partial(self._write_difference, entry.difference, difference))
        if isinstance(items, ObjectTable | RowTable):
            entry = replace(entry, snapshot=stem + MANIFEST)
            steps.append(partial(self._write_large, stem, items))
        elif items is not None:
            entry = replace(entry, snapshot=stem + TABLE)
            steps.append(partial(self._write_items, entry.snapshot, items))
        # Neither names the other, and the entry that names both comes after them.
        self._store.concurrently(steps)
        return entry

    def write_difference(self, seq: int, difference: Difference) -> str:
        """Write a difference that no entry records, and return its name."""
        key = self._layout.table(seq, secrets.token_hex(6)) + DIFFERENCE
        self._write_difference(key, difference)
        return key

    def discard(self, entry: Entry) -> None:
        """Remove what `write` wrote for an entry, and nothing of an entry before it."""
        # Other segments that its manifest names belong to entries before it, and are needed.
        own = entry.snapshot.removesuffix(MANIFEST) + ROWS if _is_manifest(entry.snapshot) else ""
        for key in filter(None, (entry.snapshot, entry.difference, own)):
            self._store.delete(key)

    def items(self, entry: Entry) -> Items:
        """The items that the source had when `entry` was recorded; empty if it has no items.

        Raises:
            DamagedTableError: if their table is gone or can't be read. Of very many items that may
                show only when they are read.
        """
        if not entry.snapshot:
            return {}
        if _is_manifest(entry.snapshot):
            return self._large(entry)
        if (entry.total or 0) > FEW_ROWS:
            # So versions before kept any number of rows.
            damaged = partial(_damaged, entry.snapshot)
            return RowTable.of_one_file(entry.snapshot, entry.total or 0, self._open, damaged)
        return self._small(entry.snapshot)

    def difference(self, entry: Entry) -> Difference:
        """What happened to the items with `entry`; empty if the source has no items.

        Raises:
            DamagedTableError: if the table is gone or can't be read.
        """
        if not entry.difference:
            return Difference()
        return read_difference(
            partial(self._open, entry.difference), damaged=partial(_damaged, entry.difference)
        )

    def remember(self, entry: Entry, known: Items | None, seen: Items | None) -> None:
        """Keep what an unchanged look learned of the items of `entry`, as a memo.

        The same rows, known by digests that are newer: the next look need not parse them again.
        """
        # A memo has only digests, so the rows must be in segments that are kept already.
        if not isinstance(known, ObjectTable) or not isinstance(seen, ObjectTable):
            return
        manifest = seen.manifest
        if manifest == known.manifest or not {*manifest.segments} <= {*known.manifest.segments}:
            return
        memo = {"v": 1, "snapshot": entry.snapshot, "manifest": manifest.to_json()}
        try:
            self._store.put(self._layout.items_memo, json.dumps(memo).encode("ascii"))
        except JournalError as error:
            # Nothing depends on it: without a memo the next tick parses again what moved.
            _log.warning("The memo of the items was not written. %s", error)

    def _small(self, key: str) -> dict[str, Item]:
        content = self._store.get(key)
        if content is None:
            raise _gone(key)
        try:
            return read_items(content)
        except ValueError as error:
            raise _damaged(key, str(error)) from error

    def _large(self, entry: Entry) -> ObjectTable | RowTable:
        damaged = partial(_damaged, entry.snapshot)
        # The memo first: it costs a request when there is none, and saves parsing what moved
        # without a change.
        manifest = self._remembered(entry) or read_manifest(self._store, entry.snapshot)
        if isinstance(manifest, RowManifest):
            return RowTable(manifest, self._open, damaged)
        return ObjectTable(manifest, self._open, damaged=damaged)

    def _remembered(self, entry: Entry) -> Manifest | None:
        content = self._store.get(self._layout.items_memo)
        try:
            memo = json.loads(content or b"{}")
            if memo.get("snapshot") == entry.snapshot:
                return Manifest.from_json(memo["manifest"])
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.info("The memo of the items can't be read; it is not needed.")
        return None

    def _write_items(self, key: str, items: Items) -> None:
        self._store.put(key, write_items({item.key: item for item in items.values()}))

    def _write_large(self, stem: str, items: ObjectTable | RowTable) -> None:
        # When a change is recorded, and not while a look compares: previews and ticks that wait
        # only read.
        items = _compacted(items)
        manifest = items.manifest
        if NEW in manifest.segments:
            # The rows before the manifest that names them.
            with items.open_segment(NEW) as rows:
                self._store.put_file(stem + ROWS, rows)
            manifest = manifest.recorded(stem + ROWS)
        self._store.put(stem + MANIFEST, json.dumps(manifest.to_json()).encode("ascii"))

    def _write_difference(self, key: str, difference: Difference) -> None:
        with SpooledTemporaryFile(_IN_MEMORY) as spool:
            file = cast("BinaryIO", spool)
            write_difference(file, difference)
            self._store.put_file(key, file)

    def _open(self, key: str) -> BinaryIO:
        file = self._store.open(key)
        if file is None:
            raise _gone(key)
        return file


def read_manifest(store: Store, key: str) -> Manifest | RowManifest:
    """The manifest with this key.

    Raises:
        DamagedTableError: if it is gone or can't be read.
    """
    content = store.get(key)
    if content is None:
        raise _gone(key)
    try:
        document = json.loads(content)
        kind = RowManifest if RowManifest.is_told(document) else Manifest
        return kind.from_json(document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(key, str(error)) from error


def _compacted(items: ObjectTable | RowTable) -> ObjectTable | RowTable:
    """Compact the table if its files hold more than it needs."""
    try:
        if isinstance(items, RowTable):
            return compact_rows(items) if rows_need_compaction(items.manifest) else items
        return compact(items) if needs_compaction(items.manifest) else items
    except DamagedTableError as damage:
        # What a tick compared was whole. The next one that needs what is damaged says so.
        _log.warning("The files of a table were not written anew. %s", damage)
        return items


def _is_manifest(key: str) -> bool:
    return key.endswith(MANIFEST)


def _gone(key: str) -> DamagedTableError:
    return DamagedTableError(f"The journal's table {key!r} is gone")


def _damaged(key: str, reason: str) -> DamagedTableError:
    return DamagedTableError(f"The journal's table {key!r} is damaged: {reason}")
