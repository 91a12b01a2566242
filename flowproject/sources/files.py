"""Watches files in a local folder, by their metadata or their content.

Links are followed, to files and to folders; a link back to a folder that it lies in is not, so
that the walk ends. What is neither a file nor a folder (sockets, pipes, devices) is not seen.
"""

import errno
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import md5
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.difference import Item, item
from flowproject.changes.observation import Cost, Memo, Observation, Past, fingerprint_items
from flowproject.config.data import FilesData
from flowproject.errors import SourceError, closest
from flowproject.globs import Globs
from flowproject.sources import WatchedFiles, WithoutQueries, stopped, version_gone
from flowproject.tables.file_listing import FileListing
from flowproject.tables.file_rows import moment_text, name_text
from flowproject.tables.manifest import FILE_IDENTITY, SPAN_ROWS, key_bytes
from flowproject.tables.table import ObjectTable

__all__ = ["FilesSource", "read_file"]

_MEMO: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_NAMES_SHOWN: Final = 10
_AT_ONCE: Final = 1000
_KIND: Final = stat.S_IFMT(0xFFFF)

# How often all is walked, if folders go elsewhere meanwhile; and how often a folder is listed, if
# files do.
_WALKS: Final = 3
_LISTINGS: Final = 5


class _FolderVanishedError(Exception):
    """Says that a folder was listed, and was not there any more when it was to be walked."""


class _Folder(NamedTuple):
    """Says where a folder to list is, what its keys begin with, which it is and in which it lies.

    `beside` are the folders that were listed with it, by the last name of their keys.
    """

    path: str
    prefix: str
    identity: tuple[int, int]
    above: "_Folder | None"
    beside: Mapping[str, "_Folder"]

    def enter(
        self, entry: os.DirEntry[str], status: os.stat_result, below: dict[str, "_Folder"]
    ) -> None:
        """Add the folder that an entry is or links to, unless that leads round in a circle."""
        # By device and number and not by path: a link makes the same folder look ever deeper.
        identity = (status.st_dev, status.st_ino)
        folder: _Folder | None = self
        while folder:
            if folder.identity == identity:
                return
            folder = folder.above
        name = f"{entry.name}/"
        below[name] = _Folder(entry.path, self.prefix + name, identity, self, below)


