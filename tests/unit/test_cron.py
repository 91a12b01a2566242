"""Schedules as Argo keeps them: a table of what it does, and all who read schedules held to it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.config.kinds import RefusedError
from flowproject.config.times import CronFields
from flowproject.contract import check_schedules
from flowproject.cron import CronError, CronSchedule, doubts, parse
from flowproject.dev.scheduler import cron_rule
from flowproject.errors import FlowError
from flowproject.flowfiles import Cron, FlowFile
from tests.robfig import bits_of, next_time

PARSER = "robfig/cron v3.0.1, parser.go"
WALK = "robfig/cron v3.0.1, spec.go"
EVERY = "robfig/cron v3.0.1, constantdelay.go"
DEFINITION = "argo-workflows v4.1.2, pkg/apis/workflow/v1alpha1/cron_workflow_types.go"
CONTROLLER = "argo-workflows v4.1.2, workflow/validate/validate.go"


@dataclass(frozen=True, kw_only=True)
class Row:
    """An expression, what Argo Workflows does with it, and where that is written.

    The times are those that the library itself gave, called with Go 1.26 on 2026-11-30; `after` is
    in the zone. Without times it is taken and never due; `refused` is our word for why it is not.
    """

    expression: str
    zone: str = "UTC"
    after: str = "2027-03-01T00:00"
    times: tuple[str, ...] = ()
    refused: str = ""
    source: str = PARSER


RUNS = [
    # A step above 1 takes the star of a day's field away: then one of the two fields is enough.
    Row(
        expression="0 0 */2 * 1", times=("03-03T00:00", "03-05T00:00", "03-07T00:00", "03-08T00:00")
    ),
    Row(
        expression="0 0 */1 * 1", times=("03-08T00:00", "03-15T00:00", "03-22T00:00", "03-29T00:00")
    ),
    Row(expression="0 0 1-31 * 1", times=("03-02T00:00", "03-03T00:00", "03-04T00:00")),
    Row(
        expression="0 0 1,16 * MON",
        times=("03-08T00:00", "03-15T00:00", "03-16T00:00"),
        source=WALK,
    ),
    # What Metaflow 2.19.39 makes of weekly, daily and hourly.
    Row(expression="0 0 ? * SUN", times=("03-07T00:00", "03-14T00:00")),
    Row(expression="0 0 * * ?", times=("03-02T00:00", "03-03T00:00")),
    Row(expression="0 * * * ?", times=("03-01T01:00", "03-01T02:00")),
    Row(
        expression="0 6 * jan-MAR mOn-Fri",
        after="2027-03-25T07:00",
        times=("03-26T06:00", "03-29T06:00"),
    ),
    Row(
        expression="0-59/7 0 * * *",
        after="2027-03-01T00:50",
        times=("03-01T00:56", "03-02T00:00", "03-02T00:07"),
    ),
    Row(expression="5/20 * * * *", after="2027-03-01T00:10", times=("03-01T00:25", "03-01T00:45")),
    Row(expression="*/70 * * * *", after="2027-03-01T00:10", times=("03-01T01:00", "03-01T02:00")),
    Row(expression="1,,3 0 * * *", times=("03-01T00:01", "03-01T00:03", "03-02T00:01")),
    Row(expression="*-5 0 1 3 *", after="2027-03-01T00:06", times=("03-01T00:07", "03-01T00:08")),
    Row(expression="00 007 * * *", times=("03-01T07:00", "03-02T07:00")),
    Row(expression="0 0 29 2 *", times=("2028-02-29T00:00", "2032-02-29T00:00"), source=WALK),
    Row(expression="@hourly", times=("03-01T01:00", "03-01T02:00")),
    Row(expression="@daily", times=("03-02T00:00", "03-03T00:00")),
    Row(expression="@midnight", times=("03-02T00:00", "03-03T00:00")),
    Row(expression="@weekly", times=("03-07T00:00", "03-14T00:00")),
    Row(expression="@monthly", times=("04-01T00:00", "05-01T00:00")),
    Row(expression="@yearly", times=("2028-01-01T00:00", "2029-01-01T00:00")),
    Row(expression="@annually", times=("2028-01-01T00:00", "2029-01-01T00:00")),
    Row(expression="@every 90m", times=("03-01T01:30", "03-01T03:00"), source=EVERY),
    Row(expression="@every 1m500ms", times=("03-01T00:01", "03-01T00:02"), source=EVERY),
]
"""What runs, on days without a change of clocks."""

CLOCKS = [
    Row(
        expression="30 2 * * *",
        zone="Europe/Berlin",
        after="2027-03-26T12:00",
        times=("03-27T02:30", "03-29T02:30"),
        source=WALK,
    ),
    Row(
        expression="30 2 * * *",
        zone="Europe/Berlin",
        after="2027-10-29T12:00",
        times=("10-30T02:30", "10-31T02:30", "10-31T02:30", "11-01T02:30"),
        source=WALK,
    ),
    Row(
        expression="*/30 2 * * *",
        zone="Europe/Berlin",
        after="2027-10-30T12:00",
        times=("10-31T02:00", "10-31T02:30", "10-31T02:00", "10-31T02:30"),
        source=WALK,
    ),
    Row(
        expression="0 */2 * * *",
        zone="Europe/Berlin",
        after="2027-03-27T22:30",
        times=("03-28T00:00", "03-28T04:00"),
        source=WALK,
    ),
    Row(
        expression="0 0 * * *",
        zone="Africa/Cairo",
        after="2027-04-28T12:00",
        times=("04-29T00:00", "05-01T00:00"),
        source=WALK,
    ),
    # The walk passes a day without midnight by, with all that it has: the last Friday of April.
    Row(
        expression="0 12 * * 5",
        zone="Africa/Cairo",
        after="2027-04-22T12:00",
        times=("04-23T12:00", "05-07T12:00"),
        source=WALK,
    ),
    Row(
        expression="0 12 30 4 *",
        zone="Africa/Cairo",
        after="2027-04-01T12:00",
        times=("2028-04-30T12:00", "2029-04-30T12:00"),
        source=WALK,
    ),
    Row(
        expression="* * * * 5",
        zone="Africa/Cairo",
        after="2027-04-23T23:59",
        times=("05-07T00:00", "05-07T00:01"),
        source=WALK,
    ),
    Row(
        expression="0 2 * * *",
        zone="Australia/Lord_Howe",
        after="2027-10-01T12:00",
        times=("10-02T02:00", "10-04T02:00"),
        source=WALK,
    ),
    Row(
        expression="0 0 * * *",
        zone="America/Havana",
        after="2027-11-05T12:00",
        times=("11-06T00:00", "11-07T00:00", "11-07T00:00", "11-08T00:00"),
        source=WALK,
    ),
]
"""What a change of clocks leaves out, or does twice."""

NEVER = [
    Row(expression="0 0 30 2 *", source=WALK),
    Row(expression="0 0 31 4,6 *", source=WALK),
    Row(expression=", 0 1 1 *"),
]
"""What is taken and never due, not even with a line in the controller's log."""

