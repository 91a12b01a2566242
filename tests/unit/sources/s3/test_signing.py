"""The light signature is botocore's to the byte."""

import datetime as dt
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from flowproject.sources.s3.access import Access
from flowproject.sources.s3.http_client import Address
from flowproject.sources.s3.signing import Signer, query_text

NAMES = st.sampled_from(
    ["list-type", "prefix", "start-after", "max-keys", "encoding-type", "delimiter", "versions"]
) | st.text("abcxyz-", min_size=1, max_size=5)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
VALUES = TEXTS | TEXTS.map(str.encode) | st.binary(max_size=40)
QUERIES = st.dictionaries(NAMES, VALUES, max_size=6)
WORDS = st.text("ABCdef0123456789/+=", min_size=1, max_size=60)
CREDENTIALS = st.builds(
    ReadOnlyCredentials, access_key=WORDS, secret_key=WORDS, token=st.none() | WORDS
)
HOSTS = st.sampled_from(
    ["lake.s3.eu-west-1.amazonaws.com", "127.0.0.1:9000", "[::1]:9000", "s3.example.com:8443"]
)
MOMENTS = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1))  # noqa: DTZ001  # UTC


def botocores(
    method: str, url: str, credentials: Any, region: str, moment: dt.datetime
) -> dict[str, str]:
    request = AWSRequest(method, url)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    st.sampled_from(["GET", "HEAD"]),
    HOSTS,
    st.sampled_from(["", "/lake"]),
    st.none() | TEXTS.map(str.encode) | st.binary(max_size=40),
    QUERIES,
    CREDENTIALS,
    MOMENTS,
)
def test_a_signed_request_has_the_headers_that_botocore_makes(
    method: str,
    host: str,
    path: str,
    key: bytes | None,
    query: dict[str, str | bytes],
    credentials: ReadOnlyCredentials,
    moment: dt.datetime,
):
    name = "" if key is None else "/" + quote(key, safe="/-_.~")
    url = f"http://{host}{path + name or '/'}?{query_text(query)}"
    access = Access(
        address=Address(secure=False, host="127.0.0.1", port=1),
        path=path,
        region="eu-west-1",
        is_amazon=False,
        signer=Signer(host=host, region="eu-west-1"),
        credentials=None,
    )
    with mock.patch("time.time", return_value=0.0):
        ahead = moment.replace(tzinfo=dt.UTC).timestamp()
        request = access.request(method, key, query, credentials=credentials, ahead=ahead)
    first, *lines = request.decode().split("\r\n")
    sent = dict(line.split(":", 1) for line in lines if line)
    expected = botocores(method, url, credentials, "eu-west-1", moment)
    assert first == f"{method} {url.removeprefix(f'http://{host}').removesuffix('?')} HTTP/1.1"
    assert {name: sent[name] for name in expected} == expected
    assert sent["host"] == host


def test_the_query_is_sorted_and_encoded_as_the_signature_wants_it():
    query: dict[str, str | bytes] = {"prefix": "a b+c/~", "list-type": "2", "a": b"\xff=&"}
    assert query_text(query) == "a=%FF%3D%26&list-type=2&prefix=a%20b%2Bc%2F~"


def test_the_key_of_a_day_follows_the_day_and_the_credentials():
    signer = Signer(host="127.0.0.1", region="us-east-1")
    ours = ReadOnlyCredentials("A", "one", None)
    theirs = ReadOnlyCredentials("A", "two", None)

    def line(credentials: ReadOnlyCredentials, ahead: float) -> str:
        return signer.headers("GET", "/", "", credentials=credentials, ahead=ahead)[-65:]

    day = 86_400.0
    lines = [line(ours, 0), line(theirs, 0), line(ours, day), line(ours, 2 * day)]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("shown", [repr, str])
def test_a_signer_does_not_show_what_it_signs_with(shown: Any):
    signer = Signer(host="127.0.0.1", region="us-east-1")
    signer.headers("GET", "/", "", credentials=ReadOnlyCredentials("A", "a-secret", "a-token"))
    assert "a-" not in shown(signer)
