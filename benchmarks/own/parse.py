"""A full parse: a look without a past, every row read into the table of objects, none recorded.

Takes the address of the server and how many requests may be under way at once.
"""

import sys
from pathlib import Path

import boto3  # noqa: F401  # Metaflow's client provider imports it
import metaflow.plugins.aws.aws_client  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX
from flowproject.config.data import S3Data
from flowproject.sources.s3.source import S3Source
from flowproject.sources.s3.work_queue import ListingOptions

URL, AT_ONCE = sys.argv[1], int(sys.argv[2])


def parse() -> dict[str, object]:
    """How many objects there are."""
    data = S3Data(bucket=BUCKET, key=PREFIX, endpoint_url=URL)
    seen = S3Source(data, Path(), options=ListingOptions(at_once=AT_ONCE)).observe()
    return {"objects": seen.value}


report(parse)
