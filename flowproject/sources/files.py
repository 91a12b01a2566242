"""Watches files in a local folder, by their metadata or their content.

Links are followed, to files and to folders; a link back to a folder that it lies in is not, so
that the walk ends. What is neither a file nor a folder (sockets, pipes, devices) is not seen.
"""

import datetime as dt
import errno
import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from threading import Event
from typing import Final

from flowproject.changes.canonical import Json
from flowproject.changes.difference import Item, item
from flowproject.changes.observation import Cost, Observation, Past, fingerprint_items
from flowproject.config.data import FilesData
from flowproject.errors import SourceError, closest
from flowproject.globs import Globs
from flowproject.sources import WatchedFiles, WithoutQueries, stopped

__all__ = ["FilesSource", "moment_text", "name_text"]

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# What stands for the years that a file system has and Python has not.
_FIRST: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_LAST: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_CHUNK_BYTES: Final = 1 << 20
_NAMES_SHOWN: Final = 10
# How Python holds bytes of a name that are no UTF-8; and a name in which the text that we make of
# them stands by itself.
_UNDECODED: Final = re.compile(r"[\udc80-\udcff]")
_LOOKS_UNDECODED: Final = re.compile(r"\\x[89a-f][0-9a-f]")


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """Says where a folder to list is, what its keys begin with, and in which folders it lies."""

    path: str
    prefix: str
    above: frozenset[tuple[int, int]]

    def below(self, entry: os.DirEntry[str], status: os.stat_result) -> list["_Folder"]:
        """The folder that an entry is or links to; nothing if that would lead round in a circle."""
        # By device and number and not by path: a link makes the same folder look ever deeper.
        identity = (status.st_dev, status.st_ino)
        if identity in self.above:
            return []
        prefix = f"{self.prefix}{entry.name}/"
        return [_Folder(path=entry.path, prefix=prefix, above=self.above | {identity})]


