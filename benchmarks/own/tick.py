"""One tick of a project's sensors, as `SensorFlow` has it: look, compare, decide, record.

Takes the project's folder, how many requests may be under way at once, what to expect, and the
address of a server if the AWS client is to be there before the clock starts.
"""

import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import boto3  # noqa: F401  # Metaflow's client provider imports it
import metaflow.plugins.aws.aws_client  # noqa: F401

from benchmarks.probe import report
from benchmarks.scratch import project_context
from flowproject.aws import aws_client
from flowproject.sensing import look, observe
from flowproject.sources.s3.source import S3Source
from flowproject.sources.s3.work_queue import ListingOptions

ROOT, AT_ONCE, EXPECTED = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

for address in sys.argv[4:]:
    aws_client(endpoint_url=address)

if EXPECTED != "unchanged":  # a tick without a change can do without it
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401


def tick() -> dict[str, object]:
    """What was seen."""
    [seen] = observe(project_context(ROOT))
    if seen.outcome != EXPECTED:
        raise RuntimeError(f"this was no tick with the outcome {EXPECTED!r}: {seen}")
    return {"objects": seen.total, "counts": seen.counts}


# How many requests are under way at once is no setting.
with_pace = partial(S3Source, options=ListingOptions(at_once=AT_ONCE))
with patch.object(look, "open_source", with_pace):
    report(tick)
