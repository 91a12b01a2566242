"""Lists and reads the log of a Delta table through obstore, without opening the table.

A commit is `_delta_log/N.json`, actions in lines. What the table's files hold is read elsewhere.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from flowproject.changes.canonical import Json, digest
from flowproject.errors import SourceError
from flowproject.sources.versioned.locations import TableLocation
from flowproject.sources.versioned.versions import Commit, moment

__all__ = ["DeltaCommit", "DeltaLog", "LogFile", "UnfinishedError", "files_moved", "no_table"]

_COMMIT: Final = re.compile(r"_delta_log/(\d{20})\.json")
_AT_ONCE: Final = 16
_PAGE: Final = 1000

_T = TypeVar("_T")
_Action = dict[str, Any]


class UnfinishedError(Exception):
    """A log file that is empty or ends in the middle: it is being written, or damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFile:
    """A commit's file as a listing tells it."""

    version: int
    size: int
    etag: str
    modified: dt.datetime

    def to_json(self) -> dict[str, Json]:
        """What the next look compares."""
        return {"size": self.size, "etag": self.etag, "modified": self.modified.isoformat()}


@dataclass(frozen=True, kw_only=True)
class DeltaCommit:
    """One commit: its actions by kind, and the digest of its text."""

    version: int
    digest: str
    actions: Mapping[str, Sequence[_Action]] = field(default_factory=dict)

    @classmethod
    def parse(cls, version: int, content: bytes) -> "DeltaCommit":
        """The commit that a log file holds.

        Raises:
            UnfinishedError: if it is not whole, as far as that can be told.
        """
        actions: dict[str, list[_Action]] = {}
        for line in content.splitlines():
            try:
                for kind, action in (json.loads(line) if line.strip() else {}).items():
                    actions.setdefault(kind, []).append(action)
            except (ValueError, AttributeError) as error:
                raise UnfinishedError(str(version)) from error
        commit = cls(version=version, digest=digest(content), actions=actions)
        # Empty or cut after a whole line it still parses, and delta-rs takes it for the version,
        # with the content of the one before. But no commit is without an action, and the
        # writer says first how many files it added; of some operations it counts those of the feed.
        files = commit._claimed("num_added_files") or 0
        if not actions or files > len(commit.of("add")) + len(commit.of("cdc")):
            raise UnfinishedError(str(version))
        return commit

    def of(self, kind: str) -> Sequence[_Action]:
        """The actions of a kind, such as `add`."""
        return self.actions.get(kind, ())

    @property
    def changes_rows(self) -> bool:
        """Whether it says of itself that rows came or went."""
        # Where it is not said, it is so: the protocol gives no default.
        return any(one.get("dataChange", True) for one in (*self.of("add"), *self.of("remove")))

    @property
    def changes_partitions(self) -> bool:
        """Whether rows were put into other partitions although it says that none changed."""
        # OPTIMIZE turns '' in a partition's column into null, and says that no row changed.
        added, removed = (
            {json.dumps(one.get("partitionValues") or {}, sort_keys=True) for one in self.of(kind)}
            for kind in ("add", "remove")
        )
        return not self.changes_rows and bool(removed) and added != removed

    @property
    def table(self) -> str | None:
        """The id of the table, in a commit that says it."""
        return next((str(one["id"]) for one in reversed(self.of("metaData"))), None)

    @property
    def configurations(self) -> list[Mapping[str, str]]:
        """The table's properties, in a commit that says them."""
        return [one.get("configuration") or {} for one in self.of("metaData")]

    def told(self) -> Commit:
        """What the log says of it."""
        info = next(iter(self.of("commitInfo")), {})
        added, removed = self.of("add"), self.of("remove")
        return Commit(
            version=self.version,
            operation=str(info.get("operation", "")),
            time=moment(info.get("timestamp")),
            rows_added=_rows(added),
            # A file that goes does not say how many rows it had, as a rule.
            rows_removed=_rows(removed),
            files_added=len(added),
            files_removed=len(removed),
        )

    def _claimed(self, name: str) -> int | None:
        metrics = next(iter(self.of("commitInfo")), {}).get("operationMetrics") or {}
        value = metrics.get(name) if isinstance(metrics, dict) else None
        return value if isinstance(value, int) else None


