"""What botocore makes of a configuration; nothing is sent."""

from dataclasses import replace
from typing import Any

import pytest

from flowproject.errors import SourceError
from flowproject.sources.s3.access import Access, open_access
from flowproject.sources.s3.location import Location
from tests.servers import CREDENTIALS

pytestmark = pytest.mark.seconds(20)  # the first test imports boto3


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def opened(bucket: str, region: str = "", endpoint_url: str = "") -> Access:
    return open_access(
        Location(bucket=bucket, key=""), role="", region=region, endpoint_url=endpoint_url
    )


@pytest.mark.parametrize(
    "bucket, region, endpoint_url, url, signed_for",
    [
        ("lake", "", "", "https://lake.s3.amazonaws.com:443", "us-east-1"),
        ("lake", "eu-west-1", "", "https://lake.s3.eu-west-1.amazonaws.com:443", "eu-west-1"),
        ("la.ke", "eu-west-1", "", "https://s3.eu-west-1.amazonaws.com:443/la.ke", "eu-west-1"),
        ("lake", "cn-north-1", "", "https://lake.s3.cn-north-1.amazonaws.com.cn:443", "cn-north-1"),
        ("lake", "", "http://127.0.0.1:9000", "http://127.0.0.1:9000/lake", "us-east-1"),
        ("lake", "", "http://[::1]:9000/s3/", "http://[::1]:9000/s3/lake", "us-east-1"),
        (
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine",
            "",
            "",
            "https://mine-123456789012.s3-accesspoint.eu-west-1.amazonaws.com:443",
            "eu-west-1",
        ),
    ],
)
def test_a_bucket_is_where_botocore_says(
    bucket: str, region: str, endpoint_url: str, url: str, signed_for: str
):
    access = opened(bucket, region, endpoint_url)
    assert access.address.server + access.path == url
    assert access.region == signed_for
    assert access.is_amazon is not bool(endpoint_url)


def test_a_request_names_the_host_as_it_is_signed():
    access = opened("lake", endpoint_url="http://127.0.0.1:9000")
    text = access.request("GET", None, {}, credentials=access.frozen(), ahead=0.0)
    assert text.startswith(b"GET /lake HTTP/1.1\r\nhost:127.0.0.1:9000\r\n")
    plain = opened("lake", "eu-west-1")
    text = plain.request("GET", None, {}, credentials=plain.frozen(), ahead=0.0)
    assert text.startswith(b"GET / HTTP/1.1\r\nhost:lake.s3.eu-west-1.amazonaws.com\r\n")


def test_proxies_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@127.0.0.1:3128")
    access = opened("lake")
    assert access.address.proxy == "http://me:hush@127.0.0.1:3128"
    assert "hush" not in repr(access)
    assert opened("lake", endpoint_url="https://127.0.0.1").address.proxy == ""


def test_certificates_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/some/bundle.pem")
    assert opened("lake", endpoint_url="http://127.0.0.1").address.ca_bundle == "/some/bundle.pem"


@pytest.mark.parametrize(
    "bucket, words",
    [
        ("lake--use1-az4--x-s3", "not supported"),
        ("arn:aws:s3::123456789012:accesspoint:mine.mrap", "not supported"),
        ("x" * 300, "can't be used"),
    ],
)
def test_a_bucket_that_is_not_supported_is_an_error(bucket: str, words: str):
    with pytest.raises(SourceError, match=words):
        opened(bucket)


class Unwilling:
    def get_frozen_credentials(self) -> Any:
        from botocore.exceptions import CredentialRetrievalError

        raise CredentialRetrievalError(provider="assume-role", error_msg="Access denied\nmore")


def test_credentials_that_can_not_be_had_are_an_error():
    access = replace(opened("lake"), credentials=Unwilling())
    with pytest.raises(SourceError, match="assume-role"):
        access.frozen()
