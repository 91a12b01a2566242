"""Describes what can be watched: a dataclass for each type of source, with the docs of every key.

Nothing third-party may be imported here: remote tasks read it. A new type is its dataclass, and its
line in `DATA_TYPES`; or a package of its own, which `plugins` finds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

from flowproject.plugins import plugin, plugin_names

__all__ = [
    "DATA_TYPES",
    "AfterMaxWait",
    "AzureData",
    "CheckMode",
    "Data",
    "DeltaData",
    "Dialect",
    "DuckDBData",
    "FilesData",
    "GcsData",
    "IcebergData",
    "ObjectProperty",
    "ObjectsData",
    "ObjectsMode",
    "PostgresData",
    "S3Data",
    "Seconds",
    "SnowflakeData",
    "SomeSeconds",
    "VersionedData",
]

# The name after the type says which values the parser takes: see `keys`.
Seconds = Annotated[float, "duration"]
SomeSeconds = Annotated[float, "duration above 0"]

Dialect = Literal["", "snowflake"]
"""Whose SQL the files of a project are written in; empty: that of the engine which runs them."""

# Of files too little is known to list only what is new: names on a disk come in no order.
CheckMode = Literal["files_metadata", "file_size", "file_modified_ts", "file_etag"]
"""What decides that a file changed."""

ObjectsMode = Literal["files_metadata", "files_new", "file_size", "file_modified_ts", "file_etag"]
"""What decides that something changed in an object store."""

AfterMaxWait = Literal["report", "fail", "release"]
"""What becomes of a file or an object that has waited for too long."""

ObjectProperty = Literal["size", "etag", "last_modified"]
"""A property of an object, besides its key, by which a change is noticed."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where data lives; each source type has a class of its own."""

    type: str
    """Which kind of source this is; it decides which other keys are legal."""


@dataclass(frozen=True, kw_only=True)
class DuckDBData(Data):
    """The result of a SQL query, run by DuckDB on a database file or on files of the project."""

    type: Literal["duckdb"] = "duckdb"
    """DuckDB runs inside the step: no server, no account."""

    query: str
    """Name of the query to watch, without folder and ending: `"sensor"` is `sql/sensor.sql`."""

    key: tuple[str, ...] = ()
    """Columns that together identify a row, so that rows are told apart as added, modified and
    removed. Empty: the result is compared as a whole, and only its value is known to have changed,
    which suits a query that returns one number."""

    database: str = ""
    """Database file, relative to the project's folder. Empty: a database in memory, which suits
    queries that read CSV, Parquet or JSON files in place."""

    dialect: Dialect = ""
    """What the SQL files are written in. With `"snowflake"` they are translated before they run, so
    that the queries of a project can be tried on DuckDB without an account; every tick says so.
    Empty: DuckDB's own SQL, which runs as it is."""

    settle: Seconds = 0.0
    """How long, in seconds, the files behind the query must have been left alone before a change of
    its result counts, so that one still being written isn't taken for finished. 0: a change counts
    at once, right for files that are moved into place whole."""

    row_limit: int = 10_000_000
    """Rows above which a result is an error: most likely a join or a condition is not what was
    meant. Memory does not grow with the rows that a sensor watches, only with those that
    `self.query` gives."""


