"""A bucket on a real socket, whose server does what a test says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.credentials import Credentials

from flowproject.errors import SourceError
from flowproject.sources.s3.access import Access
from flowproject.sources.s3.bucket import Bucket, RetryLimits
from flowproject.sources.s3.http_client import Address
from flowproject.sources.s3.scope import BucketLocation
from flowproject.sources.s3.signing import Signer
from tests.proxy import Answer, Proxy

SECRET = "a-secret-that-nobody-may-see"  # noqa: S105  # that is what is tested
TOKEN = "a-token-that-nobody-may-see"  # noqa: S105
KEY_ID = "AKIATHATNOBODYMAYSEE"
LOCATION = BucketLocation(bucket="lake", key="raw/x.csv")
QUERY: dict[str, str | bytes] = {"list-type": "2", "prefix": "raw/"}
PAGE = Answer(
    status=200,
    body=b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>raw/a</Key></Contents>"
    b"</ListBucketResult>",
)
QUICK = RetryLimits(first_pause=0.002)


@dataclass
class Lake:
    """The bucket, the server behind it, and the ways to it that were asked for."""

    bucket: Bucket
    server: Proxy
    regions: list[str] = field(default_factory=list)
    access: Callable[[str], Access] = lambda _: pytest.fail("not reached")

    def answers(self, *answers: Answer) -> None:
        """Give these answers, the last one for ever."""
        self.server.plan = lambda asked, _: answers[min(asked.number, len(answers)) - 1]

    def keys(self) -> bytes:
        return self.bucket.page(QUERY).first

    def message(self) -> str:
        with pytest.raises(SourceError) as raised:
            self.keys()
        return str(raised.value)

    def __post_init__(self) -> None:
        self.answers(PAGE)


def access(port: int, **changed: Any) -> Access:
    usual: dict[str, Any] = {
        "address": Address(secure=False, host="127.0.0.1", port=port, seconds_to_read=60.0),
        "path": "/lake",
        "region": "us-east-1",
        "is_amazon": False,
        "signer": Signer(host=f"127.0.0.1:{port}", region=changed.get("region", "us-east-1")),
        "credentials": Credentials(KEY_ID, SECRET, TOKEN),
    }
    return Access(**{**usual, **changed})


def port_of(server: Proxy) -> int:
    return int(server.endpoint_url.rpartition(":")[2])
