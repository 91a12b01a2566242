"""boto3's paginator, every object looked at and forgotten."""

import sys

import boto3

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def count() -> dict[str, int]:
    """The number of objects."""
    client = boto3.client("s3", endpoint_url=sys.argv[1])
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
    return {"objects": sum(1 for page in pages for _ in page.get("Contents", ()))}


report(count)