@dataclass(frozen=True, kw_only=True)
class SnowflakeData(Data):
    """The result of a SQL query, run by Snowflake."""

    type: Literal["snowflake"] = "snowflake"
    """Snowflake, through its own connector, which the extra `snowflake` installs."""

    query: str
    """Name of the query to watch, without folder and ending: `"sensor"` is `sql/sensor.sql`."""

    key: tuple[str, ...] = ()
    """Columns that together identify a row, so that rows are told apart as added, modified and
    removed. Empty: the result is compared as a whole, and only its value is known to have changed,
    which suits a query that returns one number."""

    integration: str = ""
    """Name of an Outerbounds integration to connect with, where the Outerbounds distribution of
    Metaflow is installed. Empty: `connection`, or the environment."""

    connection: str = ""
    """Name of a connection in Snowflake's own file `connections.toml`. Empty: the environment,
    `SNOWFLAKE_ACCOUNT`, `SNOWFLAKE_USER` and so on, which Metaflow's `@secrets` can fill."""

    warehouse: str = ""
    """Virtual warehouse that runs the queries. Empty: what the connection says, or the user's
    default. The same is true of the next three."""

    role: str = ""
    """Role that the queries run with."""

    database: str = ""
    """Database in which the names of a query are looked up."""

    schema: str = ""
    """Schema in which the names of a query are looked up."""

    timeout: SomeSeconds = 600.0
    """How long one query may take, in seconds, with connecting and reading its result. It is
    cancelled on the server then, and not just left alone. A sensor's own `timeout` may end it
    earlier."""

    gate: Literal["", "commit_time"] = ""
    """`commit_time` asks first when the tables behind the query were last written to, and runs the
    query only if one of them was. Empty: every tick runs the query. Nobody has verified yet that
    asking wakes no warehouse."""

    tables: tuple[str, ...] = ()
    """The tables that `gate` asks about, as `"database.schema.table"`. Empty: those that the query
    names, and those that Snowflake's plan of it reads. List them where a tick says that it could
    not be gated, and you know that the result depends on no others."""

    row_limit: int = 1_000_000
    """Rows above which a result is an error instead of a very slow tick. The default is about what
    a small container holds in memory."""


@dataclass(frozen=True, kw_only=True)
class PostgresData(Data):
    """The result of a SQL query, run by PostgreSQL."""

    type: Literal["postgres"] = "postgres"
    """PostgreSQL 14 or newer, through Arrow's driver, which the extra `postgres` installs."""

    query: str
    """Name of the query to watch, without folder and ending: `"sensor"` is `sql/sensor.sql`."""

    key: tuple[str, ...] = ()
    """Columns that together identify a row, so that rows are told apart as added, modified and
    removed. Empty: the result is compared as a whole, and only its value is known to have changed,
    which suits a query that returns one number."""

    url: str = ""
    """Address of the database, without a password:
    `"postgresql://reader@db.example.com:5432/shop?sslmode=verify-full"`. Empty: the environment,
    `DATABASE_URL`, or `PGHOST`, `PGDATABASE`, `PGUSER`, `PGSERVICE` and so on, which Metaflow's
    `@secrets` can fill. The password is that of `PGPASSWORD`, `DATABASE_URL` or a `.pgpass`."""

    schema: str = ""
    """Schema in which the names of a query are looked up first, before the role's search path.
    Empty: that path alone."""

    timeout: SomeSeconds = 600.0
    """How long one query may take, in seconds, with connecting, waiting for locks and reading its
    result. It is cancelled on the server then. A sensor's own `timeout` may end it earlier."""

    gate: Literal["snapshot", ""] = "snapshot"
    """`snapshot` asks first whether anything was committed in the server since the last look, which
    reads no table, and runs the query only then. A query whose result changes without a commit (by
    the clock, by a table elsewhere) is noticed, and runs every time. Empty: every query does."""

    row_limit: int = 1_000_000
    """Rows above which a result is an error instead of a very slow tick. The default is about what
    a small container holds in memory."""


@dataclass(frozen=True, kw_only=True)
class FilesData(Data):
    """Files in a local folder."""

    type: Literal["files"] = "files"
    """A folder on this machine; useful on a laptop and on a mounted volume."""

    path: str
    """Folder, or one file, relative to the project's folder. Folders are watched at every depth."""

    check_mode: CheckMode = "files_metadata"
    """What decides that a file changed: `files_metadata` compares the table of files with size and
    modification time of each; `file_size`, `file_modified_ts` and `file_etag` (a digest of the
    content, which reads every byte) compare that one property. The default sees every ordinary
    change without opening a file."""

    include: tuple[str, ...] = ()
    """Patterns (globs) that a file's path below `path` must match one of: `"*.csv"` is for files at
    the top, `"**/*.csv"` for files at any depth. Empty: every file."""

    settle: Seconds = 0.0
    """How long, in seconds, a file must have been left alone before it counts, so that one still
    being written isn't taken for finished; others don't wait for it. 0: a change counts at once,
    right for files that are moved into place whole."""

    marker: str = ""
    """Name of a file, for example `_SUCCESS`, without which changes in its folder and below don't
    count yet; other folders don't wait for it. Empty: no marker is needed."""

    max_wait: Seconds = 3600.0
    """How long, in seconds, a file may have to wait for `settle` or `marker` before something is
    done about it. The default is longer than one delivery is written, as a rule. 0: for ever."""

    after_max_wait: AfterMaxWait = "report"
    """What is done after `max_wait`: `report` says so in every tick's log and on its card, `fail`
    fails the tick as well, and `release` takes a file as it is, finished or not."""