REFUSED = [
    # Accepted by the API server, never run; one line in the controller's log.
    Row(expression="0 0 L * *", refused="no L and no W"),
    Row(expression="0 0 15W * *", refused="no L and no W"),
    Row(expression="0 0 * * 5#2", refused="no '#'"),
    Row(expression="0 0 * * 5L", refused="no L and no W"),
    Row(expression="0 0 * * 7", refused="Write 0 or SUN for Sunday"),
    Row(expression="0 0 * * 5-7", refused="Write '5-6,0'"),
    Row(expression="0 0 * * fri-7", refused="Write 'fri-SAT,SUN'"),
    Row(expression="60 * * * *", refused="'60' is not a minute: they go from 0 to 59"),
    Row(expression="50-10 * * * *", refused="Write '50-59,0-10'"),
    Row(expression="0 0 * * MON-SUN", refused="Write 'MON-SAT,SUN'"),
    Row(expression="0 0 * nov-feb *", refused="Write 'nov-DEC,JAN-feb'"),
    Row(expression="0 0 0 * *", refused="from 1 to 31"),
    Row(expression="*/0 * * * *", refused="a whole number above 0"),
    Row(expression="*/2/3 * * * *", refused="a whole number above 0"),
    Row(expression="1-2-3 * * * *", refused="more than one hyphen"),
    Row(expression="5- * * * *", refused="is not a minute"),
    Row(expression="1_0 * * * *", refused="'_' is not allowed"),
    Row(expression="* * * *", refused="4 fields"),
    Row(expression="0 0 0 * * *", refused="6 fields"),
    Row(expression="0 0 * monday *", refused="is not a month"),
    Row(expression="0 0 * * SUNN", refused="Did you mean 'SUN'?"),
    Row(expression="@every 1d", refused="a day is 24h"),
    Row(expression="@Daily", refused="Did you mean '@daily'?"),
    Row(expression="@reboot", refused="Use five fields, or one of"),
    Row(expression="0 0 * * *", zone="Mars/Phobos", refused="not a time zone", source=CONTROLLER),
    Row(expression="0 0 * * *", zone="Europe/Belin", refused="'Europe/Berlin'", source=CONTROLLER),
    # Taken by the library, and refused by the definition of a CronWorkflow since Argo Workflows 4.
    Row(expression="+5 * * * *", refused="'+' is not allowed", source=DEFINITION),
    Row(expression="@every 1.5h", refused="whole numbers", source=DEFINITION),
    Row(
        expression="TZ=Europe/Berlin 0 0 * * *", refused="Write it as `timezone`", source=DEFINITION
    ),
    Row(expression="CRON_TZ=UTC 0 0 * *", refused="Write it as `timezone`", source=DEFINITION),
]
"""What Argo never runs, whatever its API server says to it."""

