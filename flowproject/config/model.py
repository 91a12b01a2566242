"""Models the configuration as plain frozen dataclasses, with the documentation of every key.

Nothing third-party may be imported here: a remote task reads its configuration with
`Project.from_dict(flowconfig)`. Checking what a person wrote is the business of `parse`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from flowproject.config.data import DATA_TYPES, Data, Seconds, SomeSeconds
from flowproject.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "DEFAULT_SENSOR",
    "FILE",
    "Alerts",
    "Deploy",
    "Environment",
    "First",
    "Project",
    "Schedule",
    "SchemaChange",
    "Sensor",
    "key_of",
]

FILE: Final = "flowproject.toml"
"""Name of the file that all of this is read from, in the project's folder."""

DEFAULT_SENSOR: Final = "data"
"""What the only sensor of a file is called that gives it no name."""

# `dataclasses.fields` takes instances and classes of dataclasses, and typeshed has a name for
# these.
_T = TypeVar("_T", bound="DataclassInstance")

# What a value must look like is named here and said in `keys`, which steps need not import.
ProjectName = Annotated[str, "project name"]
SensorName = Annotated[str, "sensor name"]
EventName = Annotated[str, "event name"]
PushedEvent = Annotated[str, "pushed event"]
PayloadKey = Annotated[str, "payload key"]
Cron = Annotated[str, "cron"]
TimeZone = Annotated[str, "time zone"]
EventCount = Annotated[int, "events in an hour"]
FailureCount = Annotated[int, "failures in a row"]
MailAddress = Annotated[str, "mail address"]
VariableName = Annotated[str, "variable name"]

First = Literal["baseline", "fire"]
"""What the first tick of a sensor does."""


SchemaChange = Literal["change", "compare", "fail"]
"""What it means if the columns of a query's result change, and nobody edited the query."""


Environment = Literal["", "fast-bakery", "pypi"]
"""What makes the environments of remote steps."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often all sensors are looked at; they share one cadence."""

    cron_schedule: Cron = "*/5 * * * *"
    """When to look: minute, hour, day of month, month, day of week. Empty: the default, which is
    frequent enough to try things out and rare enough to cost little."""

    timezone: TimeZone = ""
    """Time zone of the schedule, such as `"Europe/Helsinki"`. Empty: UTC, which has no summer time
    and so neither skips nor doubles an hour."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What to look at, and the event to send when it changed."""

    name: SensorName
    """Name of the sensor: lowercase letters, digits and underscores, a letter first."""

    data: Data
    """What to look at."""

    event_name: EventName
    """Event to send, within this project and branch. Empty: the sensor's name and `_changed`."""

    payload_key: PayloadKey = "value"
    """Key of the event's payload that holds the new value. A flow that the event starts gets it in
    the `Parameter` of the same name. Empty: `value`."""

    on_event: PushedEvent = ""
    """Event at which this sensor is looked at, at once and beside its schedule: one that comes from
    elsewhere, under the name that its publisher gives it, such as `"uploads.orders"`. What it says
    is not read: the sensor looks. Empty: it is looked at on schedule only."""

    expect_every: Seconds = 0.0
    """How long, in seconds, nothing may change before somebody is told, by `[alerts]`: a delivery
    that stays away fails nowhere. Seen at the tick that is due then. 0: however long."""

    first: First = "baseline"
    """What the first tick does: `baseline` remembers what is there and sends nothing, so that
    deploying starts no run; `fire` treats everything that is there as a change."""

    schema_change: SchemaChange = "change"
    """What it means if the columns of a query's result, or their types, change beneath a query that
    nobody edited. Rows are then compared in the columns that were there before and are there now,
    and a row that differs in none of these is not modified. `change`: that is a change by itself,
    which names the columns. `compare`: it is one only if rows differ; otherwise the columns are
    remembered. `fail`: the tick fails until they are as they were, or somebody forces one."""

    timeout: SomeSeconds = 300.0
    """How long, in seconds, one look may take before this sensor counts as failed. The default is
    the default cadence: a look that takes longer than that delays the next one."""

    receipt_timeout: SomeSeconds = 900.0
    """How long, in seconds, the flows that listen may take to start before the event is sent again,
    with the same id. After each sending the wait doubles. The default leaves a busy cluster time to
    find room for a pod."""

    max_attempts: int = 5
    """How often the event of a change is sent, at most. If there is still a flow that has not
    started, the change counts as undelivered: ticks fail, and say so, until it is replayed."""

    coalesce: bool = False
    """Whether changes that piled up (the bus was down, the sensor was held back) are sent as one
    event, with the difference from the oldest state to the newest."""

    max_events_per_hour: EventCount = 0
    """How many changes of this sensor may be sent in an hour. More of them are recorded, and wait
    until there is room: a source that flaps starts no storm of runs. 0: as many as there are."""


