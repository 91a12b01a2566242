"""Observes Iceberg tables through PyIceberg: only what moved since the snapshot that was known.

The snapshot that a branch or tag names is compared by its id, with the table's. Neither sequence
numbers nor times say which of two is newer: a rollback lowers the ones, a wrong clock the others.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Observation, Past
from flowproject.config.data import IcebergData
from flowproject.errors import FlowprojectError, SourceError, closest
from flowproject.secrecy import keep_password, keep_secret, keep_secrets_of
from flowproject.sources import version_gone
from flowproject.sources.result import check_columns, without_garbage_collection
from flowproject.sources.versioned.locations import TableLocation
from flowproject.sources.versioned.table_source import PinnedQuery, TableLook, TableSource
from flowproject.sources.versioned.versions import (
    Candidates,
    Commit,
    GoneError,
    TableVersion,
    WholeTable,
    changed,
    check_limit,
    has_other_columns,
    known_version,
    moment,
    question,
    type_in_words,
    unmoved,
    whole,
    without_rows,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.snapshots import Snapshot

__all__ = ["IcebergSource"]

_NOUN: Final = "snapshot"
_SCHEMA: Final = "schema"
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

_PASSWORD: Final = re.compile(r"://[^:/]*:(.+)@")
_SECRETS: Final = {
    "credential": re.compile(r"[^:]+$"),
    "header.authorization": re.compile(r"\S+$"),
    "adls.account-key": re.compile(r".+"),
    "adls.connection-string": re.compile(r"(?:AccountKey|SharedAccessSignature)=([^;]+)"),
}
"""Settings of PyIceberg's that are secret by another name than most, and what of them is."""

_OF_ENVIRONMENT: Final = {
    "AZURE_STORAGE_ACCOUNT_KEY": "adls.account-key",
    "AZURE_STORAGE_SAS_TOKEN": "adls.sas-token",
}


class IcebergSource(TableSource[IcebergData]):
    """Observes and queries one branch or tag of an Iceberg table."""

    def _look(self) -> TableLook:
        return _IcebergLook(self._data, self._root)


