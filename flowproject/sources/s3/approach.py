"""The way to one bucket, put right when the server says what is wrong with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final

from flowproject.aws import forget_clients
from flowproject.sources.s3.access import Access
from flowproject.sources.s3.failures import Refusal

__all__ = ["Approach"]

CLOCK: Final = "clock"
CREDENTIALS: Final = "credentials"
REGION: Final = "region"


class Approach:
    """Access to a bucket; threads share it, and what one puts right is right for all."""

    def __init__(self, reach: Callable[[str], Access]) -> None:
        """`reach` opens an access in a region ("" for the one that the settings say)."""
        self._reach = reach
        self._lock = Lock()
        self._moved_to = ""
        self.access = reach("")
        self.ahead = 0.0
        """Seconds by which the server's clock is ahead of ours."""

    def put_right(self, refusal: Refusal, access: Access, credentials: Any) -> str:
        """What was put right, in a word, so that the same request may succeed; else "".

        `access` and `credentials` are those that were refused.
        """
        if refusal.is_skewed and refusal.clock:
            self.ahead = (refusal.clock - datetime.now(UTC)).total_seconds()
            return CLOCK
        if refusal.is_expired:
            self._renew(access, credentials)
            return CREDENTIALS
        if refusal.is_misplaced and access.is_amazon and refusal.region != access.region:
            self._move(access, refusal.region)
            return REGION
        return ""

    def _renew(self, access: Access, credentials: Any) -> None:
        with self._lock:
            # Another thread may have been here, or botocore may know better by now.
            if self.access is access and access.frozen() == credentials:
                forget_clients()
                self.access = self._reach(self._moved_to)

    def _move(self, access: Access, region: str) -> None:
        with self._lock:
            if self.access is access:
                self._moved_to = region
                self.access = self._reach(region)
