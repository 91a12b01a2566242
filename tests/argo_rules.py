"""What Argo does with schedules and events, row by row, and where that is written.

One table for all who must do the same: the loop, `check`, the configuration, the executor of our
tests. A row has what is written or sent, what Argo makes of it, and the source: repository, version
and file, or that it was recorded on the real controllers (`tests/unit/dev/recorded.json`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARSER = "robfig/cron v3.0.1, parser.go"
WALK = "robfig/cron v3.0.1, spec.go"
EVERY = "robfig/cron v3.0.1, constantdelay.go"
DEFINITION = "argo-workflows v4.1.2, pkg/apis/workflow/v1alpha1/cron_workflow_types.go"
CONTROLLER = "argo-workflows v4.1.2, workflow/validate/validate.go"


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
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
    ScheduleRow(
        expression="0 0 */2 * 1", times=("03-03T00:00", "03-05T00:00", "03-07T00:00", "03-08T00:00")
    ),
    ScheduleRow(
        expression="0 0 */1 * 1", times=("03-08T00:00", "03-15T00:00", "03-22T00:00", "03-29T00:00")
    ),
    ScheduleRow(expression="0 0 1-31 * 1", times=("03-02T00:00", "03-03T00:00", "03-04T00:00")),
    ScheduleRow(
        expression="0 0 1,16 * MON",
        times=("03-08T00:00", "03-15T00:00", "03-16T00:00"),
        source=WALK,
    ),
    # What Metaflow 2.19.39 makes of weekly, daily and hourly.
    ScheduleRow(expression="0 0 ? * SUN", times=("03-07T00:00", "03-14T00:00")),
    ScheduleRow(expression="0 0 * * ?", times=("03-02T00:00", "03-03T00:00")),
    ScheduleRow(expression="0 * * * ?", times=("03-01T01:00", "03-01T02:00")),
    ScheduleRow(
        expression="0 6 * jan-MAR mOn-Fri",
        after="2027-03-25T07:00",
        times=("03-26T06:00", "03-29T06:00"),
    ),
    ScheduleRow(
        expression="0-59/7 0 * * *",
        after="2027-03-01T00:50",
        times=("03-01T00:56", "03-02T00:00", "03-02T00:07"),
    ),
    ScheduleRow(
        expression="5/20 * * * *", after="2027-03-01T00:10", times=("03-01T00:25", "03-01T00:45")
    ),
    ScheduleRow(
        expression="*/70 * * * *", after="2027-03-01T00:10", times=("03-01T01:00", "03-01T02:00")
    ),
    ScheduleRow(expression="1,,3 0 * * *", times=("03-01T00:01", "03-01T00:03", "03-02T00:01")),
    ScheduleRow(
        expression="*-5 0 1 3 *", after="2027-03-01T00:06", times=("03-01T00:07", "03-01T00:08")
    ),
    ScheduleRow(expression="00 007 * * *", times=("03-01T07:00", "03-02T07:00")),
    ScheduleRow(
        expression="0 0 29 2 *", times=("2028-02-29T00:00", "2032-02-29T00:00"), source=WALK
    ),
    ScheduleRow(expression="@hourly", times=("03-01T01:00", "03-01T02:00")),
    ScheduleRow(expression="@daily", times=("03-02T00:00", "03-03T00:00")),
    ScheduleRow(expression="@midnight", times=("03-02T00:00", "03-03T00:00")),
    ScheduleRow(expression="@weekly", times=("03-07T00:00", "03-14T00:00")),
    ScheduleRow(expression="@monthly", times=("04-01T00:00", "05-01T00:00")),
    ScheduleRow(expression="@yearly", times=("2028-01-01T00:00", "2029-01-01T00:00")),
    ScheduleRow(expression="@annually", times=("2028-01-01T00:00", "2029-01-01T00:00")),
    ScheduleRow(expression="@every 90m", times=("03-01T01:30", "03-01T03:00"), source=EVERY),
    ScheduleRow(expression="@every 1m500ms", times=("03-01T00:01", "03-01T00:02"), source=EVERY),
]
"""What runs, on days without a change of clocks."""

CLOCKS = [
    ScheduleRow(
        expression="30 2 * * *",
        zone="Europe/Berlin",
        after="2027-03-26T12:00",
        times=("03-27T02:30", "03-29T02:30"),
        source=WALK,
    ),
    ScheduleRow(
        expression="30 2 * * *",
        zone="Europe/Berlin",
        after="2027-10-29T12:00",
        times=("10-30T02:30", "10-31T02:30", "10-31T02:30", "11-01T02:30"),
        source=WALK,
    ),
    ScheduleRow(
        expression="*/30 2 * * *",
        zone="Europe/Berlin",
        after="2027-10-30T12:00",
        times=("10-31T02:00", "10-31T02:30", "10-31T02:00", "10-31T02:30"),
        source=WALK,
    ),
    ScheduleRow(
        expression="0 */2 * * *",
        zone="Europe/Berlin",
        after="2027-03-27T22:30",
        times=("03-28T00:00", "03-28T04:00"),
        source=WALK,
    ),
    ScheduleRow(
        expression="0 0 * * *",
        zone="Africa/Cairo",
        after="2027-04-28T12:00",
        times=("04-29T00:00", "05-01T00:00"),
        source=WALK,
    ),
    # The walk passes a day without midnight by, with all that it has: the last Friday of April.
    ScheduleRow(
        expression="0 12 * * 5",
        zone="Africa/Cairo",
        after="2027-04-22T12:00",
        times=("04-23T12:00", "05-07T12:00"),
        source=WALK,
    ),
    ScheduleRow(
        expression="0 12 30 4 *",
        zone="Africa/Cairo",
        after="2027-04-01T12:00",
        times=("2028-04-30T12:00", "2029-04-30T12:00"),
        source=WALK,
    ),
    ScheduleRow(
        expression="* * * * 5",
        zone="Africa/Cairo",
        after="2027-04-23T23:59",
        times=("05-07T00:00", "05-07T00:01"),
        source=WALK,
    ),
    ScheduleRow(
        expression="0 2 * * *",
        zone="Australia/Lord_Howe",
        after="2027-10-01T12:00",
        times=("10-02T02:00", "10-04T02:00"),
        source=WALK,
    ),
    ScheduleRow(
        expression="0 0 * * *",
        zone="America/Havana",
        after="2027-11-05T12:00",
        times=("11-06T00:00", "11-07T00:00", "11-07T00:00", "11-08T00:00"),
        source=WALK,
    ),
]
"""What a change of clocks leaves out, or does twice."""

NEVER = [
    ScheduleRow(expression="0 0 30 2 *", source=WALK),
    ScheduleRow(expression="0 0 31 4,6 *", source=WALK),
    ScheduleRow(expression=", 0 1 1 *"),
]
"""What is taken and never due, not even with a line in the controller's log."""

