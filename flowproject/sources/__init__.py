"""Looks at data: one module for each kind of source, which owns its third-party client.

A source is a class that meets `Source` and one line in `SOURCES`. What several share stands in
`result` (rows of a query) and `objects` (objects of a store). Nothing here decides what a change
is, or keeps anything between two looks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Observation, Past, Progress
from flowproject.config.data import (
    DATA_TYPES,
    AzureData,
    Data,
    DeltaData,
    DuckDBData,
    FilesData,
    GcsData,
    IcebergData,
    PostgresData,
    S3Data,
    SnowflakeData,
)
from flowproject.errors import SourceError
from flowproject.packages import missing_for_source
from flowproject.plugins import plugin

__all__ = [
    "SOURCES",
    "KeepsVersions",
    "Rows",
    "Source",
    "WatchedFiles",
    "WithoutQueries",
    "address_of_item",
    "open_source",
    "read_item",
    "speaks_sql",
    "stopped",
    "version_gone",
    "watched_files",
]

Rows = list[dict[str, Json]]
"""What a query returns: each row as column → value, values in their canonical JSON form."""


class Source(Protocol):
    """Looks at one place where data lives, for one sensor."""

    def check(self) -> None:
        """Raise the error that shows without reaching the data, such as a typo in SQL."""

    def observe(self, past: Past | None = None) -> Observation:
        """Look at the source: what it looks like now.

        `past` is what was known of it, for sources that then look only at what moved.
        """
        ...

    def progress(self) -> Progress | None:
        """How far a running `observe` is; None if there is nothing to say."""

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql`, whose `:name` parameters are bound to `params`."""
        ...

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The rows that `query` gives, as a pyarrow.Table with the engine's own types."""
        ...

    def cancel(self) -> None:
        """End a running `observe` or `query`, from another thread; it raises a SourceError.

        A source stays cancelled: what is called afterwards raises, too. So it does not matter
        whether the look had already begun.
        """


@dataclass(frozen=True, kw_only=True)
class WatchedFiles:
    """Files of this machine that a source looks at: those below a folder that `concerns` names."""

    folder: Path
    is_deep: bool
    """Whether folders in the folder matter, too."""
    concerns: Callable[[Path], bool]
    """Whether a path may be one of them, or a folder that holds some: rather too many."""


@runtime_checkable
class _ReadsFiles(Protocol):
    """Is a source that knows which files of this machine it looks at."""

    def watched_files(self) -> Sequence[WatchedFiles]:
        """Say which files it looks at, whether they are there or not."""
        ...


@runtime_checkable
class KeepsVersions(Protocol):
    """Is a source that can read its data as they were at a version."""

    def at(self, version: Mapping[str, Json]) -> Source:
        """The source as it was at this version, which an `Observation` of it told; to be queried.

        If the version is gone, what is asked of it raises `version_gone`.
        """
        ...


def version_gone(what: str, where: str) -> SourceError:
    """Make the error of a version that a source does not keep any more; `what` says it."""
    return SourceError(
        what,
        where=where,
        allowed="The journal still has what the sensor saw: its newest fifty changes",
        fix="Read it there: `self.change.snapshot` has all rows, `self.change.added` and so on "
        "those that changed",
    )


def watched_files(source: Source) -> Sequence[WatchedFiles]:
    """Say which files of this machine a source looks at; nothing of one that can't tell."""
    return source.watched_files() if isinstance(source, _ReadsFiles) else ()


@dataclass(frozen=True, kw_only=True)
class _SourceClass:
    """Says where a source's class is, imported only when a sensor needs it, and if it knows SQL."""

    module: str
    name: str
    speaks_sql: bool


# By name, so that a project of files never imports DuckDB, and a step without an extra still runs.
SOURCES: Final[dict[type[Data], _SourceClass]] = {
    AzureData: _SourceClass(
        module="flowproject.sources.containers.source", name="AzureSource", speaks_sql=False
    ),
    DeltaData: _SourceClass(
        module="flowproject.sources.versioned.delta", name="DeltaSource", speaks_sql=True
    ),
    DuckDBData: _SourceClass(
        module="flowproject.sources.duckdb.source", name="DuckDBSource", speaks_sql=True
    ),
    FilesData: _SourceClass(
        module="flowproject.sources.files", name="FilesSource", speaks_sql=False
    ),
    GcsData: _SourceClass(
        module="flowproject.sources.containers.source", name="GcsSource", speaks_sql=False
    ),
    IcebergData: _SourceClass(
        module="flowproject.sources.versioned.iceberg", name="IcebergSource", speaks_sql=True
    ),
    PostgresData: _SourceClass(
        module="flowproject.sources.postgres.source", name="PostgresSource", speaks_sql=True
    ),
    S3Data: _SourceClass(module="flowproject.sources.s3.source", name="S3Source", speaks_sql=False),
    SnowflakeData: _SourceClass(
        module="flowproject.sources.snowflake.source", name="SnowflakeSource", speaks_sql=True
    ),
}