def read_file(data: FilesData, path: str, item: Mapping[str, Json]) -> bytes:
    """The content of a file, if it is the very one that `item` tells of.

    Raises:
        SourceError: if it is another one by now.
    """
    del data
    try:
        with Path(path).open("rb") as file:
            content = file.read()
            # Of what was read, and not of what has the name by now.
            status = os.fstat(file.fileno())
    except OSError as error:
        raise version_gone(f"It can't be read any more: {error.strerror}", path) from error
    now = {"size": status.st_size, "modified": moment_text(status.st_mtime_ns)}
    if {name: item.get(name) for name in now} != now or len(content) != status.st_size:
        raise version_gone("The file is not the one any more that was seen", path)
    return content


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

        Raises:
            SourceError: if the folder is missing, or something can't be read.
            FlowprojectError: if what was recorded of the past can't be read.
        """
        self._check_running()
        started = time.perf_counter()
        if self._data.check_mode == "files_metadata":
            return self._look_at_folder(past, started)
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
        """End a running `observe` at its next thousand files or chunk of a file."""
        self._cancelled.set()

    def _check_running(self) -> None:
        if self._cancelled.is_set():
            raise stopped()

    def _look_at_folder(self, past: Past | None, started: float) -> Observation:
        """The table of all files, unless it is the one that is known: then no item is made."""
        listing = self._listed()
        cost = Cost(seconds=time.perf_counter() - started, rows=listing.count)
        memo: Memo = {"v": _MEMO, "view": listing.view, "listing": listing.digest}
        if past and _is_known(past, memo):
            return past.still(cost=cost, memo={})
        seen = Observation(value=listing.count, fingerprint="", cost=cost, memo=memo)
        # One span is no gain: it would be three objects of the journal in place of one.
        if max(listing.count, past.total or 0 if past else 0) <= SPAN_ROWS:
            items = listing.items()
            return replace(seen, items=items, fingerprint=fingerprint_items(items.values()))
        known = _known_table(past)
        built = listing.compared(known)
        return replace(
            seen,
            fingerprint=built.fingerprint,
            items=built.items,
            # Files in another form are compared by whoever asked.
            difference=built.difference if known is not None or past is None else None,
        )

    def _listed(self) -> FileListing:
        """List all files, with no folder left out that went elsewhere meanwhile.

        Raises:
            SourceError: if folders are renamed all the time.
        """
        for _ in range(_WALKS - 1):
            try:
                return self._walked(_vanished)
            except _FolderVanishedError:
                # It may have gone to where the walk had been, so nothing less tells what is there.
                continue
        return self._walked(_taken_as_removed)

    def _walked(self, gone: Callable[[_Folder], None]) -> FileListing:
        """List every file that `include` lets through, and the marker files, by their keys.

        `gone` is told of a folder that was listed and is not there any more.
        """
        view = digest("files 1", dumps([self._data.path, [*self._data.include], self._data.marker]))
        listing = FileListing(view)
        # A list and no recursion: folders can be deeper than Python's stack.
        steps: list[Iterator[_Folder]] = [iter([self._top()])]
        while steps:
            folder = next(steps[-1], None)
            if folder is None:
                steps.pop()
            elif (found := self._entries(folder)) is None:
                gone(folder)
            else:
                steps.append(self._runs(listing, folder.prefix, *found))
        return listing

    def _runs(
        self, listing: FileListing, prefix: str, lines: list[str], below: Mapping[str, _Folder]
    ) -> Iterator[_Folder]:
        """Add a folder's files to the listing, and give each folder in it where its keys come."""
        lines += below
        lines.sort()
        # Python compares code points, whose order is another one where bytes are no text.
        if not all(map(str.isascii, lines)):
            lines.sort(key=key_bytes)
        start = 0
        for end, line in enumerate(lines) if below else ():
            if line in below:
                self._add(listing, prefix, lines, start, end)
                start = end + 1
                yield below[line]
        self._add(listing, prefix, lines, start, len(lines))

    def _add(
        self, listing: FileListing, prefix: str, lines: list[str], start: int, end: int
    ) -> None:
        # Some at a time, because one folder may hold a million.
        for place in range(start, end, _AT_ONCE):
            self._check_running()
            listing.add(prefix, lines[place : min(place + _AT_ONCE, end)])

    def _top(self) -> _Folder:
        status = _status(self._path)
        if status is None:
            raise _missing(self._path)
        if not stat.S_ISDIR(status.st_mode):
            raise SourceError(
                f"{str(self._path)!r} is a file; check_mode = 'files_metadata' watches a folder",
                fix='Name the folder in `path`, or put check_mode = "file_etag"',
            )
        return _Folder(str(self._path), "", (status.st_dev, status.st_ino), None, {})

    def _entries(self, folder: _Folder) -> tuple[list[str], dict[str, _Folder]] | None:
        """Read a folder: a line for each file in it, and the folders in it; None if it is gone."""
        lines: list[str] = []
        below: dict[str, _Folder] = {}
        for _ in range(_LISTINGS):
            lines, below = [], {}
            try:
                if self._is_read(folder, lines, below):
                    break
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise _unreadable(folder.path, error) from error
        # Where files come and go all the time, what vanishes is left out: the next look is right.
        return lines, below

    def _is_read(self, folder: _Folder, lines: list[str], below: dict[str, _Folder]) -> bool:
        """Read what is in a folder; False if something in it vanished meanwhile."""
        prefix, add = folder.prefix, lines.append
        chooses, marker = bool(self._data.include), self._data.marker
        is_whole = True
        with os.scandir(folder.path) as entries:
            while some := list(islice(entries, _AT_ONCE)):
                self._check_running()
                # A million files take a tenth of a second for each line of this loop.
                for entry in some:
                    try:
                        status = entry.stat()
                    except OSError as error:
                        is_whole = _leads_nowhere(entry, error) and is_whole
                        continue
                    kind, name = status.st_mode & _KIND, entry.name
                    if kind == stat.S_IFREG:
                        if not chooses or self._globs.match(prefix + name) or name == marker:
                            add(f"{name}\0{status.st_size}\0{status.st_mtime_ns}")
                    # A folder below which no pattern can match is not opened: it may be a whole
                    # disk.
                    elif kind == stat.S_IFDIR and self._globs.enter(prefix + name):
                        folder.enter(entry, status, below)
        return is_whole

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


def _is_known(past: Past, memo: Memo) -> bool:
    """Whether a look sees what the journal knows."""
    if past.is_forced:
        return False
    # That of the entry is at hand, and the other one is a request. It is made where the entry does
    # not tell: it is an older one, some of its files had to wait, or `include` was edited since.
    is_told = past.recorded.get("view") == memo["view"]
    return memo == (past.recorded if is_told else past.memo)


def _known_table(past: Past | None) -> ObjectTable | None:
    """The table of files that is known, if it can be compared in part."""
    # An entry without a memo has its files in another form: those of before there were tables of
    # files, or some of them had to wait. To read all of that is for whoever finds them changed.
    items = past.items if past and past.recorded else None
    if isinstance(items, ObjectTable) and items.identity == FILE_IDENTITY:
        return items
    return None


def _vanished(folder: _Folder) -> None:
    raise _FolderVanishedError(folder.path)


def _taken_as_removed(folder: _Folder) -> None:
    """Take a folder that vanished as removed, unless another one came beside it.

    Raises:
        SourceError: if one came, which may be the same one under another name.
    """
    try:
        with os.scandir(Path(folder.path).parent) as entries:
            names = {f"{entry.name}/" for entry in entries if entry.is_dir()}
    except OSError:
        names = set()
    if names - folder.beside.keys():
        raise SourceError(
            f"The folder {folder.path!r} was renamed or removed while it was looked at",
            allowed=f"All was walked {_WALKS} times, and nothing is recorded of what moved each "
            "time",
            fix="The next tick looks again. Where folders are renamed all the time, name those "
            "that stay in `include`",
        )


def _leads_nowhere(entry: os.DirEntry[str], error: OSError) -> bool:
    """Whether an entry is a link to nothing; False if it was there and is not any more.

    Raises:
        SourceError: if it is there and can't be looked at.
    """
    if error.errno == errno.ELOOP:  # a link to itself
        return True
    if isinstance(error, FileNotFoundError):
        return entry.is_symlink()
    raise _unreadable(entry.path, error) from error


def _status(path: Path) -> os.stat_result | None:
    """What a path or the link's target is, or None if there is no such thing (any more)."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself leads nowhere
            return None
        raise _unreadable(os.fspath(path), error) from error


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