class FilesSource(WithoutQueries):
    """Observes a folder or one file."""

    def __init__(self, data: FilesData, root: Path) -> None:
        super().__init__(data)
        self._data = data
        self._path = root / data.path
        self._globs = Globs(data.include)
        self._cancelled = Event()

    def check(self) -> None:
        """Do nothing: the configuration has refused all that can be wrong here."""

    def observe(self, past: Past | None = None) -> Observation:
        """The table of files, or the one property of the one file that is watched.

        The past is of no use here: a walk sees every file anyway.

        Raises:
            SourceError: if the folder is missing, or something can't be read.
        """
        del past
        self._check_running()
        started = time.perf_counter()
        if self._data.check_mode == "files_metadata":
            items = {found.key: found for found in self._walk()}
            value: Json = len(items)
            read = 0
        else:
            items, value, read = self._one_file()
        return Observation(
            value=value,
            fingerprint=fingerprint_items(items.values()),
            items=items,
            cost=Cost(seconds=time.perf_counter() - started, bytes=read, rows=len(items)),
        )

    def watched_files(self) -> list[WatchedFiles]:
        """The folder at every depth, or the one file."""
        if self._data.check_mode != "files_metadata":
            return [
                WatchedFiles(
                    folder=self._path.parent,
                    is_deep=False,
                    concerns=lambda path: path == self._path,
                )
            ]
        return [WatchedFiles(folder=self._path, is_deep=True, concerns=self._concerns)]

    def _concerns(self, path: Path) -> bool:
        if not path.is_relative_to(self._path) or path == self._path:
            # The folder itself, or one that it lies in: it came, went, or was renamed.
            return self._path.is_relative_to(path)
        key = path.relative_to(self._path).as_posix()
        known = path.name == self._data.marker or self._globs.match(key)
        # A folder may have come with all that is in it, and of what is gone nobody can say.
        return known or (self._globs.enter(key) and not path.is_file())

    def progress(self) -> None:
        """Return None: a walk takes no time worth telling."""

    def cancel(self) -> None:
        """End a running `observe` at its next file or chunk of a file."""
        self._cancelled.set()

    def _check_running(self) -> None:
        if self._cancelled.is_set():
            raise stopped()

    def _walk(self) -> Iterator[Item]:
        """Every file below the folder that `include` lets through, and the marker files."""
        # A list and no recursion: folders can be deeper than Python's stack.
        folders = [self._top()]
        while folders:
            folder = folders.pop()
            for entry, status in self._entries(folder):
                key = folder.prefix + entry.name
                if stat.S_ISREG(status.st_mode):
                    if self._globs.match(key) or entry.name == self._data.marker:
                        identity: Json = [status.st_size, status.st_mtime_ns]
                        yield item(name_text(key), _metadata(key, status), identity=identity)
                # A folder below which no pattern can match is not opened: it may be a whole disk.
                elif stat.S_ISDIR(status.st_mode) and self._globs.enter(key):
                    folders += folder.below(entry, status)

    def _top(self) -> _Folder:
        status = _status(self._path)
        if status is None:
            raise _missing(self._path)
        if not stat.S_ISDIR(status.st_mode):
            raise SourceError(
                f"{str(self._path)!r} is a file; check_mode = 'files_metadata' watches a folder",
                fix='Name the folder in `path`, or put check_mode = "file_etag"',
            )
        here = frozenset({(status.st_dev, status.st_ino)})
        return _Folder(path=str(self._path), prefix="", above=here)

    def _entries(self, folder: _Folder) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        """What a folder holds; what vanishes meanwhile is left out: the next look is right."""
        try:
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    self._check_running()
                    if status := _status(entry):
                        yield entry, status
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unreadable(folder.path, error) from error

    def _one_file(self) -> tuple[dict[str, Item], Json, int]:
        """The one file as a table, the property that is watched, and the bytes that were read."""
        status = _status(self._path)
        if status is None:
            # That a file is missing is a state; that its folder is, hardly ever was meant.
            if not self._path.parent.is_dir():
                raise _missing(self._path.parent)
            return {}, None, 0
        self._check_is_file(status)
        if self._data.check_mode == "file_etag":
            return self._content()
        data = _metadata(self._path.name, status)
        if self._data.check_mode == "file_size":
            value, identity = data["size"], status.st_size
        else:
            value, identity = data["modified"], status.st_mtime_ns
        found = item(name_text(self._path.name), data, identity=identity)
        return {found.key: found}, value, 0

    def _check_is_file(self, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            return
        mode = self._data.check_mode
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a file"
        raise SourceError(
            f"{str(self._path)!r} is {what}, but check_mode = {mode!r} watches one file",
            fix='Name a file in `path`, or put check_mode = "files_metadata" to watch a folder',
        )

    def _content(self) -> tuple[dict[str, Item], Json, int]:
        # MD5, because S3 gives the same for an object that was uploaded in one piece.
        state = md5(usedforsecurity=False)
        try:
            with self._path.open("rb") as file:
                # In chunks: a file may be larger than memory, and its look may be cancelled.
                while chunk := file.read(_CHUNK_BYTES):
                    self._check_running()
                    state.update(chunk)
                # Of the file that was read: at the path may be another one by now.
                status = os.fstat(file.fileno())
        except FileNotFoundError:
            return {}, None, 0
        except OSError as error:
            raise _unreadable(str(self._path), error) from error
        etag = state.hexdigest()
        data = {**_metadata(self._path.name, status), "etag": etag}
        found = item(name_text(self._path.name), data, identity=etag)
        return {found.key: found}, etag, status.st_size


def _metadata(key: str, status: os.stat_result) -> dict[str, Json]:
    modified = moment_text(status.st_mtime_ns)
    return {"key": name_text(key), "size": status.st_size, "modified": modified}


def _status(path: Path | os.DirEntry[str]) -> os.stat_result | None:
    """What a path or the link's target is, or None if there is no such thing (any more)."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself leads nowhere
            return None
        raise _unreadable(os.fspath(path), error) from error


def moment_text(nanoseconds: int) -> str:
    """ISO 8601 in UTC, always with microseconds, so that text sorts like time."""
    try:
        moment = _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:  # a file system can hold years that Python's calendar does not have
        moment = _LAST if nanoseconds > 0 else _FIRST
    return moment.isoformat(timespec="microseconds")


def name_text(name: str) -> str:
    r"""The name as text that can be written as UTF-8; two names never get the same.

    Bytes that are not UTF-8 become `\xff`. In such names, and in those that look as if they were
    such, a backslash is doubled.
    """
    if not (_UNDECODED.search(name) or _LOOKS_UNDECODED.search(name)):
        return name
    raw = os.fsencode(name.replace("\\", "\\\\"))
    return raw.decode("utf-8", "backslashreplace")


def _unreadable(path: str, error: OSError) -> SourceError:
    return SourceError(
        f"{path!r} can't be read: {error.strerror or error}",
        fix="Give this user the right to read it, or watch a folder without it",
    )


def _missing(folder: Path) -> SourceError:
    """The error for a folder that is not there: where the path ends, and what is there instead."""
    # Where the path ends is what helps: "data/wether" is a typo, a mount that is missing is not.
    wanted = folder.absolute()
    there = next((parent for parent in wanted.parents if parent.is_dir()), Path(wanted.anchor))
    try:
        names = sorted(name_text(path.name) for path in there.iterdir())
    except OSError:
        names = []
    listed = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    near = closest(wanted.relative_to(there).parts[0], names)
    return SourceError(
        f"There is no folder {folder.name!r}",
        where=f"Looked for {str(wanted)!r}",
        allowed=f"{str(there)!r} holds: {listed or 'nothing'}. {near}",
        fix=f"Correct `path` in flowproject.toml, or run: mkdir -p {shlex.quote(str(wanted))}",
    )