TABLE = [*RUNS, *CLOCKS, *NEVER, *REFUSED]


def named(row: Row) -> str:
    return f"{row.expression} {row.zone}"


def flow(cron: Cron, **more: object) -> FlowFile:
    return FlowFile(name="Flow", path=Path("/x/flow.py"), schedule=cron, **more)  # type: ignore[arg-type]


def start(row: Row) -> datetime:
    return datetime.fromisoformat(row.after).replace(tzinfo=ZoneInfo(row.zone))


def followed(schedule: CronSchedule, after: datetime, many: int) -> list[datetime]:
    found = []
    following = schedule.following(after)
    while following and len(found) < many:
        found.append(following)
        following = schedule.following(following)
    return found


def shown(row: Row, times: list[datetime]) -> tuple[str, ...]:
    """As the rows have them: the year only where one has."""
    texts = [time.astimezone(ZoneInfo(row.zone)).strftime("%Y-%m-%dT%H:%M") for time in times]
    return tuple(
        text if len(said) == len(text) else text[5:]
        for text, said in zip(texts, row.times, strict=True)
    )


# ------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("row", [*RUNS, *CLOCKS], ids=named)
def test_the_loop_runs_what_argo_runs_when_argo_does(row: Row):
    rule = cron_rule(Cron(expression=row.expression, timezone=row.zone), where="flow.py")

    class Loop:
        following = staticmethod(rule)

    assert shown(row, followed(Loop(), start(row), len(row.times))) == row.times


@pytest.mark.parametrize("row", [*RUNS, *CLOCKS, *NEVER], ids=named)
def test_nothing_that_argo_takes_is_refused(row: Row):
    cron = Cron(expression=row.expression, timezone=row.zone)
    found = check_schedules([flow(cron)], start(row))
    assert [finding.state for finding in found] == ["note"] * (row not in RUNS)


@pytest.mark.parametrize("row", NEVER, ids=named)
def test_what_is_never_due_is_told_and_starts_nothing(row: Row):
    rule = cron_rule(Cron(expression=row.expression), where="flow.py")
    assert rule(start(row)) is None
    [finding] = check_schedules([flow(Cron(expression=row.expression))], start(row))
    assert "is never due" in finding.message


@pytest.mark.parametrize("row", REFUSED, ids=named)
def test_what_argo_never_runs_is_refused_by_the_loop_and_by_check_with_what_to_write(row: Row):
    cron = Cron(expression=row.expression, timezone=row.zone)
    with pytest.raises(FlowError) as refusal:
        cron_rule(cron, where="flow.py")
    [finding] = check_schedules([flow(cron)], datetime.now(UTC))
    assert (finding.state, finding.exit_code) == ("error", 7)
    for told in (str(refusal.value), finding.message):
        assert row.refused in told
        assert "flow" in told.lower()


@pytest.mark.parametrize("row", [row for row in TABLE if row.zone == "UTC"], ids=named)
def test_the_configuration_takes_the_same_and_five_fields_only(row: Row):
    if row.expression.startswith("@"):
        with pytest.raises(RefusedError, match="Use five fields"):
            CronFields().read(row.expression)
    elif row.refused:
        with pytest.raises(RefusedError, match=re.escape(row.refused)):
            CronFields().read(row.expression)
    else:
        assert CronFields().read(row.expression) == row.expression


@pytest.mark.parametrize("row", [row for row in TABLE if row.expression[0] == "@"], ids=named)
def test_a_reset_takes_five_fields_and_nothing_else(row: Row):
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
    found = doubts(parse(expression, zone), datetime(2027, 1, 1, tzinfo=UTC))
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
