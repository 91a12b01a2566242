"""Says when an event is sent again and when nobody tries any more, without a clock or a bus."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "NextStep",
    "RetryPolicy",
    "as_arguments",
    "heard_from",
    "in_ranges",
    "next_step",
    "room_at",
    "wait_after",
]

NextStep = Literal["wait", "send", "give up"]
"""What to do for a change that was sent and lacks a receipt."""

_HOUR: Final = dt.timedelta(hours=1)
_LONGEST_WAIT: Final = dt.timedelta(days=1)
_DEAF_FOR: Final = dt.timedelta(minutes=5)
"""How long a listener may hear nothing after it was deployed: its pod is made and subscribes in
seconds, but an image may have to be fetched first. And runs that it had started begin meanwhile."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long receipts are awaited after the first sending, and how often an event is sent."""

    receipt_timeout: float
    max_attempts: int


def wait_after(sendings: int, policy: RetryPolicy) -> dt.timedelta:
    """How long receipts are awaited after that many sendings: doubled each time, a day at most."""
    # Doubled, so that a listener which is broken for a day is not called every quarter of an hour.
    # The exponent has a bound because floats do, and people count attempts in thousands.
    seconds = policy.receipt_timeout * 2.0 ** (min(sendings, 32) - 1)
    # Never shorter than the first wait, which a person chose.
    return min(dt.timedelta(seconds=min(seconds, 1e9)), max(_LONGEST_WAIT, _first(policy)))


def next_step(sendings: int, last: dt.datetime, policy: RetryPolicy, now: dt.datetime) -> NextStep:
    """What to do now for a change without all its receipts, `last` sent at that moment.

    A moment in the future was noted by another machine's clock, or by this one's before it was set
    back: it is believed, as far as the longest wait reaches.
    """
    if sendings == 0:
        return "send"
    waited, wait = now - last, wait_after(sendings, policy)
    # Also backwards: else a clock that is behind would send at every tick.
    if -wait <= waited < wait:
        return "wait"
    return "send" if sendings < policy.max_attempts else "give up"


def heard_from(deployed: dt.datetime, policy: RetryPolicy) -> dt.datetime:
    """From when on a listener that was deployed at that moment hears whatever is sent."""
    # With a short `receipt_timeout` a second sending comes soon anyway.
    return deployed + min(_DEAF_FOR, _first(policy))


def room_at(sent: Iterable[dt.datetime], most: int, now: dt.datetime) -> dt.datetime:
    """From when on one more event may be sent, if at most `most` may be within an hour (0: any).

    What was sent in the future does not count: a clock was set back.
    """
    counted = sorted(moment for moment in sent if now - _HOUR < moment <= now)
    return now if not most or len(counted) < most else counted[-most] + _HOUR


def in_ranges(numbers: Iterable[int]) -> str:
    """Numbers in words, in order: `2, 5 to 9 and 11`."""
    words = [" to ".join(map(str, one)) for one in _ranges(numbers)]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def as_arguments(sensor: str, numbers: Iterable[int]) -> str:
    """Changes of a sensor as a command takes them: `orders/2 orders/5-9`."""
    return " ".join(f"{sensor}/{'-'.join(map(str, one))}" for one in _ranges(numbers))


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """The first and last of numbers that follow each other, or one that stands alone."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return ranges


def _first(policy: RetryPolicy) -> dt.timedelta:
    return dt.timedelta(seconds=policy.receipt_timeout)
