"""What botocore makes of a configuration; nothing is sent."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.credentials import Credentials

from flowproject.errors import SourceError
from flowproject.sources.s3.access import Access, open_access
from flowproject.sources.s3.scope import BucketLocation
from flowproject.sources.s3.signing import Signer
from tests.proxy import Answer, Asked, failure
from tests.servers import CREDENTIALS
from tests.unit.sources.s3.lake import KEY_ID, PAGE, SECRET, TOKEN, Lake, access, port_of

pytestmark = pytest.mark.seconds(20)  # the first test imports boto3


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def opened(bucket: str, region: str = "", endpoint_url: str = "") -> Access:
    return open_access(
        BucketLocation(bucket=bucket, key=""), role="", region=region, endpoint_url=endpoint_url
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


def test_a_clock_that_is_ten_minutes_off_is_corrected_once_for_all(lake: Lake):
    lake.server.clock = time.time() + 600

    def plan(asked: Asked, _: object) -> Answer:
        moment = time.strftime("%Y%m%dT%H%M", time.gmtime(time.time() + 600))
        right = asked.headers["x-amz-date"].startswith(moment[:-1])
        return PAGE if right else failure(403, "RequestTimeTooSkewed")

    lake.server.plan = plan
    assert [lake.keys(), lake.keys()] == [b"raw/a"] * 2
    assert len(lake.server.asked) == 3


def test_a_clock_that_can_not_be_corrected_is_an_error(lake: Lake):
    lake.server.clock = time.time() + 600
    lake.answers(failure(403, "RequestTimeTooSkewed"))
    assert "clock is wrong" in lake.message()
    assert len(lake.server.asked) == 2


def with_token(asked: Asked, token: str) -> bool:
    return asked.headers.get("x-amz-security-token") == token


def test_credentials_that_have_run_out_are_renewed_once_for_all_threads(lake: Lake):
    lake.access = lambda _: access(
        port_of(lake.server), credentials=Credentials(KEY_ID, SECRET, "a-new-token")
    )
    lake.server.plan = lambda asked, _: (
        PAGE if with_token(asked, "a-new-token") else failure(400, "ExpiredToken")
    )
    threads = [threading.Thread(target=lake.keys) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.keys() == b"raw/a"
    assert lake.regions == ["", ""]


def test_credentials_that_can_not_be_renewed_are_an_error(lake: Lake):
    lake.answers(failure(400, "ExpiredToken", f"The token {TOKEN} has expired"))
    assert "have run out" in lake.message()
    assert len(lake.server.asked) == 2


def test_an_object_is_found_with_renewed_credentials_though_head_says_no_reason(lake: Lake):
    lake.access = lambda _: access(
        port_of(lake.server), credentials=Credentials(KEY_ID, SECRET, "a-new-token")
    )

    def plan(asked: Asked, _: object) -> Answer:
        if not with_token(asked, "a-new-token"):
            return failure(400, "ExpiredToken")
        return Answer(status=200, headers={"ETag": "x"})

    lake.server.plan = plan
    assert lake.bucket.head("raw/x.csv") == {"etag": "x", "content-length": "0"}
    assert [asked.method for asked in lake.server.asked] == ["HEAD", "GET", "HEAD"]


REDIRECTS = [
    failure(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-west-1"}),
    failure(307, "TemporaryRedirect", **{"x-amz-bucket-region": "eu-west-1"}),
    Answer(
        status=400,
        body=b"<Error><Code>AuthorizationHeaderMalformed</Code><ListingRange>eu-west-1</ListingRange></Error>",
    ),
]


@pytest.mark.parametrize("redirect", REDIRECTS, ids=str)
def test_a_bucket_of_aws_is_followed_to_its_region(lake: Lake, redirect: Answer):
    here = access(port_of(lake.server), is_amazon=True)
    lake.access = lambda region: replace(
        here,
        region=region or "us-east-1",
        signer=Signer(host="127.0.0.1", region=region or "us-east-1"),
    )
    lake.bucket._shared.access = here
    lake.server.plan = lambda asked, _: (
        PAGE if "/eu-west-1/s3/" in asked.headers["authorization"] else redirect
    )
    assert [lake.keys(), lake.keys()] == [b"raw/a"] * 2
    assert lake.regions == ["", "eu-west-1"]
    assert len(lake.server.asked) == 3


@pytest.mark.parametrize("redirect", REDIRECTS, ids=str)
def test_other_servers_lead_nowhere_else(lake: Lake, redirect: Answer):
    lake.answers(redirect)
    assert 'Put region = "eu-west-1" under [data]' in lake.message()
    assert lake.regions == [""]
