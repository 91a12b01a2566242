"""Looks at the files behind a query: whether they stay as they are, and which of them is at fault.

Files of this machine are known by size, times and inode. Others are known as far as DuckDB can ask
for them with its own credentials, by size and time.
"""

import datetime as dt
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import translate
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from flowproject.changes.canonical import digest
from flowproject.changes.difference import Item
from flowproject.errors import FlowprojectError, SourceError
from flowproject.sources import WatchedFiles, stopped
from flowproject.sources.duckdb.failures import report, with_extensions
from flowproject.sources.duckdb.references import References
from flowproject.sql import Query

if TYPE_CHECKING:
    from threading import Event

    from duckdb import DuckDBPyConnection

__all__ = ["FileState", "QueriedFiles", "files_of_pattern", "local_patterns", "newest_file"]

_T = TypeVar("_T")

# What is rewritten all the time is so at the fourth look as well: it has to be delivered otherwise.
_LOOKS: Final = 3
# A program that writes in one go is rarely silent for longer.
_QUIET_SECONDS: Final = 0.1
_MOST_PAUSES: Final = 20
_REMOTE: Final = re.compile(r"(?!file:)\w{2,}://")
_WILD: Final = re.compile(r"[*?\[]")
_DELIMITER: Final = re.compile(r"[,;\t|]")
_UNEVEN: Final = re.compile(
    r"(?s)CSV Error on Line: (\d+)\n.*Expected Number of Columns: (\d+) Found: (\d+)"
)
_NANOSECONDS: Final = 1_000_000_000
_MOST_PROBED: Final = 1000
_SECONDS_TO_PROBE: Final = 5.0


class FileState(NamedTuple):
    """How a file is: what differs once somebody wrote to it, or put another in its place."""

    # Both times: `cp -p`, rsync and touch set the time of modification, and nobody the other one.

    size: int
    modified_ns: int
    changed_ns: int = 0
    inode: tuple[int, int] = (0, 0)

    @property
    def is_local(self) -> bool:
        """Whether it can be rewritten in place; what a store holds is replaced whole."""
        return self.inode != (0, 0)

    def is_being_written(self, now_ns: int) -> bool:
        """Whether it was written in place just now; one that was renamed since is whole."""
        age = now_ns - self.modified_ns
        # A clock that is ahead must not have us wait for a file until then: hence the 0.
        return self.modified_ns == self.changed_ns and 0 <= age < _QUIET_SECONDS * _NANOSECONDS


class QueriedFiles:
    """The files that a query reads."""

    def __init__(
        self,
        connection: "DuckDBPyConnection",
        references: References,
        params: Mapping[str, Any],
        *,
        database: str,
        cancelled: "Event",
    ) -> None:
        self._connection = connection
        self._references = references
        self._params = dict(params)
        self._database = [database] if database else []
        self._cancelled = cancelled
        self._before: dict[str, FileState] = {}

    def read_unchanged(
        self, query: Query, look: Callable[[], _T]
    ) -> tuple[_T, dict[str, FileState]]:
        """What a look returns during which no file was rewritten in place, and how they are.

        One that is being written to is waited for first.

        Raises:
            SourceError: if one changed during every look.
        """
        # Files that come, go or take the place of others are whole: DuckDB reads the old one or the
        # new one. Only while it opens the file it can meet parts of both, and then it fails
        # (`TProtocolException: Invalid data`).
        looks = 0
        while True:
            looks += 1
            before = self._before = self._at_rest()
            try:
                found, failure = [look()], None
            except FlowprojectError as error:
                found, failure = [], error
            after = self._states()
            rewritten = _rewritten(before, after)
            if found and not rewritten:
                return found[0], after
            if self._cancelled.is_set():
                raise stopped()
            if failure and before == after:
                raise failure
            if looks == _LOOKS:
                raise _restless(query, rewritten or _other(before, after), failure)

    def state(self) -> str:
        """A digest of how the files were when the look of `read_unchanged` that goes on began.

        Empty for tables of a database, which has others, too.
        """
        if self._database:
            return ""
        # Not asked again: in a bucket that is a request for each file.
        states = sorted(self._before.items())
        return digest(*(f"{file} {state}" for file, state in states)) if states else ""

    def file_at_fault(self, error: Exception, message: str) -> str:
        """The one file that an error is about which does not name it; empty if nobody can say."""
        # Thrift says `Invalid data` and no more, of whichever of ten thousand files of a pattern.
        import duckdb

        if isinstance(
            error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException
        ):
            return ""
        files = self._listed(self._references.patterns)
        if not files or any(Path(file).name in message for file in files):
            return ""
        if len(files) == 1:
            return files[0]
        # Each file is read by itself until one fails alike: worth seconds, and not the whole tick.
        deadline = time.monotonic() + _SECONDS_TO_PROBE
        for file, text in self._references.narrowed(self._listed):
            if time.monotonic() > deadline or self._cancelled.is_set():
                break
            try:
                self._connection.execute(text, self._params or None)
                while self._connection.fetchmany(_MOST_PROBED):
                    pass
            except duckdb.Error as again:
                if _first_line(message) == _first_line(report(again)["exception_message"]):
                    return file
        return ""

    def uneven_line(self, columns: Sequence[str]) -> str:
        """The line for which the columns of a CSV file were taken for a single one.

        With its file; empty if a result is not of that kind.
        """
        import duckdb

        if len(columns) != 1 or not (delimiter := _DELIMITER.search(columns[0])):
            return ""
        names = columns[0].split(delimiter[0])
        given = {f"{number}": "VARCHAR" for number in range(len(names))}
        how = f"auto_detect = false, header = true, delim = '{delimiter[0]}', columns = {given}"
        text = f"SELECT * FROM read_csv($1, quote = '\"', {how})"  # noqa: S608  # nothing of theirs
        for file in self._listed(self._references.patterns):
            try:
                self._connection.execute(text, [file])
                while self._connection.fetchmany(_MOST_PROBED):
                    pass
            except duckdb.Error as error:
                found = _UNEVEN.search(report(error)["exception_message"])
                if found:
                    return f"{file!r}, line {found[1]}, has {found[3]} fields, and not {found[2]}"
        return ""

    def _at_rest(self) -> dict[str, FileState]:
        """How the files are, after a pause if one of them was written to just now."""
        states = self._states()
        for _ in range(_MOST_PAUSES):
            now = time.time_ns()
            if not any(state.is_being_written(now) for state in states.values()):
                break
            if self._cancelled.wait(_QUIET_SECONDS):
                raise stopped()
            states = self._states()
        return states

    def _states(self) -> dict[str, FileState]:
        from duckdb import Error as DuckDBError

        local = local_patterns(self._references.patterns)
        remote = [pattern for pattern in self._references.patterns if pattern not in local]
        # What a glob finds is asked of DuckDB, by whose rules the query finds its files, too.
        states: dict[str, FileState] = {}
        for file in [*self._database, *self._listed(local)]:
            with suppress(OSError):  # it went away meanwhile
                states[file] = _state(Path(file).stat())
        for pattern in remote:
            with suppress(DuckDBError):  # what is wrong with it the query itself says better
                states |= self._asked(pattern)
        return states

    def _listed(self, patterns: Iterable[str]) -> list[str]:
        from duckdb import Error as DuckDBError

        files: dict[str, None] = {}
        for pattern in patterns:
            with suppress(DuckDBError):
                found = self._connection.execute("SELECT file FROM glob($1)", [pattern]).fetchall()
                files |= dict.fromkeys(file for (file,) in found)
        return list(files)

    def _asked(self, pattern: str) -> dict[str, FileState]:
        asked = (
            "SELECT filename, size, epoch_ns(last_modified) FROM read_blob($1) "
            "WHERE last_modified IS NOT NULL"
        )
        rows = with_extensions(
            self._connection, lambda: self._connection.execute(asked, [pattern]).fetchall()
        )
        return {file: FileState(size=size, modified_ns=modified) for file, size, modified in rows}


