"""What the server says is wrong, and is put right: the clock, the credentials, the region."""

import threading
import time
from dataclasses import replace

import pytest
from botocore.credentials import Credentials

from flowproject.sources.s3.signing import Signer
from tests.proxy import Answer, Asked, failure
from tests.unit.sources.s3.lake import KEY_ID, PAGE, SECRET, TOKEN, Lake, access, port_of


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
        body=b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
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
    lake.bucket._approach.access = here
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
