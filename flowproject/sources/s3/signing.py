"""Signs requests without a body as AWS wants it (version 4), cheaper than botocore does.

botocore's S3SigV4Auth takes longer for one request than everything else here together, because it
is made for every request of every service. Tests hold this one to the same bytes.
"""

import hmac
import time
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

__all__ = ["Query", "Signer", "query_text"]

Query = Mapping[str, str | bytes]
"""Parameters of a request; bytes where a key is no UTF-8."""

# None of our requests has a body.
_EMPTY: Final = sha256(b"").hexdigest()
# The characters that AWS leaves as they are. "/" is none of them in a query, unlike in a path.
_SAFE: Final = "-_.~"
_HEADERS: Final = "host;x-amz-content-sha256;x-amz-date"


def query_text(query: Query) -> str:
    """The query of a URL, encoded and in the order in which it is signed."""
    # Sorted after encoding: AWS signs in the order of the encoded names.
    pairs = sorted([(_quoted(name), _quoted(query[name])) for name in query])
    return "&".join([f"{name}={value}" for name, value in pairs])


class Signer:
    """Signs for one host in one region; threads may share it."""

    def __init__(self, *, host: str, region: str) -> None:
        self._host = host
        self._region = region
        self._cached = ("", "", hmac.new(b"", digestmod="sha256"))

    def headers(
        self, method: str, path: str, query: str, *, credentials: Any, ahead: float = 0.0
    ) -> str:
        """The lines of the signed headers, `Authorization` the last.

        `credentials` are frozen ones of botocore, `ahead` is how many seconds the server's clock
        is ahead of ours.
        """
        # With the server's clock: Amazon refuses what is 15 minutes off.
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + ahead))
        signed, names = self._signed_headers(moment, credentials.token)
        request = f"{method}\n{path}\n{query}\n{signed}\n{names}\n{_EMPTY}"
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        digest = sha256(request.encode()).hexdigest()
        mac = self._mac(moment[:8], credentials.secret_key)
        mac.update(f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode())
        return (
            f"{signed}authorization:AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={mac.hexdigest()}\n"
        )

    def _signed_headers(self, moment: str, token: str | None) -> tuple[str, str]:
        lines = f"host:{self._host}\nx-amz-content-sha256:{_EMPTY}\nx-amz-date:{moment}\n"
        # The token of temporary credentials is signed; a header that is empty must not be there.
        if not token:
            return lines, _HEADERS
        return f"{lines}x-amz-security-token:{token}\n", f"{_HEADERS};x-amz-security-token"

    def _mac(self, day: str, secret: str) -> hmac.HMAC:
        """What signs on a day: four of the five digests of a signature, made once."""
        # A copy, because `hmac.digest` lets other threads go first, 32 of them in a listing. The
        # tuple is exchanged as a whole, so that no lock is needed: at worst two make the same one.
        for_day, for_secret, mac = self._cached
        if (for_day, for_secret) != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            mac = hmac.new(key, digestmod="sha256")
            self._cached = (day, secret, mac)
        return mac.copy()


@lru_cache(maxsize=256)  # all but one are the same in every request of a listing
def _quoted(text: str | bytes) -> str:
    return quote(text, safe=_SAFE)
