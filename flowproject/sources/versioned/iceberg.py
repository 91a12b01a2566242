"""Observes Iceberg tables through PyIceberg: only what moved since the snapshot that was known.

The snapshot that a branch or tag names is compared by its id, with the table's. Neither sequence
numbers nor times say which of two is newer: a rollback lowers the ones, a wrong clock the others.
"""

import datetime as dt
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Cost, Observation, Past, Progress
from flowproject.config.data import IcebergData
from flowproject.errors import FlowprojectError, SourceError, closest
from flowproject.secrecy import keep_secrets_of
from flowproject.sources import Rows, version_gone
from flowproject.sources.connection_thread import ConnectionThread
from flowproject.sources.versioned.locations import TableLocation
from flowproject.sources.versioned.versions import (
    Candidates,
    Commit,
    GoneError,
    PinnedQuery,
    TableVersion,
    WholeTable,
    changed,
    check_limit,
    has_other_columns,
    is_large,
    known_version,
    question,
    rows_of,
    unmoved,
    whole,
)
from flowproject.tables.row_comparison import unequal_rows
from flowproject.tables.row_table import FEW_ROWS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.snapshots import Snapshot

__all__ = ["IcebergSource"]

_NOUN: Final = "snapshot"
_NO_ROWS: Final = {"replace"}
"""Operations that only put the same rows into other files."""

_NAMES: Final = {
    "aws_access_key_id": "s3.access-key-id",
    "aws_secret_access_key": "s3.secret-access-key",
    "aws_session_token": "s3.session-token",
    "aws_region": "s3.region",
    "aws_endpoint_url": "s3.endpoint",
    "google_bearer_token": "gcs.oauth2.token",
    "google_base_url": "gcs.service.host",
    "azure_storage_account_name": "adls.account-name",
    "azure_storage_token": "adls.token",
}
"""What PyIceberg calls the settings of stores."""

_OF_ENVIRONMENT: Final = {
    "AZURE_STORAGE_ACCOUNT_KEY": "adls.account-key",
    "AZURE_STORAGE_SAS_TOKEN": "adls.sas-token",
}


