"""Observes S3: the objects below a key, only the new ones of them, or a single one."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event
from typing import Final, Protocol

from flowproject.aws import aws_client
from flowproject.changes.canonical import Json
from flowproject.changes.observation import Cost, Observation, Past, Progress
from flowproject.config.data import S3Data
from flowproject.errors import SourceError
from flowproject.sources import WithoutQueries, stopped, version_gone
from flowproject.sources.objects import (
    StoredObject,
    known_position,
    known_table,
    new_objects_observation,
    object_observation,
    table_observation,
)
from flowproject.sources.s3.access import Access, open_access
from flowproject.sources.s3.bucket import Bucket
from flowproject.sources.s3.lister import Lister
from flowproject.sources.s3.pages import ListingClient, PageProvider, UnorderedError, last_key
from flowproject.sources.s3.scope import BucketLocation, Scope
from flowproject.sources.s3.signing import Query
from flowproject.sources.s3.versions import find_versions
from flowproject.sources.s3.work_queue import ListingOptions
from flowproject.tables.builder import Built
from flowproject.tables.lazy_rows import with_versions
from flowproject.tables.manifest import key_bytes, key_text
from flowproject.tables.table import ObjectTable

__all__ = ["BucketLike", "S3Source", "open_bucket", "read_object"]

# A version that was deleted, an object that was, one that is another by now, a marker of deletion.
_GONE: Final = frozenset(
    ["NoSuchVersion", "NoSuchKey", "PreconditionFailed", "MethodNotAllowed", "404", "412"]
)

# What watches a prefix and not one object.
_WHOLE: Final = ("files_metadata", "files_new")


class BucketLike(PageProvider, Protocol):
    """Answers for a bucket, and counts requests and the bytes of answers."""

    requests: int
    received: int

    def get(self, query: Query) -> bytes:
        """The body of the answer to a question."""
        ...

    def head(self, key: str) -> Mapping[str, str] | None:
        """The headers of an object; None if there is no such object."""
        ...

    def close(self) -> None:
        """End the connections."""


class S3Source(WithoutQueries):
    """Observes objects in a bucket."""

    def __init__(
        self,
        data: S3Data,
        root: Path,
        *,
        opener: Callable[[S3Data, BucketLocation], BucketLike] | None = None,
        options: ListingOptions | None = None,
    ) -> None:
        del root  # nothing here is relative to it
        super().__init__(data)
        self._data = data
        self._open_bucket = opener or open_bucket
        self._options = options or ListingOptions()
        self._cancelled = Event()
        self._bucket: BucketLike | None = None
        self._progress: Callable[[], Progress | None] = lambda: None

    def check(self) -> None:
        """Refuse a bucket that can't be, and a missing key where one object is watched.

        Raises:
            SourceError: which of both.
        """
        location = self._location()
        # Without a key the bucket itself would be asked for, and taken for an object.
        if self._data.check_mode not in _WHOLE and not location.key:
            raise SourceError(
                f"check_mode = {self._data.check_mode!r} watches one object, and `key` is empty",
                fix='Name the object in `key`, or put check_mode = "files_metadata"',
            )

    def observe(self, past: Past | None = None) -> Observation:
        """The table of objects and what happened to it, what is new, or the property of the object.

        Raises:
            SourceError: if the bucket does not answer, or refuses to.
            FlowprojectError: if what was recorded of the past can't be read.
        """
        self.check()
        started = time.perf_counter()
        with closing(self._open_bucket(self._data, self._location())) as bucket:
            # In this order: `cancel` sets the event first, so that one of both is seen here.
            self._bucket = bucket
            if self._cancelled.is_set():
                raise stopped()
            seen = self._look(bucket, past)
            return replace(
                seen,
                cost=replace(
                    seen.cost,
                    seconds=time.perf_counter() - started,
                    requests=bucket.requests,
                    bytes=bucket.received,
                ),
            )

    def cancel(self) -> None:
        """End a running `observe`, and every later one."""
        self._cancelled.set()
        if self._bucket:
            self._bucket.cancel()

    def progress(self) -> Progress | None:
        """How many keys are listed, of how many that there were."""
        return self._progress()

    def _location(self) -> BucketLocation:
        return BucketLocation.parse(self._data.bucket, self._data.key)

    def _scope(self) -> Scope:
        location = self._location()
        return Scope(
            bucket=location.bucket,
            prefix=key_bytes(location.prefix),
            include=self._data.include,
            marker=self._data.marker,
            ignore=self._data.ignore,
        )

    def _look(self, bucket: BucketLike, past: Past | None) -> Observation:
        if self._data.check_mode == "files_metadata":
            return self._look_at_all(bucket, past)
        if self._data.check_mode == "files_new":
            try:
                return self._look_for_new(bucket, past)
            except UnorderedError as error:
                raise _needs_order() from error
        return self._look_at_one(bucket)

    def _look_at_all(self, bucket: BucketLike, past: Past | None) -> Observation:
        known = known_table(past)
        lister = Lister(bucket, self._scope(), known, options=self._options)
        self._follow(lister, expected=0 if known is None else known.manifest.listed)
        built = lister.run()
        if known is not None:  # of a first look nobody asks which version it was
            built = self._versioned(built, bucket)
        compared = known is not None or not (past and past.items)
        return table_observation(built, Cost(rows=built.items.manifest.listed), compared=compared)

    def _look_for_new(self, bucket: BucketLike, past: Past | None) -> Observation:
        scope = self._scope()
        known = known_position(past, self._location().prefix)
        if known is None:
            # Nothing is new at the first look. The last key is found without listing all others.
            client = ListingClient(bucket, scope.prefix, self._options.page_size)
            return new_objects_observation(key_text(last_key(client) or b""), None, Cost())
        lister = Lister(bucket, scope, after=key_bytes(known), options=self._options)
        self._follow(lister)
        built = self._versioned(lister.run(), bucket)
        cost = Cost(rows=built.items.manifest.listed)
        return new_objects_observation(_last_key_of(built.items) or known, built.difference, cost)

    def _look_at_one(self, bucket: BucketLike) -> Observation:
        key = self._location().key
        headers = bucket.head(key)
        found = None if headers is None else _read_headers(key, headers)
        return object_observation(self._data.check_mode, found, Cost(rows=int(found is not None)))

    def _versioned(self, built: Built, bucket: BucketLike) -> Built:
        """Add to what was listed the version ids of what arrived."""
        # After the listing and not instead of it: all versions that there ever were are listed.
        versions = find_versions(bucket, self._location().prefix, built.difference)
        if not versions:
            return built
        return replace(built, difference=with_versions(built.difference, versions))

    def _follow(self, lister: Lister, expected: int = 0) -> None:
        self._progress = lambda: Progress(seen=lister.seen, expected=expected)


def read_object(data: S3Data, path: str, item: Mapping[str, Json]) -> bytes:
    """The content of the version of an object that `item` tells of.

    Of a bucket that keeps no versions it is the object, if it is still that one.

    Raises:
        SourceError: if that version is gone, or the bucket does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    version, etag = str(item.get("version_id") or ""), str(item.get("etag") or "").strip('"')
    which = {"VersionId": version} if version else {"IfMatch": f'"{etag}"'} if etag else {}
    location = BucketLocation.parse(data.bucket, data.key)
    client = aws_client(role=data.role, region=data.region, endpoint_url=data.endpoint_url)
    try:
        answer = client.get_object(Bucket=location.bucket, Key=str(item["key"]), **which)
        content: bytes = answer["Body"].read()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _GONE:
            raise version_gone(f"The object is not there as it was seen ({code})", path) from error
        raise SourceError(f"S3 refuses the object: {code}", where=path) from error
    except BotoCoreError as error:
        raise SourceError(f"S3 does not answer: {type(error).__name__}", where=path) from error
    return content


