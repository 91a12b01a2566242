"""Dagster's helper for sensors that watch a prefix."""

import sys

import boto3
from dagster_aws.s3.sensor import get_s3_keys

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def keys() -> dict[str, int]:
    """The number of objects."""
    client = boto3.client("s3", endpoint_url=sys.argv[1])
    return {"objects": len(get_s3_keys(BUCKET, PREFIX, s3_session=client))}


report(keys)