@dataclass(frozen=True, kw_only=True)
class Alerts:
    """Who is told of incidents by the ticks themselves, when one begins and when it is over.

    A sensor fails, a change was given up, or nothing changes for longer than is expected.
    """

    after_failures: FailureCount = 3
    """How often in a row a sensor must have failed. The default lets a network that is away for a
    moment pass."""

    webhook: VariableName = ""
    """Name of the environment variable that has the address to which incidents are posted as JSON.
    The variable must be set where ticks run; the address is a secret, and stands in no file."""

    slack: VariableName = ""
    """Name of the environment variable that has the address of a webhook of Slack."""

    email_to: tuple[str, ...] = ()
    """Who gets a mail, such as `"data@example.com"`. It needs `smtp` and `email_from`."""

    email_from: MailAddress = ""
    """Whom mails are from."""

    smtp: VariableName = ""
    """Name of the environment variable that has the mail server, `smtp://USER:PASSWORD@HOST:PORT`,
    or `smtps://` where TLS begins at once. A password is sent over TLS only."""

    command: tuple[str, ...] = ()
    """A command and its arguments, run in the project's folder without a shell, that gets the
    incident as JSON on its standard input."""


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """Which git branch is production, and what every deployed flow is compiled with."""

    production_branch: str = "main"
    """The git branch that is deployed to production. Every other one gets a deployment of its own,
    in which nothing reaches production's flows, events or journal."""

    schedule_branches: tuple[str, ...] = ()
    """Patterns (globs) of the git branches, beside production's, whose sensors run on schedule,
    such as `"release/*"`; a `*` stops at a slash, `**` does not. Elsewhere sensors are deployed
    without their schedule, so that a branch costs nothing while nobody starts it."""

    foreign_event_branches: tuple[str, ...] = ("**",)
    """Patterns (globs) of the git branches, beside production's, whose flows start on events that
    come from elsewhere: those of `@trigger` and `@trigger_on_finish` that carry the name of no
    project and branch, or another's. Such an event starts the flow on every branch at once. Where
    they are left out, a flow that waits for one is deployed without its trigger, whatever else it
    waits for, and is started by hand."""

    environment: Environment = ""
    """What makes the environments of remote steps: `fast-bakery` on Outerbounds, `pypi` elsewhere;
    either gives each step the packages that the configured sources need. Empty: steps run in the
    image as it is, and `image_has_packages` must say that it has them."""

    image_has_packages: bool = False
    """Whether the image that steps run in has what the configured sources need, so that no
    `environment` must make it. `flowproject check --deploy` lists the packages."""

    with_: tuple[str, ...] = ()
    """Decorators for every step, as Metaflow's `--with` takes them, such as
    `"kubernetes:memory=8000"`. Empty: steps are as the flows say."""

    notify_on: tuple[Literal["error", "success"], ...] = ("error",)
    """Which ends of a run are told to the services below, on production and on the branches whose
    sensors run on schedule."""

    notify_slack: VariableName = ""
    """Name of the environment variable that has the address of a Slack webhook when you deploy. The
    address itself is a secret, and stands in no file of the project."""

    notify_pager_duty: VariableName = ""
    """Name of the environment variable that has an integration key of PagerDuty (Events API 2)."""

    notify_incident_io: VariableName = ""
    """Name of the environment variable that has an API key of Incident.io (API 2)."""

    notify_incident_io_source: str = ""
    """Identifier of the alert source of Incident.io. It is no secret."""

    exclude: tuple[str, ...] = ("benchmarks/**", "demo/**", "docs/**", "examples/**", "tests/**")
    """Patterns (globs) of files that no step needs, so that they do not travel to where steps run,
    and a change in them is no change of a flow. Metaflow takes all other Python files of the
    folder; the files of other flows go along only if something that does names them."""

    max_parallel: int = 4
    """How many flows are compiled and deployed at once. The default keeps a CI machine with two
    cores busy without filling its memory."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """All of `flowproject.toml`."""

    project_name: ProjectName
    """Name of the Metaflow project that all flows, runs and events of this folder belong to:
    lowercase letters, digits and underscores, at most 128, because that is Metaflow's rule."""

    data: Data | None = None
    """Where the data lives: what `self.query` reads, and what each sensor's own `data` is laid
    over. It may be missing (None), or lack a required key (empty), if every sensor adds that."""

    sensor: Schedule
    """When to look; and, in a project with one sensor, what to send."""

    sensors: dict[str, Sensor]
    """Every sensor by name. Without `[sensors.NAME]` there is one: `[data]`, with the name and the
    event that `[sensor]` gives it."""

    alerts: Alerts = field(default_factory=Alerts)
    """Who is told of a sensor that fails, of a change that was given up, and of silence."""

    deploy: Deploy = field(default_factory=Deploy)
    """Which git branch is production, and what every deployed flow is compiled with."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "Project":
        """The project that `to_dict` wrote, also as Metaflow's `flowconfig`; checks nothing."""
        data = config.get("data")
        return cls(
            project_name=config["project_name"],
            data=None if data is None else _data(data),
            # Also the only sensor's own keys stand in "sensor" (see `to_dict`): `_build` leaves
            # them out.
            sensor=_build(Schedule, config["sensor"]),
            sensors={name: _sensor(sensor) for name, sensor in config["sensors"].items()},
            alerts=_build(Alerts, config.get("alerts", {})),
            deploy=_build(Deploy, config.get("deploy", {})),
        )

    def to_dict(self) -> dict[str, Any]:
        """The normalised configuration in JSON types, in which defaults are filled in.

        A project's only sensor is also spelled out under `sensor`, so that
        `flowconfig.sensor.event_name` reads as it does in the file.
        """
        plain: dict[str, Any] = _plain(self)
        if len(self.sensors) == 1:
            [only] = plain["sensors"].values()
            plain["sensor"] |= {key: value for key, value in only.items() if key != "data"}
        return plain