@dataclass(frozen=True, kw_only=True)
class ObjectsData(Data):
    """Objects in a store, whichever it is: what all their classes below have in common."""

    key: str = ""
    """What to watch in the bucket or container: a folder at every depth, where `raw` never means
    `raw2/`; or, with a `check_mode` that watches one object, its key. Empty: all of it."""

    check_mode: ObjectsMode = "files_metadata"
    """What decides that something changed: `files_metadata` compares the table of all objects below
    `key`; `files_new` compares only what comes after the last key, for keys that grow in order, and
    sees neither overwritten nor deleted objects; `file_size`, `file_modified_ts` and `file_etag`
    compare that one property of one object, with one request. The default misses nothing."""

    include: tuple[str, ...] = ()
    """Patterns (globs) that an object's path below `key` must match one of: `"*.csv"` is for
    objects at the top, `"**/*.csv"` for objects at any depth. Empty: every object."""

    ignore: tuple[ObjectProperty, ...] = ()
    """Properties in which a difference is no change: with `["last_modified"]` an object that was
    written again with the same content is the same. Empty: every difference counts."""

    settle: Seconds = 0.0
    """How long, in seconds, an object must have been left alone before it counts, so that one that
    is written several times counts once; others don't wait for it. For a batch to count as a whole
    there is `marker`. 0: a change counts at once, for an object is there whole or not at all."""

    marker: str = ""
    """Name of an object, for example `_SUCCESS`, without which changes in its folder and below
    don't count yet; other folders don't wait for it. Empty: no marker is needed."""

    max_wait: Seconds = 3600.0
    """How long, in seconds, an object may have to wait for `settle` or `marker` before something is
    done about it. The default is longer than one delivery is written, as a rule. 0: for ever."""

    after_max_wait: AfterMaxWait = "report"
    """What is done after `max_wait`: `report` says so in every tick's log and on its card, `fail`
    fails the tick as well, and `release` takes an object as it is, finished or not."""


@dataclass(frozen=True, kw_only=True)
class S3Data(ObjectsData):
    """Objects in an S3 bucket, or in any store that speaks its protocol. Nothing is downloaded."""

    type: Literal["s3"] = "s3"
    """Amazon S3, MinIO, Ceph, Cloudflare R2 and others; credentials as Metaflow finds them."""

    bucket: str
    """Name of the bucket, with or without `s3://`. A path behind it is put before `key`."""

    role: str = ""
    """ARN of a role to assume for reading the bucket. Empty: Metaflow's own credentials."""

    region: str = ""
    """Region of the bucket, such as `"eu-north-1"`. Empty: what Metaflow's and AWS's settings say;
    a bucket elsewhere is found by what S3 answers."""

    endpoint_url: str = ""
    """Address of a store that isn't Amazon's. Empty: Metaflow's `METAFLOW_S3_ENDPOINT_URL`, or
    Amazon S3."""


@dataclass(frozen=True, kw_only=True)
class AzureData(ObjectsData):
    """Objects (blobs) in a container of Azure Blob Storage. Nothing is downloaded."""

    type: Literal["azure"] = "azure"
    """Azure Blob Storage; credentials as Metaflow finds them, or from the environment."""

    container: str
    """Name of the container, with or without `az://`. A path behind it is put before `key`."""

    account: str = ""
    """Name of the storage account. Empty: the one in `endpoint_url`, in Metaflow's
    `METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT` or in `AZURE_STORAGE_ACCOUNT_NAME`."""

    endpoint_url: str = ""
    """Address of the Blob service, also of an emulator: `"http://127.0.0.1:10000/devstoreaccount1"`
    is Azurite's. Empty: that of `account`, or Metaflow's setting."""

    # Said again, because the example of the others is none here.
    ignore: tuple[ObjectProperty, ...] = ()
    """Properties in which a difference is no change. Azure gives an object a new ETag whenever it
    is written, so that `["etag", "last_modified"]` leaves the size. Empty: every difference
    counts."""