REFUSED = [
    # Accepted by the API server, never run; one line in the controller's log.
    ScheduleRow(expression="0 0 L * *", refused="no L and no W"),
    ScheduleRow(expression="0 0 15W * *", refused="no L and no W"),
    ScheduleRow(expression="0 0 * * 5#2", refused="no '#'"),
    ScheduleRow(expression="0 0 * * 5L", refused="no L and no W"),
    ScheduleRow(expression="0 0 * * 7", refused="Write 0 or SUN for Sunday"),
    ScheduleRow(expression="0 0 * * 5-7", refused="Write '5-6,0'"),
    ScheduleRow(expression="0 0 * * fri-7", refused="Write 'fri-SAT,SUN'"),
    ScheduleRow(expression="60 * * * *", refused="'60' is not a minute: they go from 0 to 59"),
    ScheduleRow(expression="50-10 * * * *", refused="Write '50-59,0-10'"),
    ScheduleRow(expression="0 0 * * MON-SUN", refused="Write 'MON-SAT,SUN'"),
    ScheduleRow(expression="0 0 * nov-feb *", refused="Write 'nov-DEC,JAN-feb'"),
    ScheduleRow(expression="0 0 0 * *", refused="from 1 to 31"),
    ScheduleRow(expression="*/0 * * * *", refused="a whole number above 0"),
    ScheduleRow(expression="*/2/3 * * * *", refused="a whole number above 0"),
    ScheduleRow(expression="1-2-3 * * * *", refused="more than one hyphen"),
    ScheduleRow(expression="5- * * * *", refused="is not a minute"),
    ScheduleRow(expression="1_0 * * * *", refused="'_' is not allowed"),
    ScheduleRow(expression="* * * *", refused="4 fields"),
    ScheduleRow(expression="0 0 0 * * *", refused="6 fields"),
    ScheduleRow(expression="0 0 * monday *", refused="is not a month"),
    ScheduleRow(expression="0 0 * * SUNN", refused="Did you mean 'SUN'?"),
    ScheduleRow(expression="@every 1d", refused="a day is 24h"),
    ScheduleRow(expression="@Daily", refused="Did you mean '@daily'?"),
    ScheduleRow(expression="@reboot", refused="Use five fields, or one of"),
    ScheduleRow(
        expression="0 0 * * *", zone="Mars/Phobos", refused="not a time zone", source=CONTROLLER
    ),
    ScheduleRow(
        expression="0 0 * * *", zone="Europe/Belin", refused="'Europe/Berlin'", source=CONTROLLER
    ),
    # Taken by the library, and refused by the definition of a CronWorkflow since Argo Workflows 4.
    ScheduleRow(expression="+5 * * * *", refused="'+' is not allowed", source=DEFINITION),
    ScheduleRow(expression="@every 1.5h", refused="whole numbers", source=DEFINITION),
    ScheduleRow(
        expression="TZ=Europe/Berlin 0 0 * * *", refused="Write it as `timezone`", source=DEFINITION
    ),
    ScheduleRow(
        expression="CRON_TZ=UTC 0 0 * *", refused="Write it as `timezone`", source=DEFINITION
    ),
]
"""What Argo never runs, whatever its API server says to it."""