def open_bucket(data: S3Data, location: BucketLocation) -> Bucket:
    """The bucket as Metaflow's AWS client would reach it; no request is sent yet.

    Raises:
        SourceError: if there are no credentials, or the settings are wrong.
    """

    # More than once, where Amazon says that the bucket is in another region than the settings.
    def reach(elsewhere: str) -> Access:
        return open_access(
            location,
            role=data.role,
            region=elsewhere or data.region,
            endpoint_url=data.endpoint_url,
        )

    return Bucket(location, reach)


def _last_key_of(items: ObjectTable) -> str:
    """The last key of a table; empty if it has none."""
    full = [span for span in items.manifest.spans if span.count]
    return key_text(items.rows(full[-1])["key"][-1].as_py()) if full else ""


def _needs_order() -> SourceError:
    """The error for a server that has no order in which something could be the last."""
    return SourceError(
        'check_mode = "files_new" needs a server that lists keys in order, and this one does not',
        fix='Put check_mode = "files_metadata", which compares everything',
    )


def _read_headers(key: str, headers: Mapping[str, str]) -> StoredObject:
    """The object that the headers of an answer to HEAD describe; their names in lower case.

    Raises:
        SourceError: if what they say of it can't be read.
    """
    # "null" is S3's id for what was written while the bucket kept no versions.
    version = headers.get("x-amz-version-id", "null")
    size, modified = headers.get("content-length"), headers.get("last-modified")
    try:
        return StoredObject(
            key=key,
            size=None if size is None else int(size),
            # A weak ETag is a proxy's that compressed; a listing has the same without the mark.
            etag=headers.get("etag", "").removeprefix("W/").strip('"'),
            modified=None if modified is None else parsedate_to_datetime(modified),
            version_id="" if version == "null" else version,
        )
    except ValueError as error:
        raise SourceError(
            f"The server's answer for {key!r} can't be read: {error}",
            fix="Check that `endpoint_url` is the address of an S3 server",
        ) from error
