"""What can be watched: a dataclass for each type of source, with the documentation of every key.

Nothing third-party may be imported here: remote tasks read it. A new type is its dataclass, and its
line in `DATA_TYPES`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from flowproject.config.queries import Dialect, DuckDBData, SnowflakeData
from flowproject.config.source import Data, Seconds

__all__ = [
    "DATA_TYPES",
    "AfterMaxWait",
    "AzureData",
    "CheckMode",
    "Data",
    "Dialect",
    "DuckDBData",
    "FilesData",
    "GcsData",
    "ObjectProperty",
    "ObjectsMode",
    "S3Data",
    "SnowflakeData",
]

CheckMode = Literal["files_metadata", "file_size", "file_modified_ts", "file_etag"]
"""What decides that a file changed."""

ObjectsMode = Literal["files_metadata", "files_new", "file_size", "file_modified_ts", "file_etag"]
"""What decides that something changed in an object store."""

AfterMaxWait = Literal["report", "fail", "release"]
"""What becomes of a file or an object that has waited for too long."""

ObjectProperty = Literal["size", "etag", "last_modified"]
"""A property of an object, besides its key, by which a change is noticed."""


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
class S3Data(Data):
    """Objects in an S3 bucket, or in any store that speaks its protocol. Nothing is downloaded."""

    type: Literal["s3"] = "s3"
    """Amazon S3, MinIO, Ceph, Cloudflare R2 and others; credentials as Metaflow finds them."""

    bucket: str
    """Name of the bucket, with or without `s3://`. A path behind it is put before `key`."""

    key: str = ""
    """What to watch in the bucket: a folder at every depth, where `raw` never means `raw2/`; or,
    with a `check_mode` that watches one object, its key. Empty: the whole bucket."""

    check_mode: ObjectsMode = "files_metadata"
    """What decides that something changed: `files_metadata` compares the table of all objects below
    `key`; `files_new` lists only what comes after the last key, for keys that grow in order, and
    sees neither overwritten nor deleted objects; `file_size`, `file_modified_ts` and `file_etag`
    compare that one property of one object, with one request. The default misses nothing."""

    role: str = ""
    """ARN of a role to assume for reading the bucket. Empty: Metaflow's own credentials."""

    region: str = ""
    """Region of the bucket, such as `"eu-north-1"`. Empty: what Metaflow's and AWS's settings say;
    a bucket elsewhere is found by what S3 answers."""

    endpoint_url: str = ""
    """Address of a store that isn't Amazon's. Empty: Metaflow's `METAFLOW_S3_ENDPOINT_URL`, or
    Amazon S3."""

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
class AzureData(Data):
    """Objects (blobs) in a container of Azure Blob Storage. Nothing is downloaded."""

    type: Literal["azure"] = "azure"
    """Azure Blob Storage; credentials as Metaflow finds them, or from the environment."""

    container: str
    """Name of the container, with or without `az://`. A path behind it is put before `key`."""

    key: str = ""
    """What to watch in the container: a folder at every depth, where `raw` never means `raw2/`; or,
    with a `check_mode` that watches one object, its key. Empty: the whole container."""

    check_mode: ObjectsMode = "files_metadata"
    """What decides that something changed: `files_metadata` compares the table of all objects below
    `key`; `files_new` compares only what comes after the last key, for keys that grow in order, and
    sees neither overwritten nor deleted objects; `file_size`, `file_modified_ts` and `file_etag`
    compare that one property of one object, with one request. The default misses nothing."""

    account: str = ""
    """Name of the storage account. Empty: the one in `endpoint_url`, in Metaflow's
    `METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT` or in `AZURE_STORAGE_ACCOUNT_NAME`."""

    endpoint_url: str = ""
    """Address of the Blob service, also of an emulator: `"http://127.0.0.1:10000/devstoreaccount1"`
    is Azurite's. Empty: that of `account`, or Metaflow's setting."""

    include: tuple[str, ...] = ()
    """Patterns (globs) that an object's path below `key` must match one of: `"*.csv"` is for
    objects at the top, `"**/*.csv"` for objects at any depth. Empty: every object."""

    ignore: tuple[ObjectProperty, ...] = ()
    """Properties in which a difference is no change. Azure gives an object a new ETag whenever it
    is written, so that `["etag", "last_modified"]` leaves the size. Empty: every difference
    counts."""

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
class GcsData(Data):
    """Objects in a bucket of Google Cloud Storage. Nothing is downloaded."""

    type: Literal["gcs"] = "gcs"
    """Google Cloud Storage; credentials as Metaflow finds them, or from the environment."""

    bucket: str
    """Name of the bucket, with or without `gs://`. A path behind it is put before `key`."""

    key: str = ""
    """What to watch in the bucket: a folder at every depth, where `raw` never means `raw2/`; or,
    with a `check_mode` that watches one object, its key. Empty: the whole bucket."""

    check_mode: ObjectsMode = "files_metadata"
    """What decides that something changed: `files_metadata` compares the table of all objects below
    `key`; `files_new` compares only what comes after the last key, for keys that grow in order, and
    sees neither overwritten nor deleted objects; `file_size`, `file_modified_ts` and `file_etag`
    compare that one property of one object, with one request. The default misses nothing."""

    endpoint_url: str = ""
    """Address of an emulator. Empty: Google's, or what `GOOGLE_BASE_URL` says."""

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


DATA_TYPES: Final[dict[str, type[Data]]] = {
    "duckdb": DuckDBData,
    "snowflake": SnowflakeData,
    "files": FilesData,
    "s3": S3Data,
    "azure": AzureData,
    "gcs": GcsData,
}
"""Every source type. A new one is its dataclass above and its line here."""