_READERS: Final[dict[type[Data], str]] = {
    FilesData: "read_file",
    S3Data: "read_object",
    AzureData: "read_object",
    GcsData: "read_object",
}


def open_source(data: Data, root: Path) -> Source:
    """The source that `data` describes; its relative paths start at the project's folder `root`.

    Raises:
        SourceError: if its client is not installed.
    """
    kind = SOURCES.get(type(data)) or _of_package(data.type)
    if missing := missing_for_source(data.type):
        raise SourceError(
            f"A source of type {data.type!r} needs a client: {missing.what}",
            where=missing.where,
            allowed=missing.allowed,
            fix=missing.fix,
        )
    try:
        made = getattr(import_module(kind.module), kind.name)
    except (ImportError, AttributeError) as error:
        if type(data) in SOURCES:
            raise
        raise SourceError(
            f"The source of type {data.type!r} can't be imported: {error}",
            where=f"{kind.module}:{kind.name}, of the package that brings this type",
            fix="Install what it needs, or mend the package",
        ) from error
    return cast("Source", made(data, root))


def _of_package(kind: str) -> _SourceClass:
    """The source that a package brings."""
    said = plugin(kind)
    module, _, name = said.source.partition(":")
    return _SourceClass(module=module, name=name, speaks_sql=said.speaks_sql)


def speaks_sql(data: Data) -> bool:
    """Whether a source of this kind can run queries."""
    return _knows_sql(data.type)


def _knows_sql(kind: str) -> bool:
    known = SOURCES.get(DATA_TYPES[kind])
    return known.speaks_sql if known else plugin(kind).speaks_sql


def address_of_item(data: Data, root: Path, key: str) -> str:
    """Where the file or the object with this key can be opened: a path or a URL.

    Raises:
        SourceError: if the items of such a source are rows.
    """
    match data:
        case FilesData():
            # With another mode than this one it is the one file that is watched.
            folder = root / data.path
            return str(folder / key if data.check_mode == "files_metadata" else folder)
        case S3Data() | GcsData():
            scheme = "s3" if isinstance(data, S3Data) else "gs"
            return f"{scheme}://{_first_part(data.bucket)}/{key}"
        case AzureData():
            return f"az://{_first_part(data.container)}/{key}"
    raise SourceError(
        f"Items of a source of type {data.type!r} are rows, and a row has no path",
        allowed="Files and objects have one",
        fix='Columns of a row are item["name"]',
    )


def _first_part(bucket: str) -> str:
    """A bucket without scheme and path, both of which the configuration allows."""
    return bucket.partition("://")[2].partition("/")[0] or bucket.partition("/")[0]


def read_item(data: Data, root: Path, item: Mapping[str, Json]) -> bytes:
    """The content of a file or an object as it was when a sensor saw it, as `item` tells.

    Raises:
        SourceError: if it is another one by now, or the items of such a source can't be read so.
    """
    path = address_of_item(data, root, str(item.get("key", "")))
    reader = _READERS.get(type(data))
    if reader is None:
        raise SourceError(
            f"What an object of type {data.type!r} held when it was seen can't be read here",
            where=path,
            allowed="Files can be, and objects in S3, Azure and Google",
            fix="Open its `path`, which holds what is there now",
        )
    # By name, as every source: a third-party client may be behind it.
    content: bytes = getattr(import_module(SOURCES[type(data)].module), reader)(data, path, item)
    return content


class WithoutQueries:
    """Is the part that sources of files and objects have in common: they run no queries."""

    def __init__(self, data: Data) -> None:
        self._type = data.type

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """Refuse to run a query: files and objects have no query language.

        Raises:
            SourceError: always; it says which sources have one.
        """
        del name, params
        # From the registry, so that the message follows when there is another one.
        able = ", ".join(filter(_knows_sql, DATA_TYPES))
        raise SourceError(
            f"A source of type {self._type!r} can't run queries",
            allowed=f"These can: {able}",
            fix='DuckDB reads CSV, Parquet and JSON files in place: put type = "duckdb" in [data]',
        )

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """Refuse to run a query, for the same reason.

        Raises:
            SourceError: always; it says which sources have one.
        """
        return self.query(name, params)


def stopped() -> SourceError:
    """The error of a look or a query that was cancelled."""
    return SourceError("The source was told to stop before it was done")