SCHEDULES = [*RUNS, *CLOCKS, *NEVER, *REFUSED]


# -------------------------------------------------------------------------------------- events

TRIGGER = "argo-events 6478ece, pkg/eventbus/jetstream/sensor/trigger_conn.go"
VALIDATE = "argo-events 6478ece, pkg/reconciler/sensor/validate.go"
TEMPLATE = "argo-events 6478ece, pkg/sensors/triggers/params.go; encoding/json of Go 1.26"
RECORDED = "recorded on Argo Events at 6478ece and nats-server 2.9.10, 2026-11-30"
EVALUATE = "Knetic/govaluate v3.0.1, parsing.go: a name begins with a letter"

RESTART = "the Sensor's process is started again"

Sent = tuple[str, Mapping[str, Any]] | str
"""The name of an event with the other fields of its payload, or `RESTART`."""


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """What a flow waits for, what is sent, and what Argo starts."""

    what: str
    waits: tuple[str, ...]
    """Names of events; each gives a parameter of its own its field `k`."""
    required: bool = False
    """Whether these parameters are."""
    kind: str = "str"
    """Their type."""
    sent: tuple[Sent, ...]
    started: tuple[Mapping[str, str], ...] = ()
    """For each Workflow the text of each event's `k`, as the Sensor passes it on."""
    check: str = ""
    """What `check` says of such a flow; empty: nothing is wrong with it."""
    told: str = ""
    """What the loop tells where a cluster says nothing."""
    source: str = RECORDED