def _rows(files: Iterable[_Action]) -> int | None:
    """How many rows these files have; None if one of them does not say so."""
    total = 0
    for file in files:
        try:
            total += int(json.loads(file.get("stats") or "{}")["numRecords"])
        except (ValueError, KeyError, TypeError):
            return None
    return total


def files_moved(
    commits: Iterable[DeltaCommit],
) -> tuple[dict[str, _Action], dict[str, _Action]]:
    """The files that went over all of these commits, and those that came, by their paths."""
    gone: dict[str, _Action] = {}
    came: dict[str, _Action] = {}
    for commit in commits:
        # A file that is told again, with other statistics, was there and still is.
        if not commit.changes_rows and not commit.of("remove"):
            continue
        for action in commit.of("remove"):
            # One that came in between and went again was never seen.
            if came.pop(action["path"], None) is None:
                gone[action["path"]] = action
        for action in commit.of("add"):
            # One that comes back, by a restore, is as it was.
            if gone.pop(action["path"], None) is None:
                came[action["path"]] = action
    return gone, came


class DeltaLog:
    """The log and the files of a table; `requests` counts what was asked of its store."""

    def __init__(self, place: TableLocation) -> None:
        self.place = place
        self.requests = 0
        self._store: Any = None
        self._relocated = False

    def files(self, first: int = 0) -> dict[int, LogFile]:
        """The files of all commits from a version on, in one listing.

        Raises:
            SourceError: if the store can't be listed.
        """
        import obstore

        def listed(store: Any) -> dict[int, LogFile]:
            # The offset is exclusive, and comes right before the file of that version.
            chunks = obstore.list(
                store, "_delta_log", offset=f"_delta_log/{first:020d}", chunk_size=_PAGE
            )
            found: dict[int, LogFile] = {}
            count = 0
            for chunk in chunks:
                count += len(chunk)
                for meta in chunk:
                    if name := _COMMIT.fullmatch(meta["path"]):
                        version = int(name[1])
                        found[version] = LogFile(
                            version=version,
                            size=meta["size"],
                            etag=(meta["e_tag"] or "").strip('"'),
                            modified=meta["last_modified"],
                        )
            self.requests += max(1, -(-count // _PAGE))
            return found

        return self._ask(listed)

    def read(self, versions: Sequence[int]) -> list[bytes]:
        """The content of these commits' files, side by side.

        Raises:
            SourceError: if one of them can't be read.
        """
        import obstore

        def content(store: Any, version: int) -> bytes:
            return bytes(obstore.get(store, f"_delta_log/{version:020d}.json").bytes())

        self.requests += len(versions)
        with ThreadPoolExecutor(min(_AT_ONCE, max(len(versions), 1))) as threads:
            return self._ask(
                lambda store: list(threads.map(lambda version: content(store, version), versions))
            )

    def content(self, path: str) -> bytes:
        """A data file, whose path is not written as in a URL.

        Raises:
            FileNotFoundError: if it is not there.
            SourceError: if it can't be read.
        """
        import obstore

        self.requests += 1
        return self._ask(lambda store: bytes(obstore.get(store, path).bytes()), missing=True)

    def _ask(self, question: Callable[[Any], _T], *, missing: bool = False) -> _T:
        """Ask the store; with `missing` a file that is not there stays Python's own error."""
        from obstore.exceptions import BaseError

        try:
            if self._store is None:
                self._store = self.place.open()
            return question(self._store)
        except (BaseError, OSError, ValueError) as error:
            if missing and isinstance(error, FileNotFoundError):
                raise
            # Of a bucket in another region: it said which.
            elsewhere = None if self._relocated else self.place.relocated(error)
            if elsewhere is None:
                raise self._explained(error) from error
            self._store, self._relocated = elsewhere, True
        return self._ask(question, missing=missing)

    def _explained(self, error: Exception) -> SourceError:
        text = str(error).partition("Debug source:")[0].partition("\n")[0].strip()[:300]
        if isinstance(error, FileNotFoundError) or "Unable to canonicalize" in text:
            return no_table(self.place)
        return SourceError(
            f"The log of the Delta table could not be read: {text or type(error).__name__}",
            where=str(self.place),
            fix="Check the address, the credentials and the network; the next tick looks again",
        )


def no_table(place: TableLocation) -> SourceError:
    """The error for a place where no Delta table is."""
    return SourceError(
        "There is no Delta table: no commit in its _delta_log",
        where=str(place),
        fix="Correct `table` under [data] in flowproject.toml, or write the table",
    )