def key_of(field: str) -> str:
    """The key that a field stands for: it has an underscore more if the key is a word of Python."""
    return field.removesuffix("_")


def _sensor(values: Mapping[str, Any]) -> Sensor:
    return _build(Sensor, {**values, "data": _data(values["data"])})


def _data(values: Mapping[str, Any]) -> Data:
    kind = values["type"]
    if kind not in DATA_TYPES:
        # What a run recorded, or a step that runs elsewhere was given.
        raise ConfigError(
            f"There is no source of type {kind!r} here",
            where="The configuration was read where there was one",
            allowed=f"Here are {', '.join(DATA_TYPES)}",
            fix="Install the package that brings it, also in the image of remote steps",
        )
    return _build(DATA_TYPES[kind], values)


def _build(cls: type[_T], values: Mapping[str, Any]) -> _T:
    """An instance of `cls`; foreign keys are left out, and those not given keep their default."""
    # A key such as `with` is a word of Python, and its field can't be called that.
    keys = {one.name: key_of(one.name) for one in fields(cls)}
    # A run may read what another version of flowproject wrote, which had other keys.
    return cls(**{name: _frozen(values[key]) for name, key in keys.items() if key in values})


def _frozen(value: Any) -> Any:
    # JSON has lists, and a list in a frozen dataclass could still be changed.
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Give the value in JSON types."""
    if is_dataclass(value):
        # Not `dataclasses.asdict`: it would keep tuples, and the underscore of `with_`.
        return {key_of(one.name): _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
