"""Reads what a server's refusals mean, and makes errors of them that have no secret in them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Final

from flowproject.errors import SourceError
from flowproject.sources.s3.http_client import HttpResponse
from flowproject.sources.s3.scope import BucketLocation

__all__ = ["Refusal", "not_s3", "refused", "unreachable", "untrusted"]

# Either is enough: a load balancer has no code, and not every server the status that fits.
_TRANSIENT_STATUS: Final = {408, 429, 500, 502, 503, 504}
_TRANSIENT_CODES: Final = {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"}
_BAD_CREDENTIALS: Final = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
_EXPIRED: Final = {"ExpiredToken", "TokenRefreshRequired"}
# What Amazon answers where the bucket is not; it depends on the region which of both.
_MISPLACED: Final = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_REDIRECTS: Final = {301, 302, 307, 308}
_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_SHOWN_CHARACTERS: Final = 300

# By expression: what a proxy answers is HTML, which no parser of XML takes.
_CODE: Final = re.compile(rb"<Code>\s*(\w{1,80})\s*</Code>")
_MESSAGE: Final = re.compile(rb"<Message>([^<]*)</Message>")
_REGION: Final = re.compile(rb"<ListingRange>\s*([\w-]{1,40})\s*</ListingRange>")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Says what an answer means that is not what was asked for."""

    status: int
    code: str
    """S3's word for it; empty if there is none: an answer to HEAD has no body to say it in."""
    message: str
    region: str
    """Where the bucket is, if the answer says so."""
    clock: datetime | None
    """What time it is for the server."""
    retry_after: float
    """Seconds for which the server asks to be left alone."""

    @classmethod
    def read(cls, answer: HttpResponse, *, hide: Iterable[str] = ()) -> "Refusal":
        """Read what an answer says; `hide` is not repeated, even if the server does."""
        # A server may repeat what it was sent; Amazon's answers have the access key in them.
        message = _found(_MESSAGE, answer.body)
        for secret in filter(None, hide):
            message = message.replace(secret, "***")
        return cls(
            status=answer.status,
            code=_found(_CODE, answer.body),
            message=message[:_SHOWN_CHARACTERS],
            region=answer.headers.get("x-amz-bucket-region") or _found(_REGION, answer.body),
            clock=_moment(answer.headers.get("date", "")),
            retry_after=_seconds(answer.headers.get("retry-after", "")),
        )

    @property
    def is_transient(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.status in _TRANSIENT_STATUS or self.code in _TRANSIENT_CODES

    @property
    def is_skewed(self) -> bool:
        """Whether our clock is too far from the server's."""
        return self.code == "RequestTimeTooSkewed"

    @property
    def is_expired(self) -> bool:
        """Whether temporary credentials have run out."""
        return self.code in _EXPIRED

    @property
    def is_misplaced(self) -> bool:
        """Whether the bucket is in another region, and in which is known."""
        return bool(self.region) and (
            self.status in _REDIRECTS
            or self.code in _MISPLACED
            # An answer to HEAD: the region stands in a header, and the reason nowhere.
            or (self.status == _BAD_REQUEST and not self.code)
        )

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


def refused(
    refusal: Refusal, location: BucketLocation, action: str, tries: str = ""
) -> SourceError:
    """The error for an answer that will not get better by itself.

    `action` is the permission that the request needs, such as `s3:ListBucket`; `tries` says how
    often it was tried, if that was more than once.
    """
    if refusal.code == "NoSuchBucket":
        return SourceError(
            f"There is no bucket {location.bucket!r}",
            fix="Correct `bucket` in flowproject.toml, or create it",
        )
    if refusal.is_expired:
        return SourceError(
            f"The AWS credentials have run out ({refusal})", fix="Log in again: `aws sso login`"
        )
    if refusal.code in _BAD_CREDENTIALS:
        return SourceError(
            f"S3 does not accept the AWS credentials ({refusal})",
            where=str(location),
            fix="See whose they are: `aws sts get-caller-identity`",
        )
    if refusal.is_skewed:
        return SourceError(
            f"This machine's clock is wrong, and S3 refuses its requests ({refusal})",
            fix="Let the machine get its time from the network (NTP)",
        )
    if refusal.is_misplaced:
        return SourceError(
            f"The bucket {location.bucket!r} is in the region {refusal.region!r} ({refusal})",
            fix=f'Put region = "{refusal.region}" under [data] in flowproject.toml',
        )
    if refusal.status == _FORBIDDEN:
        return _forbidden(refusal, location, action)
    return SourceError(
        f"S3 answered {refusal}: {refusal.message or 'without a reason'}",
        where=f"{location}. {tries}" if tries else str(location),
        fix="Check `bucket`, `key` and `endpoint_url` in flowproject.toml",
    )


def _forbidden(refusal: Refusal, location: BucketLocation, action: str) -> SourceError:
    # As a policy has it, to be copied; objects of an access point have a path of their own there.
    is_arn = location.bucket.startswith("arn:")
    resource = location.bucket if is_arn else f"arn:aws:s3:::{location.bucket}"
    if action == "s3:GetObject":
        resource += f"{'/object' if is_arn else ''}/{location.key}"
    reason = f": {refusal.message}" if refusal.message else ""
    return SourceError(
        f"S3 does not allow {action} ({refusal}){reason}",
        where=str(location),
        allowed=f"The credentials need {action} on {resource}",
        fix="Allow it in the policy of their role or user, or name a `role` that has it",
    )


def unreachable(error: OSError, server: str, tries: str) -> SourceError:
    """The error for a server to which there is no connection, or none that lasts."""
    reason = error.strerror or str(error) or type(error).__name__
    return SourceError(
        f"{server} can't be reached: {reason}",
        where=tries,
        fix="Check `endpoint_url` and `region` in flowproject.toml, and the network",
    )


def untrusted(error: OSError, server: str) -> SourceError:
    """The error for a server whose certificate nobody vouches for."""
    return SourceError(
        f"The certificate of {server} is not trusted: {error.strerror or error}",
        fix="Name the file of the certificates to trust in AWS_CA_BUNDLE",
    )


def not_s3(reason: str, server: str, tries: str) -> SourceError:
    """The error for an answer that is no answer of S3, such as the page of a proxy."""
    return SourceError(
        f"{server} does not answer like S3: {reason}",
        where=tries,
        fix="Check `endpoint_url` in flowproject.toml, and the proxies of this network",
    )


def _found(pattern: re.Pattern[bytes], body: bytes) -> str:
    found = pattern.search(body)
    return unescape(found[1].decode(errors="replace")).strip() if found else ""


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _seconds(text: str) -> float:
    """What `Retry-After` asks for: seconds, or a moment."""
    if text.isascii() and text.isdigit():
        return float(text)
    # RFC 9110 allows a date, too, and proxies send one.
    moment = _moment(text)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment else 0.0
