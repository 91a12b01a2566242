"""One object, by what its headers say."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from flowproject.errors import SourceError
from flowproject.sources.objects import StoredObject

__all__ = ["read_headers"]


def read_headers(key: str, headers: Mapping[str, str]) -> StoredObject:
    """The object that the headers of an answer to HEAD describe; their names in lower case.

    Raises:
        SourceError: if what they say of it can't be read.
    """
    version = headers.get("x-amz-version-id", "null")
    size, modified = headers.get("content-length"), headers.get("last-modified")
    try:
        return StoredObject(
            key=key,
            size=None if size is None else int(size),
            etag=headers.get("etag", "").removeprefix("W/").strip('"'),
            modified=None if modified is None else parsedate_to_datetime(modified),
            version_id="" if version == "null" else version,
        )
    except ValueError as error:
        raise SourceError(
            f"The server's answer for {key!r} can't be read: {error}",
            fix="Check that `endpoint_url` is the address of an S3 server",
        ) from error
