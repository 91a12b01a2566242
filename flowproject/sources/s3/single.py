"""One object, by what its headers say."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from flowproject.errors import SourceError
from flowproject.sources.objects import Found

__all__ = ["read_headers"]


def read_headers(key: str, headers: Mapping[str, str]) -> Found:
    """The object that the headers of an answer to HEAD describe; their names in lower case.

    Raises:
        SourceError: if they do not say what every object has.
    """
    version = headers.get("x-amz-version-id", "null")
    try:
        return Found(
            key=key,
            size=int(headers["content-length"]),
            etag=headers["etag"].removeprefix("W/").strip('"'),
            modified=parsedate_to_datetime(headers["last-modified"]),
            version_id="" if version == "null" else version,
        )
    except (KeyError, ValueError) as error:
        raise SourceError(
            f"The server's answer for {key!r} can't be read: {error}",
            fix="Check that `endpoint_url` is the address of an S3 server",
        ) from error
