"""boto3's paginator; what it finds is kept and pickled, as an artifact of the old scaffold was."""

import pickle
import sys

import boto3

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def keep() -> dict[str, int]:
    """The number of objects, and of the bytes that they take in a pickle."""
    client = boto3.client("s3", endpoint_url=sys.argv[1])
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
    objects = [found for page in pages for found in page.get("Contents", ())]
    return {"objects": len(objects), "bytes": len(pickle.dumps(objects))}


report(keep)
