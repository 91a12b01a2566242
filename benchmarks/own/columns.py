"""Every row parsed into typed columns, and dropped: no look does with less that reads all rows.

Takes the address of the server and how many requests may be under way at once; it is told (on
standard input) after which key each page starts.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3  # noqa: F401  # Metaflow's client provider imports it
import metaflow.plugins.aws.aws_client  # noqa: F401
import pyarrow.compute  # noqa: F401

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX
from flowproject.config.data import S3Data
from flowproject.sources.s3.pages import parse_rows
from flowproject.sources.s3.scope import BucketLocation
from flowproject.sources.s3.source import open_bucket
from flowproject.tables.object_rows import object_rows

URL, AT_ONCE = sys.argv[1], int(sys.argv[2])
STARTS = json.load(sys.stdin)


def parse() -> dict[str, int]:
    """How many objects there are."""
    location = BucketLocation.parse(BUCKET, PREFIX)
    data = S3Data(bucket=BUCKET, key=PREFIX, endpoint_url=URL)
    bucket = open_bucket(data, location)
    common = {"list-type": "2", "encoding-type": "url", "prefix": PREFIX}

    def rows(start: str) -> int:
        page = bucket.page({**common, "start-after": start})
        columns = parse_rows(page.rows, encoded=page.encoded)
        return len(object_rows(*columns))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return {"objects": sum(threads.map(rows, STARTS))}


report(parse)
