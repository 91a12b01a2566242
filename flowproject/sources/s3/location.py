"""Where in S3 to look: the bucket and the key or prefix that a configuration means. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from flowproject.errors import SourceError

__all__ = ["Location"]

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_ACCESS_POINT: Final = re.compile(r"(arn:[^/]*:accesspoint[:/][^/]+)(?:/(.*))?", re.DOTALL)
# Buckets from before 2018 may have capitals and underscores; botocore allows the same.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{3,255}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A bucket (or the ARN of an access point), and a key or the start of keys in it."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, bucket: str, key: str = "") -> "Location":
        """The location that `bucket` and `key` of a configuration mean together.

        `bucket` may begin with `s3://` and go on with a path, which then comes before `key`.
        Slashes are kept as they are, at the front of a key too: S3 tells `/raw` from `raw`.

        Raises:
            SourceError: if no bucket can have such a name.
        """
        name, path = _split(_without_scheme(bucket))
        if not (_NAME.fullmatch(name) or _ACCESS_POINT.fullmatch(name)):
            raise _unusable(bucket)
        joint = "/" if path and key and not path.endswith("/") else ""
        return cls(bucket=name, key=path + joint + key)

    @property
    def prefix(self) -> str:
        """What all keys below begin with: it ends in a slash, or is empty for a whole bucket."""
        return self.key if not self.key or self.key.endswith("/") else f"{self.key}/"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def _without_scheme(bucket: str) -> str:
    if not (found := _SCHEME.match(bucket)):
        return bucket
    if found[1].lower() not in ("s3", "s3a", "s3n"):
        raise _unusable(bucket)
    return bucket[found.end() :]


def _split(text: str) -> tuple[str, str]:
    if found := _ACCESS_POINT.fullmatch(text):
        return found[1], found[2] or ""
    name, _, path = text.partition("/")
    return name, path


def _unusable(bucket: str) -> SourceError:
    return SourceError(
        f"bucket = {bucket!r} names no S3 bucket",
        allowed="It may be written 'my-bucket', 's3://my-bucket' or 's3://my-bucket/some/path'",
        fix="Correct `bucket` under [data] in flowproject.toml",
    )
