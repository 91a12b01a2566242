import datetime as dt
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from metaflow.metaflow_config import DATATOOLS_CLIENT_PARAMS

from flowproject.aws import (
    aws_client,
    bucket_request,
    client_credentials,
    forget_clients,
    trusted_certificates,
)
from flowproject.errors import JournalError, SourceError
from tests.proxy import Answer, Asked, proxied
from tests.servers import Moto

pytestmark = [pytest.mark.usefixtures("aws"), pytest.mark.seconds(10)]  # boto3 reads its models


def address(client: Any, bucket: str) -> str:
    return str(bucket_request(client, bucket).url).rstrip("/")


def test_metaflows_settings_count_and_what_is_given_goes_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "endpoint_url", "https://one.example")
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "config", {"read_timeout": 7})
    client = aws_client()
    assert client.meta.endpoint_url == "https://one.example"
    assert (client.meta.config.read_timeout, client.meta.config.connect_timeout) == (7, 10)
    other = aws_client(region="eu-west-1", endpoint_url="https://two.example")
    assert other.meta.endpoint_url == "https://two.example"
    assert other.meta.region_name == "eu-west-1"


def test_metaflows_settings_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "config", Config(max_pool_connections=3))
    before = dict(DATATOOLS_CLIENT_PARAMS)
    assert aws_client(region="eu-west-1").meta.config.max_pool_connections == 3
    assert before == DATATOOLS_CLIENT_PARAMS


@pytest.mark.parametrize(
    "region, endpoint_url, bucket, url",
    [
        ("", "", "data", "https://data.s3.amazonaws.com"),
        ("eu-west-1", "", "data", "https://data.s3.eu-west-1.amazonaws.com"),
        ("eu-west-1", "", "my.data", "https://s3.eu-west-1.amazonaws.com/my.data"),
        ("cn-north-1", "", "data", "https://data.s3.cn-north-1.amazonaws.com.cn"),
        ("", "http://127.0.0.1:9000", "data", "http://127.0.0.1:9000/data"),
        ("", "https://minio.example/s3/", "data", "https://minio.example/s3/data"),
    ],
)
def test_a_bucket_answers_where_botocore_says(
    region: str, endpoint_url: str, bucket: str, url: str
) -> None:
    assert address(aws_client(region=region, endpoint_url=endpoint_url), bucket) == url


def test_the_style_of_addresses_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    style = {"s3": {"addressing_style": "virtual"}}
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "config", style)
    client = aws_client(endpoint_url="https://minio.example")
    assert address(client, "data") == "https://data.minio.example"


def test_where_a_bucket_answers_is_found_without_a_request(moto: Moto) -> None:
    with proxied(moto.endpoint_url) as proxy:
        client = aws_client(endpoint_url=proxy.endpoint_url)
        name = moto.bucket()
        assert address(client, name) == f"{proxy.endpoint_url}/{name}"
        assert proxy.asked == []
        client.head_bucket(Bucket=name)
        assert len(proxy.asked) == 1, "the client is as it was"


def test_a_role_is_taken_on_and_its_credentials_are_renewed(
    moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def run_out_soon(_: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        expiration = f"<Expiration>{soon}<".encode()
        return answer.with_body(re.sub(rb"<Expiration>[^<]*<", expiration, answer.body))

    with proxied(moto.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.endpoint_url)
        role = "arn:aws:iam::123456789012:role/reader"
        credentials = client_credentials(aws_client(role=role))
        proxy.plan = run_out_soon
        assert credentials.get_frozen_credentials().token
        proxy.plan = lambda _, forward: forward()
        for _ in range(3):
            assert credentials.get_frozen_credentials().token
        assert len(proxy.asked) == 2


def test_a_role_that_is_refused_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = aws_client(role="arn:aws:iam::123456789012:role/reader")
    with pytest.raises(SourceError, match=r"Could not connect .* and the role"):
        bucket_request(client, "data")


def test_missing_credentials_name_the_places_that_were_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = aws_client()
    with pytest.raises(SourceError, match="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
        client_credentials(client)
    with pytest.raises(JournalError, match="no AWS credentials"):
        bucket_request(client, "data", failure=JournalError)


def test_without_boto3_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("boto3", "boto3.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(JournalError, match="`python -m pip install boto3`"):
        aws_client(failure=JournalError)


@pytest.mark.parametrize(
    "variable, value, reason",
    [("AWS_PROFILE", "nobody", "nobody"), ("AWS_DEFAULT_REGION", "no where", "no where")],
)
def test_wrong_settings_are_an_error_with_four_parts(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SourceError, match=f"{reason}.* Check AWS_PROFILE"):
        aws_client()


@pytest.mark.parametrize("setting, trusted", [(False, False), ("/etc/ours.pem", "/etc/ours.pem")])
def test_what_certificates_are_held_against_can_be_set(
    monkeypatch: pytest.MonkeyPatch, setting: object, trusted: object
) -> None:
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "verify", setting)
    assert trusted_certificates(aws_client()) == trusted


def test_an_endpoint_that_is_no_address_is_an_error() -> None:
    with pytest.raises(SourceError, match="Invalid endpoint"):
        aws_client(endpoint_url="not an address")


def test_a_client_is_shared_until_settings_differ_or_it_is_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = aws_client(region="eu-west-1")
    assert aws_client(region="eu-west-1") is client
    assert aws_client(region="eu-west-2") is not client
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    other = aws_client(region="eu-west-1")
    assert client_credentials(other).get_frozen_credentials().access_key == "another"
    forget_clients()
    assert aws_client(region="eu-west-1") is not other