class IcebergSource:
    """Observes one branch or tag of an Iceberg table; queries may be asked of another `version`."""

    def __init__(
        self, data: IcebergData, root: Path, version: Mapping[str, Json] | None = None
    ) -> None:
        self._data = data
        self._root = root
        self._version = version
        self._thread = ConnectionThread(lambda: _IcebergLook(data, root), _leave, name="iceberg")

    def check(self) -> None:
        """Do nothing: what could be wrong with a table shows only there."""

    def observe(self, past: Past | None = None) -> Observation:
        """The table's current snapshot, and what happened since the one that was known.

        Raises:
            SourceError: if there is no such table, or it can't be read.
            QueryError: if `key` is no key of it, or it has more rows than `row_limit`.
        """
        look = self._thread
        return look.run(lambda one: one.observe(past, look.check_not_left), TIMEOUT_MAX)

    def at(self, version: Mapping[str, Json]) -> "IcebergSource":
        """The table as it was at a version that a change told; to be queried."""
        return IcebergSource(self._data, self._root, version)

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql`, in which the table has the last part of its name.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the table can't be read, or the version is gone.
        """
        return rows_of([self.query_arrow(name, params)], self._thread.check_not_left)

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The rows that `query` gives, as a pyarrow.Table; DuckDB runs the query.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the table can't be read, or the version is gone.
        """
        asked = PinnedQuery.find(self._root, name, params, self._version)
        return self._thread.run(lambda one: one.query(asked), TIMEOUT_MAX)

    def progress(self) -> Progress | None:
        """Return None: a table does not say how far it is read."""
        return None

    def cancel(self) -> None:
        """Stop waiting for a running `observe`."""
        self._thread.leave()


def _leave(look: "_IcebergLook") -> None:
    """Nothing runs on a server that would have to be ended."""
    del look


class _IcebergLook:
    """One look at a table."""

    def __init__(self, data: IcebergData, root: Path) -> None:
        self._data = data
        self._root = root
        self._place = f"{data.catalog}: {data.table}" if data.catalog else data.table
        self._question = question("iceberg", data.catalog, data.table, data.ref, [*data.key])
        self._started = time.perf_counter()
        self._rows_read = 0
        self._left: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Nothing is open between two requests."""

    def observe(self, past: Past | None, left: Callable[[], None]) -> Observation:
        """Look at the table; `left` raises when nobody waits any more."""
        self._left = left
        with self._explained():
            table = self._load()
            now = self._described(table)
            known = known_version(past, _NOUN, self._question)
            if past is None or known is None:
                return self._whole(past, table, now, (), "")
            try:
                return self._since(past, table, known, now)
            except GoneError as gone:
                # Not a first look: everything is compared with what the journal has.
                return self._whole(past, table, now, (), f"{gone}: compared as a whole")

    def query(self, asked: PinnedQuery) -> Any:
        """What a query gives, as a table of Arrow.

        Raises:
            SourceError: if the table can't be read, or the snapshot is gone.
        """
        with self._explained():
            table = self._load()
            snapshot = self._snapshot(table)
            number = snapshot.snapshot_id if snapshot else None
            if asked.version:
                number = self._checked(table, asked.version)
            try:
                rows = (
                    table.scan(snapshot_id=number).to_arrow()
                    if number is not None
                    else self._arrow_schema(table).empty_table()
                )
            except FileNotFoundError as error:
                if not asked.version:
                    raise
                raise version_gone(
                    f"Snapshot {number} of the Iceberg table has files that are gone", self._place
                ) from error
        name = self._data.table.rpartition("/")[2].removesuffix(".metadata.json")
        return asked.answer(name.rpartition(".")[2], rows, self._data.row_limit)

    def _checked(self, table: "Table", version: Mapping[str, Json]) -> int | None:
        """The snapshot of a version that a change told.

        Raises:
            SourceError: if the table is another one, or has it no more.
        """
        number = version.get("version")
        if str(table.metadata.table_uuid) != version.get("table"):
            raise version_gone("The Iceberg table was made anew", self._place)
        if not isinstance(number, int):
            return None
        # An expired one would have no rows, without an error.
        if table.snapshot_by_id(number) is None:
            raise version_gone(f"Snapshot {number} of the Iceberg table has expired", self._place)
        return number

    def _since(
        self, past: Past, table: "Table", known: TableVersion, now: TableVersion
    ) -> Observation:
        if now.table != known.table:
            raise GoneError("the table was made anew")
        is_compared = bool(self._data.key)
        if is_compared and has_other_columns(known, now):
            return self._whole(past, table, now, _between(table, known.version, now.version)[0], "")
        if now.version == known.version:
            return unmoved(past, now, self._cost(), "")
        # Looked up first: of a snapshot that expired PyIceberg says that it has no rows.
        if known.version is not None and table.snapshot_by_id(known.version) is None:
            raise GoneError(f"snapshot {known.version} has expired")
        commits, is_line = _between(table, known.version, now.version)
        note = f"snapshot {now.version}: {_operations(commits)}, no row changed"
        if is_line and {commit.operation for commit in commits} <= _NO_ROWS:
            return unmoved(past, now, self._cost(), note)
        gone, came = self._files_moved(table, known.version, now.version, commits, is_line)
        if not gone and not came:
            return unmoved(past, now, self._cost(), note)
        if not is_compared:
            return changed(now, commits, None, self._cost())
        return self._compared(past, table, now, commits, gone, came)

    def _compared(
        self,
        past: Past,
        table: "Table",
        now: TableVersion,
        commits: Sequence[Commit],
        gone: "Sequence[FileScanTask]",
        came: "Sequence[FileScanTask]",
    ) -> Observation:
        """Compare the rows that may have changed; all of them, if these are many."""
        check_limit(now.rows, self._data.row_limit, self._place)
        if is_large(now.rows, past):
            return self._whole(past, table, now, commits, "")
        moved = self._moved(table, gone, came)
        if len(moved) > FEW_ROWS:
            return self._whole(past, table, now, commits, "")
        compared = moved.compared(past, self._data.key, self._place)
        if not any(compared[1].counts.values()):
            note = f"snapshot {now.version}: {_operations(commits)}, no row changed"
            return unmoved(past, now, self._cost(), note)
        return changed(now, commits, compared, self._cost())

    def _whole(
        self,
        past: Past | None,
        table: "Table",
        now: TableVersion,
        commits: Sequence[Commit],
        note: str,
    ) -> Observation:
        rows = None
        if self._data.key:
            check_limit(now.rows, self._data.row_limit, self._place)
            tables = self._tables(table, _files(table, now.version))
            rows = WholeTable.gather(tables, self._data.key, self._place, self._left)
        return whole(past, now, commits, rows, self._data.key, self._place, self._cost(), note=note)

    def _load(self) -> "Table":
        data = self._data
        if not data.catalog:
            from pyiceberg.table import StaticTable

            place = TableLocation.parse(data.table, data, self._root)
            # It stays the table that `table` names: a folder would be another one each time.
            return StaticTable.from_metadata(place.uri, _properties(place.options()))
        # Only for catalogs: it takes longer to import than a small table to load.
        from pyiceberg.catalog import load_catalog

        settings = _configured(data.catalog)
        # All of it: PyIceberg reads its settings once, and @secrets may have set some since.
        given = {**settings, **self._blanks(settings)}
        return load_catalog(data.catalog, **given).load_table(data.table)

    def _blanks(self, settings: Mapping[str, str]) -> dict[str, str]:
        """What a catalog's settings do not say of the store, and Metaflow's do."""
        keep_secrets_of(settings)
        warehouse = settings.get("warehouse", "")
        address = warehouse if "://" in warehouse else ""
        if not address and settings.get("type") == "glue":
            address = "s3://glue/tables"  # where Glue's tables are, whichever bucket
        if not address or address.startswith("file:"):
            return {}
        # A REST catalog hands out credentials by itself.
        if settings.get("type", "rest") == "rest" and "uri" in settings:
            return {}
        place = TableLocation.parse(address.rstrip("/") + "/-", self._data, self._root)
        given = _properties(place.options())
        return {name: value for name, value in given.items() if name not in settings}

    def _described(self, table: "Table") -> TableVersion:
        """The snapshot that is watched, and what the metadata says of it."""
        snapshot = self._snapshot(table)
        summary = snapshot.summary if snapshot else None
        rows = int(summary.additional_properties.get("total-records", -1)) if summary else 0
        # With files of deletions the summary counts rows that are none of the table's.
        deletes = summary and any(
            summary.additional_properties.get(name, "0") != "0"
            for name in ("total-position-deletes", "total-equality-deletes")
        )
        return TableVersion(
            noun=_NOUN,
            table=str(table.metadata.table_uuid),
            version=snapshot.snapshot_id if snapshot else None,
            rows=None if rows < 0 or deletes else rows,
            columns={field.name: str(field.type) for field in self._arrow_schema(table)},
            question=self._question,
        )

    def _snapshot(self, table: "Table") -> "Snapshot | None":
        ref = self._data.ref
        if ref == "main":
            return table.current_snapshot()
        if (snapshot := table.snapshot_by_name(ref)) is None:
            raise SourceError(
                f"The Iceberg table has no branch or tag {ref!r}",
                where=self._place,
                allowed=f"It has: {', '.join(sorted(table.refs())) or 'none'}",
                fix=closest(ref, table.refs()) or "Correct `ref` under [data] in flowproject.toml",
            )
        return snapshot

    def _files_moved(
        self,
        table: "Table",
        old: int | None,
        new: int | None,
        commits: Sequence[Commit],
        is_line: bool,  # noqa: FBT001  # said by who found the commits
    ) -> "tuple[list[FileScanTask], list[FileScanTask]]":
        """The files of two snapshots that only one of them has, or has with other deletions."""
        if old is not None and is_line and {one.operation for one in commits} == {"append"}:
            # Only of an unbroken line of appends: it passes over deletions in silence.
            scan = table.incremental_append_scan(
                from_snapshot_id_exclusive=old, to_snapshot_id_inclusive=new
            )
            return [], list(scan.plan_files())
        before, after = _identified(_files(table, old)), _identified(_files(table, new))
        return (
            [task for name, task in before.items() if name not in after],
            [task for name, task in after.items() if name not in before],
        )

    def _moved(
        self, table: "Table", gone: "Sequence[FileScanTask]", came: "Sequence[FileScanTask]"
    ) -> Candidates:
        """The rows of files that went and of files that came, but for those that both have.

        Raises:
            GoneError: if a file that went is no longer there.
        """
        old, new = self._tables(table, gone, is_past=True), self._tables(table, came)
        if not gone or not came:
            return Candidates(old=rows_of(old, self._left), new=rows_of(new, self._left))
        # Most rows of a file that was written anew are what they were.
        unequal = unequal_rows(old, new, self._arrow_schema(table))
        return Candidates(
            old=rows_of([unequal[0]], self._left), new=rows_of([unequal[1]], self._left)
        )

    def _tables(
        self, table: "Table", files: "Iterable[FileScanTask]", *, is_past: bool = False
    ) -> "Iterator[pa.Table]":
        """The content of files, in the present columns of what is watched."""
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan

        # Read whole and never filtered: of NaN its files know nothing, and are passed over.
        scan = ArrowScan(
            table.metadata, table.io, _schema(table, self._snapshot(table)), AlwaysTrue()
        )
        schema = self._arrow_schema(table)
        for task in files:
            self._left()
            try:
                content = scan.to_table([task])
            except FileNotFoundError as error:
                if not is_past:
                    raise
                raise GoneError("files of the snapshot that was known are gone") from error
            self._rows_read += len(content)
            yield content.cast(schema)

    def _arrow_schema(self, table: "Table") -> "pa.Schema":
        import pyarrow as pa
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        schema = _schema(table, self._snapshot(table))
        return pa.schema(schema_to_pyarrow(schema, include_field_ids=False))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # It warns of settings of its own, in the middle of somebody's tick.
                warnings.simplefilter("ignore")
                yield
        except (FlowprojectError, GoneError, MemoryError):
            raise
        # Each catalog brings a library with exceptions of its own: requests, SQLAlchemy, botocore.
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> SourceError:
        from pyiceberg import exceptions as known

        text = (str(error).strip() or type(error).__name__).partition("\n")[0][:300]
        if isinstance(error, known.NoSuchTableError | known.NoSuchNamespaceError):
            return SourceError(
                f"The catalog has no Iceberg table {self._data.table!r}",
                where=f"Catalog {self._data.catalog!r}",
                fix="Correct `table` under [data] in flowproject.toml, or make the table",
            )
        if isinstance(error, FileNotFoundError):
            return SourceError(
                f"A file of the Iceberg table is not there: {text}",
                where=self._place,
                fix="Correct `table` under [data] in flowproject.toml; if the table is there, "
                "somebody removed its files behind the catalog's back",
            )
        if isinstance(error, known.ValidationError) or "Invalid JSON" in str(error):
            return SourceError(
                f"The metadata of the Iceberg table can't be read: {text}",
                where=self._place,
                allowed="It may be half written",
                fix="The next tick looks again; if it says the same, write the metadata anew",
            )
        return SourceError(
            f"The Iceberg table could not be read: {type(error).__name__}: {text}",
            where=self._place,
            fix="Check the catalog's settings in .pyiceberg.yaml or PYICEBERG_CATALOG__..., the "
            "credentials and the network; the next tick looks again",
        )

    def _cost(self) -> Cost:
        return Cost(
            # Catalogs and stores do not tell how often they were asked; the table was, once.
            seconds=time.perf_counter() - self._started,
            requests=1,
            rows=self._rows_read,
        )


def _configured(name: str) -> dict[str, str]:
    """What PyIceberg's own settings say of a catalog.

    Raises:
        SourceError: if they say nothing.
    """
    from pyiceberg.utils.config import Config

    config = Config()
    found = config.get_catalog_config(name)
    if found is None:
        there = config.get_known_catalogs()
        raise SourceError(
            f"PyIceberg knows no catalog {name!r}",
            where="Looked in .pyiceberg.yaml (PYICEBERG_HOME, the home folder, the current one) "
            "and in variables that begin with PYICEBERG_CATALOG__",
            allowed=f"It knows: {', '.join(there)}" if there else "",
            fix=closest(name, there) or f"Set PYICEBERG_CATALOG__{name.upper()}__URI, or `catalog`",
        )
    return {str(key): str(value) for key, value in found.items()}


def _properties(options: Mapping[str, str]) -> dict[str, str]:
    """The settings of a store in PyIceberg's words."""
    given = {_NAMES[name]: value for name, value in options.items() if name in _NAMES}
    if "adls.account-name" in given:
        found = {word: os.environ.get(name) for name, word in _OF_ENVIRONMENT.items()}
        given |= {word: value for word, value in found.items() if value}
    if "s3.endpoint" in given:
        # Else the bucket would be part of the host's name, which only Amazon's has for sure.
        given["s3.force-virtual-addressing"] = "false"
    return given


def _schema(table: "Table", snapshot: "Snapshot | None") -> "Schema":
    """The columns of what is watched: the table's, or those of a branch's or tag's snapshot."""
    current = table.current_snapshot()
    if snapshot is None or (current and current.snapshot_id == snapshot.snapshot_id):
        return table.schema()
    if snapshot.schema_id is None:
        return table.schema()
    return table.schemas()[snapshot.schema_id]


def _files(table: "Table", snapshot: int | None) -> "list[FileScanTask]":
    return [] if snapshot is None else list(table.scan(snapshot_id=snapshot).plan_files())


def _identified(files: "Iterable[FileScanTask]") -> "dict[tuple[str, ...], FileScanTask]":
    """The files by what their rows are: the file, and the deletions that count for it."""
    return {
        (task.file.file_path, *sorted(file.file_path for file in task.delete_files)): task
        for task in files
    }


def _between(table: "Table", old: int | None, new: int | None) -> tuple[list[Commit], bool]:
    """The commits between two snapshots, the oldest first, and whether these are all of them.

    What was rolled back is none of them; the rollback is.
    """
    behind = {*_ancestors(table, old)}
    line: list[Commit] = []
    met: int | None = None
    for number in _ancestors(table, new):
        if number in behind:
            met = number
            break
        # The parent of the oldest one that is kept may have expired.
        if snapshot := table.snapshot_by_id(number):
            line.append(_told(snapshot))
    line.reverse()
    if met == old:
        return line, True
    if met is None:
        return line, False
    return [Commit(version=met, operation="rollback"), *line], False


def _operations(commits: Sequence[Commit]) -> str:
    return ", ".join(dict.fromkeys(commit.operation for commit in commits))


def _ancestors(table: "Table", snapshot: int | None) -> Iterator[int]:
    """A snapshot and those that it builds on, as far as they are known."""
    while snapshot is not None:
        yield snapshot
        found = table.snapshot_by_id(snapshot)
        snapshot = found.parent_snapshot_id if found else None


def _told(snapshot: "Snapshot") -> Commit:
    """What the summary of a snapshot says."""
    summary = snapshot.summary
    said = summary.additional_properties if summary else {}

    def number(name: str) -> int:
        # What did not happen is not written.
        return int(said.get(name, 0))

    return Commit(
        version=snapshot.snapshot_id,
        operation=summary.operation.value if summary else "",
        time=dt.datetime.fromtimestamp(snapshot.timestamp_ms / 1000, dt.UTC).isoformat(),
        rows_added=number("added-records"),
        rows_removed=number("deleted-records"),
        files_added=number("added-data-files"),
        files_removed=number("deleted-data-files"),
    )
