"""s3fs, with all that it knows of each object."""

import sys

from s3fs import S3FileSystem

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def find() -> dict[str, int]:
    """The number of objects."""
    files = S3FileSystem(endpoint_url=sys.argv[1])
    return {"objects": len(files.find(f"{BUCKET}/{PREFIX}", detail=True))}


report(find)