def local_patterns(patterns: Iterable[str]) -> list[str]:
    """The names and patterns of files of this machine."""
    return [pattern for pattern in patterns if not _REMOTE.match(pattern)]


def files_of_pattern(root: Path, pattern: str) -> WatchedFiles:
    """The files of this machine that a name or pattern in a query stands for."""
    path = root / pattern.removeprefix("file://").removeprefix("file:")
    literal = [*takewhile(lambda part: not _WILD.search(part), path.parts)]
    # Of a name without a wildcard the last part is the file.
    folder = Path(*literal) if len(literal) < len(path.parts) else path.parent
    # fnmatch's `*` goes across folders: it finds more than DuckDB's, and none less.
    wanted = re.compile(translate(str(path)))

    def concerns(one: Path) -> bool:
        # DuckDB keeps what is not yet in a database in a file beside it.
        file = one.with_name(one.name.removesuffix(".wal"))
        is_folder = folder.is_relative_to(one) or (one.is_relative_to(folder) and not one.is_file())
        return bool(wanted.match(str(file))) or is_folder

    is_deep = len(path.parts) > len(folder.parts) + 1
    return WatchedFiles(folder=folder, is_deep=is_deep, concerns=concerns)


def newest_file(states: Mapping[str, FileState]) -> Item:
    """The file that was written last, as an item; one of no file if there is none."""
    if not states:
        return Item(key="", version="")
    file = max(states, key=lambda one: states[one].modified_ns)
    moment = dt.datetime.fromtimestamp(states[file].modified_ns / _NANOSECONDS, dt.UTC)
    return Item(key=file, version="", data={"modified": moment.isoformat()})


def _state(status: os.stat_result) -> FileState:
    return FileState(
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        inode=(status.st_dev, status.st_ino),
    )


def _rewritten(before: Mapping[str, FileState], after: Mapping[str, FileState]) -> str:
    """A file that was written to where it is; empty if there is none."""
    # One that took the place of another has an inode of its own, and was whole when it came.
    same = (
        file
        for file, state in after.items()
        if file in before and state.is_local and before[file].inode == state.inode
    )
    return next((file for file in same if before[file] != after[file]), "")


def _other(before: Mapping[str, FileState], after: Mapping[str, FileState]) -> str:
    """A file that is not as it was, or not there any more, or new."""
    return next(file for file in {**before, **after} if before.get(file) != after.get(file))


def _restless(query: Query, file: str, failure: FlowprojectError | None) -> SourceError:
    error = SourceError(
        f"{file!r} changed while the query read it, {_LOOKS} times in a row",
        where=query.file,
        allowed=f"The last time: {failure}" if failure else "",
        fix="Write a new file beside it and rename that over it, so that it is whole whenever "
        "somebody reads it (docs/duckdb.md); or look again when nobody writes",
    )
    error.__cause__ = failure
    return error


def _first_line(message: str) -> str:
    return message.partition("\n")[0]
