"""Airflow's hook; where the server is stands in its connection, in the environment."""

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def list_keys() -> dict[str, int]:
    """The number of objects."""
    return {"objects": len(S3Hook().list_keys(bucket_name=BUCKET, prefix=PREFIX))}


report(list_keys)
