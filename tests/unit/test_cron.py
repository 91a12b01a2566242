"""Schedules as Argo keeps them: all who read schedules are held to the table of what it does."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.config.values import CronExpression, InvalidValueError
from flowproject.contract import check_schedules
from flowproject.cron import CronError, CronSchedule, parse, warnings_about
from flowproject.dev.scheduler import cron_rule
from flowproject.errors import FlowError
from flowproject.flowfiles import Cron, FlowFile
from tests.argo_rules import CLOCKS, NEVER, REFUSED, RUNS, SCHEDULES, ScheduleRow
from tests.robfig import bits_of, next_time


def named(row: ScheduleRow) -> str:
    return f"{row.expression} {row.zone}"


def flow(cron: Cron, **more: object) -> FlowFile:
    return FlowFile(name="Flow", path=Path("/x/flow.py"), schedule=cron, **more)  # type: ignore[arg-type]


def start(row: ScheduleRow) -> datetime:
    return datetime.fromisoformat(row.after).replace(tzinfo=ZoneInfo(row.zone))


def followed(schedule: CronSchedule, after: datetime, many: int) -> list[datetime]:
    found = []
    following = schedule.following(after)
    while following and len(found) < many:
        found.append(following)
        following = schedule.following(following)
    return found


def shown(row: ScheduleRow, times: list[datetime]) -> tuple[str, ...]:
    """As the rows have them: the year only where one has."""
    texts = [time.astimezone(ZoneInfo(row.zone)).strftime("%Y-%m-%dT%H:%M") for time in times]
    return tuple(
        text if len(said) == len(text) else text[5:]
        for text, said in zip(texts, row.times, strict=True)
    )


# ------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("row", [*RUNS, *CLOCKS], ids=named)
def test_the_loop_runs_what_argo_runs_when_argo_does(row: ScheduleRow):
    rule = cron_rule(Cron(expression=row.expression, timezone=row.zone), where="flow.py")

    class Loop:
        following = staticmethod(rule)

    assert shown(row, followed(Loop(), start(row), len(row.times))) == row.times


@pytest.mark.parametrize("row", [*RUNS, *CLOCKS, *NEVER], ids=named)
def test_nothing_that_argo_takes_is_refused(row: ScheduleRow):
    cron = Cron(expression=row.expression, timezone=row.zone)
    found = check_schedules([flow(cron)], start(row))
    assert [finding.state for finding in found] == ["note"] * (row not in RUNS)


@pytest.mark.parametrize("row", NEVER, ids=named)
def test_what_is_never_due_is_told_and_starts_nothing(row: ScheduleRow):
    rule = cron_rule(Cron(expression=row.expression), where="flow.py")
    assert rule(start(row)) is None
    [finding] = check_schedules([flow(Cron(expression=row.expression))], start(row))
    assert "is never due" in finding.message


@pytest.mark.parametrize("row", REFUSED, ids=named)
def test_what_argo_never_runs_is_refused_by_the_loop_and_by_check_with_what_to_write(
    row: ScheduleRow,
):
    cron = Cron(expression=row.expression, timezone=row.zone)
    with pytest.raises(FlowError) as refusal:
        cron_rule(cron, where="flow.py")
    [finding] = check_schedules([flow(cron)], datetime.now(UTC))
    assert (finding.state, finding.exit_code) == ("error", 7)
    for told in (str(refusal.value), finding.message):
        assert row.refused in told
        assert "flow" in told.lower()


@pytest.mark.parametrize("row", [row for row in SCHEDULES if row.zone == "UTC"], ids=named)
def test_the_configuration_takes_the_same_and_five_fields_only(row: ScheduleRow):
    if row.expression.startswith("@"):
        with pytest.raises(InvalidValueError, match="Use five fields"):
            CronExpression().read(row.expression)
    elif row.refused:
        with pytest.raises(InvalidValueError, match=re.escape(row.refused)):
            CronExpression().read(row.expression)
    else:
        assert CronExpression().read(row.expression) == row.expression


@pytest.mark.parametrize("row", [row for row in SCHEDULES if row.expression[0] == "@"], ids=named)
def test_a_reset_takes_five_fields_and_nothing_else(row: ScheduleRow):
    # argo-events 6478ece, pkg/reconciler/sensor/validate.go: a parser without descriptors.
    found = check_schedules(
        [FlowFile(name="F", path=Path("f.py"), reset=Cron(expression=row.expression))], start(row)
    )
    assert [finding.state for finding in found] == ["error"]
    assert "reset_at" in found[0].message
    assert "Argo Events" in found[0].message


# -------------------------------------------------------------- what its author may not expect


@pytest.mark.parametrize(
    "expression,zone,told",
    [
        ("30 2 * * *", "Europe/Berlin", "not due on 2027-03-28 and is due twice on 2027-10-31"),
        ("0 12 * * 5", "Africa/Cairo", "is not due on 2027-04-30, when the clocks of Africa/Cairo"),
        ("* * * * 5", "Africa/Cairo", "is not due on 2027-04-30, when"),
        ("0,30 2 * * *", "Europe/Berlin", "is due 4 times, not 2, on 2027-10-31"),
        ("0 */6 * * *", "Africa/Cairo", "is due 3 times, not 4, on 2027-04-30"),
        ("30 2 * * *", "UTC", ""),
        ("30 3 * * *", "Europe/Berlin", ""),
        ("*/10 * * * *", "Europe/Berlin", ""),
        ("30 2 * 6 *", "Europe/Berlin", ""),
        ("30 2 * * *", "Asia/Kolkata", ""),
        ("@daily", "Europe/Berlin", ""),
        ("@every 24h", "Europe/Berlin", ""),
    ],
)
def test_days_on_which_clocks_change_are_named_where_they_matter(
    expression: str, zone: str, told: str
):
    found = warnings_about(parse(expression, zone), datetime(2027, 1, 1, tzinfo=UTC))
    assert [told] * bool(told) == [told for one in found if told in one]
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    "cron,told",
    [
        (Cron(expression="0 0 1 1 ?", left_out="2027"), "sixth field, '2027'"),
        (Cron(expression="0 10 ? * 2-6", left_out="*"), "Sunday is 1 and Saturday 7"),
        (Cron(expression="0 0 ? * SUN", left_out="*"), ""),
        (Cron(expression="0 0 * * ?", left_out="*"), ""),
    ],
)
def test_what_metaflow_leaves_out_and_aws_means_otherwise_is_told(cron: Cron, told: str):
    found = check_schedules([flow(cron)], datetime(2027, 1, 1, tzinfo=UTC))
    assert [finding.state for finding in found] == ["note"] * bool(told)
    assert told in "".join(finding.message for finding in found)


# ------------------------------------------------------------------ an independent implementation

ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Asuncion",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Scoresbysund",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kolkata",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/London",
    "Pacific/Chatham",
    "UTC",
)


@cache
def changes(name: str) -> tuple[int, ...]:
    """When the clocks of a zone change, to a day, in ten years; for one where they don't, any."""
    zone = ZoneInfo(name)
    found = []
    day = datetime(2023, 1, 1, tzinfo=UTC)
    while day.year < 2033:
        later = day + timedelta(days=1)
        if day.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            found.append(int(later.timestamp()))
        day = later
    return tuple(found) or (int(datetime(2027, 2, 28, tzinfo=UTC).timestamp()),)


