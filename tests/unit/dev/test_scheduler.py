"""When schedules are due, without waiting for any."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from flowproject.dev.scheduler import SystemClock, Timetable, cron_rule, every_rule
from flowproject.errors import FlowError
from flowproject.flowfiles import Cron

NOON = datetime(2024, 1, 1, 12, 0, tzinfo=UTC)  # a Monday


def following(expression: str, *, timezone: str = "", after: datetime = NOON) -> str:
    rule = cron_rule(Cron(expression=expression, timezone=timezone), where="f_flow.py")
    return rule(after).astimezone(UTC).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    "expression,due",
    [
        ("*/5 * * * *", "01-01 12:05"),
        ("0 * * * ?", "01-01 13:00"),  # @schedule(hourly=True), cut to five fields
        ("0 0 * * ?", "01-02 00:00"),  # daily
        ("0 0 ? * SUN", "01-07 00:00"),  # weekly
        ("30 6 * * 1-5", "01-02 06:30"),
        ("@daily", "01-02 00:00"),
        ("@every 90m", "01-01 13:30"),
    ],
)
def test_a_cron_expression_is_due_when_argo_would_run_it(expression: str, due: str):
    assert following(expression) == due


def test_a_schedule_without_a_time_zone_is_in_utc_as_on_a_cluster():
    assert following("0 9 * * *") == "01-02 09:00"


def test_a_schedule_follows_its_time_zone_through_daylight_saving():
    winter = following("0 9 * * *", timezone="Europe/Zurich")
    summer = following(
        "0 9 * * *", timezone="Europe/Zurich", after=datetime(2024, 7, 1, tzinfo=UTC)
    )
    assert (winter, summer) == ("01-02 08:00", "07-01 07:00")


@pytest.mark.parametrize(
    "expression", ["* * * *", "61 * * * *", "every day", "* * L * *", "* * * * 5#2", "* * * * 7"]
)
def test_what_argo_would_refuse_is_refused_with_the_file(expression: str):
    with pytest.raises(FlowError, match=r"is none that Argo would run.*f_flow\.py"):
        cron_rule(Cron(expression=expression), where="f_flow.py")


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(FlowError, match="'Europe/Atlantis' is not a time zone"):
        cron_rule(Cron(expression="* * * * *", timezone="Europe/Atlantis"), where="f_flow.py")


def test_a_timetable_gives_what_is_due_and_when_to_look_again():
    table = Timetable({"a": every_rule(10), "b": every_rule(25)}, NOON)
    assert table.next_time() == NOON + timedelta(seconds=10)
    assert table.take(NOON + timedelta(seconds=10)) == {"a": NOON + timedelta(seconds=10)}
    assert table.next_time() == NOON + timedelta(seconds=20)


def test_what_was_due_many_times_while_the_machine_slept_is_due_once():
    rule = cron_rule(Cron(expression="5 * * * *"), where="f_flow.py")
    table = Timetable({"a": rule}, NOON)
    later = NOON + timedelta(hours=8, minutes=30)
    assert table.take(later) == {"a": NOON + timedelta(hours=8, minutes=5)}
    assert table.take(later) == {}
    assert table.last == {"a": NOON + timedelta(hours=8, minutes=5)}
    assert table.next_time() == NOON + timedelta(hours=9, minutes=5)


def test_what_was_due_longer_ago_than_argo_makes_up_for_keeps_its_time():
    rule = cron_rule(Cron(expression="0 13,14 * * *"), where="f_flow.py")
    table = Timetable({"a": rule}, NOON)
    assert table.take(NOON + timedelta(hours=4)) == {"a": NOON + timedelta(hours=1)}


def test_what_is_never_due_is_in_no_timetable():
    rule = cron_rule(Cron(expression="0 0 30 2 *"), where="f_flow.py")
    table = Timetable({"a": rule, "b": every_rule(10)}, NOON)
    assert table.due == {"b": NOON + timedelta(seconds=10)}


def test_an_empty_timetable_is_never_due():
    assert Timetable({}, NOON).next_time() is None


def test_the_clock_of_the_machine_does_not_wait_for_the_past():
    clock = SystemClock()
    asyncio.run(clock.sleep_until(clock.now() - timedelta(days=1)))
