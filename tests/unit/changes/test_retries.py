"""When an event is sent again, when nobody tries any more, and when there is room for one more."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.retries import RetryPolicy, next_step, room_at, wait_after

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PATIENCE = RetryPolicy(receipt_timeout=900, max_attempts=5)
MINUTE = dt.timedelta(minutes=1)


def test_what_was_never_sent_is_sent():
    assert next_step(0, NOW, PATIENCE, NOW) == "send"


@pytest.mark.parametrize("sendings, minutes", [(1, 15), (2, 30), (3, 60), (4, 120)])
def test_the_wait_doubles_with_each_sending(sendings: int, minutes: int):
    almost, over = NOW + minutes * MINUTE - MINUTE, NOW + minutes * MINUTE
    assert next_step(sendings, NOW, PATIENCE, almost) == "wait"
    assert next_step(sendings, NOW, PATIENCE, over) == "send"


def test_after_the_last_sending_it_is_awaited_once_more_and_then_given_up():
    assert next_step(5, NOW, PATIENCE, NOW + 239 * MINUTE) == "wait"
    assert next_step(5, NOW, PATIENCE, NOW + 240 * MINUTE) == "give up"


def test_a_wait_is_a_day_at_most_unless_more_is_asked_for():
    assert wait_after(30, PATIENCE) == dt.timedelta(days=1)
    assert wait_after(10**9, PATIENCE) == dt.timedelta(days=1)
    patient = RetryPolicy(receipt_timeout=3 * 86_400, max_attempts=5)
    assert wait_after(1, patient) == wait_after(9, patient) == dt.timedelta(days=3)


def test_a_sending_an_hour_ahead_is_waited_for_and_one_far_ahead_is_not_believed():
    assert next_step(4, NOW + 60 * MINUTE, PATIENCE, NOW) == "wait"
    assert next_step(1, NOW + dt.timedelta(days=400), PATIENCE, NOW) == "send"


@given(
    sendings=st.integers(0, 100),
    ahead=st.timedeltas(dt.timedelta(days=-900), dt.timedelta(days=900)),
    patience=st.builds(
        RetryPolicy, receipt_timeout=st.floats(0.1, 3e7), max_attempts=st.integers(1, 50)
    ),
)
def test_whatever_clocks_say_nothing_waits_for_ever(
    sendings: int, ahead: dt.timedelta, patience: RetryPolicy
):
    longest = dt.timedelta(seconds=max(86_400, patience.receipt_timeout))
    later = NOW + 2 * longest + dt.timedelta(seconds=1)
    moves = {next_step(sendings, NOW + ahead, patience, now) for now in (NOW, later, NOW + ahead)}
    assert moves <= {"wait", "send", "give up"}
    if ahead <= longest:
        assert next_step(sendings, NOW + ahead, patience, later) != "wait"
    assert ("give up" in moves) <= (sendings >= patience.max_attempts)


def test_there_is_room_again_an_hour_after_the_oldest_that_counts():
    sent = [NOW - 50 * MINUTE, NOW - 20 * MINUTE, NOW - 10 * MINUTE]
    assert room_at(sent, 4, NOW) == NOW
    assert room_at(sent, 3, NOW) == NOW + 10 * MINUTE
    assert room_at(sent, 2, NOW) == NOW + 40 * MINUTE


def test_without_a_limit_there_is_always_room():
    assert room_at([NOW] * 1000, 0, NOW) == NOW


def test_what_was_sent_by_a_clock_that_was_ahead_does_not_count():
    assert room_at([NOW + 30 * MINUTE] * 9, 1, NOW) == NOW