class _IcebergLook(TableLook):
    """One look at a table."""

    def __init__(self, data: IcebergData, root: Path) -> None:
        super().__init__(data, f"{data.catalog}: {data.table}" if data.catalog else data.table)
        self._data = data
        self._root = root
        self._question = question("iceberg", data.catalog, data.table, data.ref, [*data.key])
        self._catalog: Catalog | None = None

    @property
    def requests(self) -> int:
        """One: catalogs and stores do not tell how often they were asked; the table was, once."""
        return 1

    def close(self) -> None:
        """Close the catalog, which may hold a connection to a database."""
        if self._catalog is not None:
            self._catalog.close()

    def observe(self, past: Past | None) -> Observation:
        """The table's current snapshot, and what happened since the one that was known."""
        with self._explained():
            # PyIceberg makes objects of each snapshot it ever had; meanwhile the
            # collector would visit all that a tick has imported, again and again.
            with without_garbage_collection():
                table = self._load()
            known = known_version(past, _NOUN, self._question)
            if past is not None and known is not None and self._is_known(table, known):
                return unmoved(past, known, self.cost, "")
            now = self._described(table)
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
                    f"Snapshot {number} of the Iceberg table has files that are gone", self.place
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
            raise version_gone("The Iceberg table was made anew", self.place)
        if number is None:
            return None  # it was empty
        # An expired one would have no rows, without an error.
        if not isinstance(number, int) or table.snapshot_by_id(number) is None:
            raise version_gone(f"Snapshot {number} of the Iceberg table has expired", self.place)
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
            return unmoved(past, now, self.cost, "")
        # Looked up first: of a snapshot that expired PyIceberg says that it has no rows.
        if known.version is not None and table.snapshot_by_id(known.version) is None:
            raise GoneError(f"snapshot {known.version} has expired")
        commits, is_line = _between(table, known.version, now.version)
        note = without_rows(now, commits)
        if is_line and {commit.operation for commit in commits} <= _NO_ROWS:
            return unmoved(past, now, self.cost, note)
        gone, came = self._files_moved(table, known.version, now.version, commits, is_line)
        if not gone and not came:
            return unmoved(past, now, self.cost, note)
        if not is_compared:
            return changed(now, commits, None, self.cost)
        return self.compared(
            past,
            now,
            commits,
            lambda: Candidates.of_files(
                self._tables(table, gone, is_past=True) if gone else None,
                self._tables(table, came) if came else None,
                self._arrow_schema(table),
                self.check_not_left,
            ),
            lambda: self._whole(past, table, now, commits, ""),
        )

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
            key, limit = self._data.key, self._data.row_limit
            check_columns([*now.columns], key, self.place)
            check_limit(now.rows, limit, self.place)
            tables = self._tables(table, _files(table, now.version))
            rows = WholeTable.gather(tables, key, limit, self.place, self.check_not_left)
        return whole(past, now, commits, rows, self._data.key, self.place, self.cost, note=note)

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
        _keep_secrets_of(settings)
        # All of it: PyIceberg reads its settings once, and @secrets may have set some since.
        # And a look makes no tables of a catalog, where there are none.
        given = {"init_catalog_tables": "false", **settings, **self._blanks(settings)}
        self._catalog = load_catalog(data.catalog, **given)
        return self._catalog.load_table(data.table)

    def _blanks(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """What a catalog's settings do not say of the store, and Metaflow's do."""
        warehouse = str(settings.get("warehouse", ""))
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

    def _is_known(self, table: "Table", known: TableVersion) -> bool:
        """Whether what is watched is the snapshot that was known, in the same columns."""
        snapshot = self._snapshot(table)
        return (
            str(table.metadata.table_uuid) == known.table
            and (snapshot.snapshot_id if snapshot else None) == known.version
            and _schema(table, snapshot).schema_id == known.details.get(_SCHEMA)
        )

    def _described(self, table: "Table") -> TableVersion:
        """The snapshot that is watched, and what the metadata says of it."""
        snapshot = self._snapshot(table)
        summary = snapshot.summary if snapshot else None
        said = summary.additional_properties if summary else {}
        rows = int(said.get("total-records", -1)) if snapshot else 0
        # With files of deletions the summary counts rows that are none of the table's.
        deletes = any(
            said.get(name, "0") != "0"
            for name in ("total-position-deletes", "total-equality-deletes")
        )
        schema = self._arrow_schema(table)
        return TableVersion(
            noun=_NOUN,
            table=str(table.metadata.table_uuid),
            version=snapshot.snapshot_id if snapshot else None,
            rows=None if rows < 0 or deletes else rows,
            columns={field.name: str(field.type) for field in schema},
            types={field.name: type_in_words(field.type) for field in schema},
            question=self._question,
            details={_SCHEMA: _schema(table, snapshot).schema_id},
        )

    def _snapshot(self, table: "Table") -> "Snapshot | None":
        ref = self._data.ref
        if ref == "main":
            return table.current_snapshot()
        if (snapshot := table.snapshot_by_name(ref)) is None:
            raise SourceError(
                f"The Iceberg table has no branch or tag {ref!r}",
                where=self.place,
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
        """The files of two snapshots that only one of them has, or has with other deletions.

        Raises:
            GoneError: if nothing tells any more which files the older one had.
        """
        if old is not None and is_line and {one.operation for one in commits} == {"append"}:
            # Only of an unbroken line of appends: it passes over deletions in silence.
            scan = table.incremental_append_scan(
                from_snapshot_id_exclusive=old, to_snapshot_id_inclusive=new
            )
            return [], list(scan.plan_files())
        try:
            before = _identified(_files(table, old))
        except FileNotFoundError as error:
            raise GoneError("files of the snapshot that was known are gone") from error
        after = _identified(_files(table, new))
        return (
            [task for name, task in before.items() if name not in after],
            [task for name, task in after.items() if name not in before],
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
            self.check_not_left()
            try:
                content = scan.to_table([task])
            except FileNotFoundError as error:
                if not is_past:
                    raise
                raise GoneError("files of the snapshot that was known are gone") from error
            self.rows_read += len(content)
            yield content.cast(schema)

    def _arrow_schema(self, table: "Table") -> "pa.Schema":
        import pyarrow as pa
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        schema = _schema(table, self._snapshot(table))
        return pa.schema(schema_to_pyarrow(schema, include_field_ids=False))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
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
                where=self.place,
                fix="Correct `table` under [data] in flowproject.toml; if the table is there, "
                "somebody removed its files behind the catalog's back",
            )
        if isinstance(error, known.ValidationError) or "Invalid JSON" in str(error):
            return SourceError(
                f"The metadata of the Iceberg table can't be read: {text}",
                where=self.place,
                allowed="It may be half written",
                fix="The next tick looks again; if it says the same, write the metadata anew",
            )
        return SourceError(
            f"The Iceberg table could not be read: {type(error).__name__}: {text}",
            where=self.place,
            fix="Check the catalog's settings in .pyiceberg.yaml or PYICEBERG_CATALOG__..., the "
            "credentials and the network; the next tick looks again",
        )


def _configured(name: str) -> dict[str, Any]:
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
    # Some have settings of their own in them, such as `auth` and `ssl`.
    return {str(key): value for key, value in found.items()}


def _keep_secrets_of(settings: Mapping[str, Any]) -> None:
    """Keep secret what a catalog's settings say of who is asking."""
    keep_secrets_of(settings)
    for name, value in settings.items():
        if isinstance(value, Mapping):
            _keep_secrets_of(value)
        elif name == "uri" and (password := _PASSWORD.search(str(value))):
            keep_password(password[1])
        elif found := _SECRETS.get(name.lower()):
            keep_secret(found.findall(str(value)))


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
    is_line = True
    for number in _ancestors(table, new):
        if number in behind:
            met = number
            break
        snapshot = table.snapshot_by_id(number)
        if snapshot is None:
            is_line = False  # one that came before the oldest that is kept has expired
        else:
            line.append(_told(snapshot))
    line.reverse()
    if met == old:
        return line, is_line
    if met is None:
        return line, False
    return [Commit(version=met, operation="rollback"), *line], False


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
        time=moment(snapshot.timestamp_ms),
        rows_added=number("added-records"),
        rows_removed=number("deleted-records"),
        files_added=number("added-data-files"),
        files_removed=number("deleted-data-files"),
    )
