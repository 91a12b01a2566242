"""Says where in S3 to look, what of it is watched, and by which properties. Pure."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any, Final

from flowproject.config.data import ObjectProperty
from flowproject.errors import SourceError
from flowproject.sources.objects import Watch, identity, is_folder, view
from flowproject.sources.s3.pages import Columns
from flowproject.tables.manifest import key_text
from flowproject.tables.object_rows import object_rows

__all__ = ["BucketLocation", "Scope"]

# What spans' digests are of; another one makes all of them worthless. Rows as the server sent them,
# because to hash is all that is done with most of them.
_FORM: Final = "raw rows 2"

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_ACCESS_POINT: Final = re.compile(r"(arn:[^/]*:accesspoint[:/][^/]+)(?:/(.*))?", re.DOTALL)
# Buckets from before 2018 may have capitals and underscores; botocore allows the same.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{3,255}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketLocation:
    """Names a bucket (or the ARN of an access point), and a key or the start of keys in it."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, bucket: str, key: str = "") -> "BucketLocation":
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


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Selects the objects below `prefix` that match one of the patterns `include`, or are markers.

    `ignore` are properties in which a difference is none.
    """

    bucket: str
    prefix: bytes = b""
    include: tuple[str, ...] = ()
    marker: str = ""
    ignore: tuple[ObjectProperty, ...] = ()

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The columns that make a version."""
        return identity(self.ignore)

    @cached_property
    def view(self) -> str:
        """A digest of everything that decides what a listing means."""
        return view(
            *("s3", self.bucket, self.prefix.hex(), _FORM),
            include=self.include,
            marker=self.marker,
            columns=self.identity,
        )

    def holds(self, key: bytes) -> bool:
        """Whether the object with this key, which is below the prefix, is watched."""
        return self._watch.match(key_text(key))

    def rows(self, columns: Columns) -> Any:
        """The table of those of the objects that are watched.

        Raises:
            ValueError: if a size or a time can't be read.
        """
        every = (columns.keys, columns.sizes, columns.etags, columns.modified)
        if self.identity == ("etag",) and not all(columns.etags):
            raise ValueError("an object has no ETag, and everything else is ignored")
        # In this order, because without patterns no key need become text.
        wanted = [
            not is_folder(key, size) and (not self.include or self.holds(key))
            for key, size in zip(columns.keys, columns.sizes, strict=True)
        ]
        # As a rule: then no column is copied.
        if all(wanted):
            return object_rows(*every)
        return object_rows(*(list(compress(column, wanted)) for column in every))

    @cached_property
    def _watch(self) -> Watch:
        return Watch(key_text(self.prefix), self.include, self.marker)


def _without_scheme(bucket: str) -> str:
    if not (found := _SCHEME.match(bucket)):
        return bucket
    # Hadoop and Spark write s3a and s3n for the same bucket.
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