@dataclass(frozen=True, kw_only=True)
class GcsData(ObjectsData):
    """Objects in a bucket of Google Cloud Storage. Nothing is downloaded."""

    type: Literal["gcs"] = "gcs"
    """Google Cloud Storage; credentials as Metaflow finds them, or from the environment."""

    bucket: str
    """Name of the bucket, with or without `gs://`. A path behind it is put before `key`."""

    endpoint_url: str = ""
    """Address of an emulator. Empty: Google's, or what `GOOGLE_BASE_URL` says."""


class _DataTypes(Mapping[str, type[Data]]):
    """Every source type: ours, and behind them those of packages that are installed."""

    def __init__(self, ours: Mapping[str, type[Data]]) -> None:
        self._ours = ours

    def __getitem__(self, kind: str) -> type[Data]:
        # Packages are not asked for what is ours: every step of every run comes here.
        return self._ours[kind] if kind in self._ours else cast("type[Data]", plugin(kind).data)

    def __contains__(self, kind: object) -> bool:
        return kind in self._ours or kind in plugin_names()

    def __iter__(self) -> Iterator[str]:
        yield from self._ours
        yield from (name for name in plugin_names() if name not in self._ours)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, kw_only=True)
class VersionedData(Data):
    """A table that knows its version: what Delta and Iceberg have in common."""

    key: tuple[str, ...] = ()
    """Columns that together identify a row, so that rows are told apart as added, modified and
    removed. Empty: no row is read, and a change says what the table's own log says of it: versions,
    operations, numbers of rows and files."""

    row_limit: int = 1_000_000
    """Rows above which a table with `key` is an error instead of a very slow tick: at the first
    look all of them are read. The default is about what a small container holds in memory."""

    role: str = ""
    """ARN of a role to assume for reading from S3. Empty: Metaflow's own credentials."""

    region: str = ""
    """Region of an S3 bucket, such as `"eu-north-1"`. Empty: what Metaflow's and AWS's settings
    say."""

    endpoint_url: str = ""
    """Address of a store that isn't Amazon's, Microsoft's or Google's own. Empty: what Metaflow's
    settings and the environment say."""

    account: str = ""
    """Name of the storage account, on Azure. Empty: the one in `endpoint_url`, in Metaflow's
    `METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT` or in `AZURE_STORAGE_ACCOUNT_NAME`."""


@dataclass(frozen=True, kw_only=True)
class DeltaData(VersionedData):
    """A Delta table: a folder with a `_delta_log`, on a disk or in an object store."""

    type: Literal["delta"] = "delta"
    """Delta Lake, read through delta-rs, which the extra `delta` installs."""

    table: str
    """The table's folder, relative to the project's folder; or a URL such as
    `"s3://bucket/path/of/the/table"`, with `gs://` or `az://` for Google's and Azure's stores."""


@dataclass(frozen=True, kw_only=True)
class IcebergData(VersionedData):
    """An Iceberg table: of a catalog, or described by a metadata file."""

    type: Literal["iceberg"] = "iceberg"
    """Apache Iceberg, read through PyIceberg, which the extra `iceberg` installs."""

    table: str
    """The table's name in the catalog, such as `"sales.orders"`. Without `catalog`: its metadata
    file, relative to the project's folder or a URL, which whoever writes must put at the same place
    each time: `"s3://bucket/t/metadata/current.metadata.json"`."""

    catalog: str = ""
    """Name of a catalog in PyIceberg's own settings: a file `.pyiceberg.yaml`, or variables such as
    `PYICEBERG_CATALOG__PROD__URI`. REST, SQL and Glue are tried. Empty: `table` is a metadata
    file."""

    ref: str = "main"
    """The branch or tag whose snapshots are watched; commits to others are no change."""


# In the order in which messages and the reference page list them.
DATA_TYPES: Final = _DataTypes(
    {
        "duckdb": DuckDBData,
        "snowflake": SnowflakeData,
        "postgres": PostgresData,
        "files": FilesData,
        "s3": S3Data,
        "azure": AzureData,
        "gcs": GcsData,
        "delta": DeltaData,
        "iceberg": IcebergData,
    }
)
"""Every source type. A new one of ours is its dataclass above and its line here."""
