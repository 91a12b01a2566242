"""Metaflow's own S3 client; where the server is stands in its settings, in the environment."""

from metaflow import S3

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX


def list_recursive() -> dict[str, int]:
    """The number of objects."""
    with S3(s3root=f"s3://{BUCKET}/{PREFIX.rstrip('/')}") as s3:
        return {"objects": len(s3.list_recursive())}


report(list_recursive)