def fields(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    step = st.integers(1, 20).map(lambda one: f"/{one}") | st.just("")
    pair = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    part = st.tuples(st.sampled_from("*?") | number.map(str) | pair, step).map("".join)
    return st.lists(part, min_size=1, max_size=2).map(",".join) | st.just("*")


@st.composite
def around_changes(draw: st.DrawFn) -> tuple[str, str, int]:
    """An expression, a zone, and a moment up to three days before one of its changes of clocks."""
    zone = draw(st.sampled_from(ZONES))
    moment = draw(st.sampled_from(changes(zone))) - draw(st.integers(0, 300_000))
    there = datetime.fromtimestamp(moment, ZoneInfo(zone)) + timedelta(days=draw(st.integers(0, 3)))
    expression = [
        draw(fields(0, 59)),
        draw(fields(0, 23) | st.integers(0, 4).map(str)),
        draw(st.just("*") | fields(1, 31) | st.just(str(there.day))),
        draw(st.just("*") | st.just(str(there.month)) | fields(1, 12)),
        draw(st.just("*") | fields(0, 6) | st.just(str(there.isoweekday() % 7))),
    ]
    return " ".join(expression), zone, moment


def hold_to_the_other_implementation(expression: str, zone: str, moment: int) -> None:
    schedule, bits = parse(expression, zone), bits_of(expression)
    ours, theirs = datetime.fromtimestamp(moment, UTC), moment
    for _ in range(8):
        following = schedule.following(ours)
        theirs = next_time(bits, ZoneInfo(zone), theirs)
        assert (int(following.timestamp()) if following else 0) == theirs
        if following is None or theirs > moment + 1_000_000:
            return  # past the change
        ours = following


@given(around_changes())
@settings(max_examples=60)
def test_no_expression_differs_from_an_independent_implementation(case: tuple[str, str, int]):
    hold_to_the_other_implementation(*case)


@pytest.mark.thorough
@pytest.mark.seconds(200)
@given(around_changes())
@settings(max_examples=2500)
def test_nor_do_thousands_of_them(case: tuple[str, str, int]):
    hold_to_the_other_implementation(*case)


@given(st.text(alphabet="0123456789*?/-,LWsunMONjan#", max_size=12), st.integers(0, 4))
def test_whatever_is_written_is_taken_or_refused_in_words(text: str, place: int):
    expression = ["*"] * 5
    expression[place] = text or "*"
    try:
        parse(" ".join(expression))
    except CronError:
        return
    hold_to_the_other_implementation(" ".join(expression), "UTC", 1_800_000_000)