EVENTS = [
    EventRow(
        what="the latest of each name counts, and a start begins anew",
        waits=("a", "b"),
        sent=(("a", {"k": "a1"}), ("a", {"k": "a2"}), ("b", {"k": "b1"}), ("b", {"k": "b2"})),
        started=({"a": '"a2"', "b": '"b1"'},),
    ),
    EventRow(
        what="what waits survives a restart",
        waits=("a", "b"),
        sent=(("a", {"k": "a1"}), RESTART, ("b", {"k": "b1"})),
        started=({"a": '"a1"', "b": '"b1"'},),
        source=f"{RECORDED}; getSavedDependencies in {TRIGGER}",
    ),
    EventRow(
        what="a start that can't be passed on clears what waited",
        waits=("a", "b"),
        sent=(("a", {"k": [1, 2]}), ("b", {"k": "b1"}), ("b", {"k": "b2"}), ("a", {"k": "a2"})),
        started=({"a": '"a2"', "b": '"b2"'},),
        told="type=JSONType",
        source=f"processDependency in {TRIGGER}: clearAllDependencies after every action",
    ),
    EventRow(
        what="an event that passes no filter leaves what waits",
        waits=("a", "b"),
        required=True,
        sent=(("a", {"k": "a1"}), ("b", {}), ("b", {"k": "b1"})),
        started=({"a": '"a1"', "b": '"b1"'},),
        told="no 'k' for the required parameter",
    ),
    EventRow(
        what="null is there",
        waits=("a",),
        required=True,
        sent=(("a", {"k": None}),),
        started=({"a": "null"},),
    ),
    EventRow(
        what="a name that begins with a digit",
        waits=("1st",),
        sent=(("1st", {"k": "x"}),),
        check="whose name does not begin with a letter",
        told="does not begin with a letter",
        source=EVALUATE,
    ),
    EventRow(
        what="a name that begins with an underscore",
        waits=("_a",),
        sent=(("_a", {"k": "x"}),),
        check="whose name does not begin with a letter",
        told="does not begin with a letter",
        source=EVALUATE,
    ),
    *(
        EventRow(
            what=f"{number} as Go prints it",
            waits=("a",),
            kind="float",
            sent=(("a", {"k": number}),),
            started=({"a": text},),
            source=f"{RECORDED}; {TEMPLATE}",
        )
        for number, text in (
            (1234567890123456789, "1234567890123456800"),
            (2**53 + 1, "9007199254740992"),
            (1e-07, "1e-7"),
            (0.000001, "0.000001"),
            (-0.0, "-0"),
            (5.0, "5"),
            (1e21, "1e+21"),
            (123456789012345680000.0, "123456789012345680000"),
        )
    ),
]


@dataclass(frozen=True, kw_only=True)
class BodyRow:
    """A body that is posted with a type, and whether Argo Events hears an event in it.

    The webhook answers 200 to all of them.
    """

    kind: str
    heard: bool
    source: str = "argo-events v1.9.11, pkg/eventsources/sources/webhook/start.go: GetBody"


BODIES = [
    BodyRow(kind="", heard=True),
    BodyRow(kind="application/json", heard=True),
    BodyRow(kind="text/plain", heard=True),
    BodyRow(kind="application/x-www-form-urlencoded; charset=utf-8", heard=True),
    BodyRow(kind="application/x-www-form-urlencoded", heard=False),
]


@dataclass(frozen=True, kw_only=True)
class ResetRow:
    """The `reset_at` of a trigger, and why Argo Events never does it; empty: it does."""

    cron: str
    timezone: str = ""
    refused: str = ""
    source: str = f"{VALIDATE}: a parser of five fields without descriptors"


RESETS = [
    ResetRow(cron="0 3 * * *", timezone="Europe/Berlin"),
    ResetRow(cron="0 3 * * *"),
    *(
        ResetRow(cron=row.expression, refused="five fields")
        for row in SCHEDULES
        if row.expression.startswith("@")
    ),
    ResetRow(cron="0 0 * * 7", refused="Sunday"),
]

RESETS_LEFT_OUT = [
    '{"hour": 3}',
    '{"cron": ""}',
    '{"cron": "0 3 * * *", "tz": "UTC"}',
    '"0 3 * * *"',
]
"""As Python: what Metaflow compiles to no reset at all, without a word.

metaflow 2.19.39, plugins/argo/argo_workflows.py: `trigger_options.get("reset_at").get("cron")`.
"""
