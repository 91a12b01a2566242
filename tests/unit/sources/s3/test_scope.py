import pytest

from flowproject.errors import SourceError
from flowproject.sources.s3.scope import BucketLocation

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"


@pytest.mark.parametrize(
    "bucket, key, name, path",
    [
        ("lake", "raw", "lake", "raw"),
        ("s3://lake", "raw", "lake", "raw"),
        ("S3://lake/", "raw", "lake", "raw"),
        ("s3a://lake", "", "lake", ""),
        ("lake/in", "", "lake", "in"),
        ("s3://lake/in", "raw/x.csv", "lake", "in/raw/x.csv"),
        ("s3://lake/in/", "raw/", "lake", "in/raw/"),
        ("s3://lake//in", "raw", "lake", "/in/raw"),
        ("lake", "/raw", "lake", "/raw"),
        ("lake", "a//b", "lake", "a//b"),
        ("Old_Bucket.2009", "ключ\n", "Old_Bucket.2009", "ключ\n"),
        (ARN, "raw", ARN, "raw"),
        (f"s3://{ARN}/in", "raw", ARN, "in/raw"),
    ],
)
def test_bucket_and_key_mean_one_place(bucket: str, key: str, name: str, path: str):
    assert BucketLocation.parse(bucket, key) == BucketLocation(bucket=name, key=path)


@pytest.mark.parametrize(
    "key, prefix", [("", ""), ("raw", "raw/"), ("raw/", "raw/"), ("a//", "a//"), ("/", "/")]
)
def test_a_prefix_ends_where_a_folder_does(key: str, prefix: str):
    assert BucketLocation.parse("lake", key).prefix == prefix


@pytest.mark.parametrize(
    "bucket", ["", "s3://", "/lake", "gs://lake", "https://lake.s3.amazonaws.com/raw", "la ke", "é"]
)
def test_what_no_bucket_can_be_called_is_an_error_that_says_how(bucket: str):
    with pytest.raises(SourceError, match="names no S3 bucket") as raised:
        BucketLocation.parse(bucket)
    assert "s3://my-bucket/some/path" in str(raised.value)


def test_a_location_reads_as_people_write_it():
    assert str(BucketLocation.parse("lake", "raw/x.csv")) == "s3://lake/raw/x.csv"
