"""Trained on objects of a bucket that lives for the time of a test."""

import boto3
import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture
def bucket(project_copy):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    project_copy.environment |= {
        **KEYS,
        "METAFLOW_S3_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    own = {name.lower(): text for name, text in KEYS.items()}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **own)
    client.create_bucket(Bucket="lake")
    yield client
    server.stop()


def test_it_is_trained_on_what_arrived(project_copy, bucket):
    bucket.put_object(Bucket="lake", Key="training/1.csv", Body=b"0,1\n1,3\n")
    bucket.put_object(Bucket="lake", Key="training/2.csv", Body=b"2,5\n")
    change = project_copy.change(added=["training/1.csv", "training/2.csv"])
    run = project_copy.run("trainflow.py", change)
    assert run.data.objects == ["s3://lake/training/1.csv", "s3://lake/training/2.csv"]
    assert (round(run.data.slope, 6), round(run.data.intercept, 6)) == (2.0, 1.0)
