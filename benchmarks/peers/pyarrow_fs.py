"""pyarrow's own file system."""

import sys

from pyarrow.fs import FileSelector, FileType, S3FileSystem

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def select() -> dict[str, int]:
    """The number of objects."""
    files = S3FileSystem(endpoint_override=sys.argv[1], region="us-east-1")
    found = files.get_file_info(FileSelector(f"{BUCKET}/{PREFIX}", recursive=True))
    return {"objects": sum(each.type == FileType.File for each in found)}


report(select)
