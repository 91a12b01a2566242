"""The only bridge from flows to what is below: `BaseFlow`, and `on_change` to start a flow.

Whatever a flow may call on `self` stands here; how it is done stands in the layers below.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import isfunction
from typing import TYPE_CHECKING, Any, Final

from metaflow import (
    Config,
    FlowMutator,
    FlowSpec,
    config_expr,
    current,
    namespaced_event_name,
    project,
    user_step_decorator,
)

from flowproject.codepackage import leave_out, read_by_steps
from flowproject.config import FILE, Project, Sensor, project_root, refuse_two_copies
from flowproject.errors import ConfigError, DeliveryError, FlowError, closest
from flowproject.events import bus_address, full_name, publish, ready_event, turn_event
from flowproject.metaflow_internals.datastore import root_of_task
from flowproject.metaflow_internals.flows import PreparedParameters, mutated_class
from flowproject.metaflow_internals.packaging import project_file
from flowproject.metaflow_internals.settings import name_user
from flowproject.packages import equip
from flowproject.secrecy import guard_output, scrub
from flowproject.starting import (
    GO_ON,
    HOLD,
    decode_parameter,
    end_turn,
    event_payloads,
    fail_turn,
    show_why_skipped,
    skip_step,
    take,
)
from flowproject.tables.arrow import frame

if TYPE_CHECKING:
    from pathlib import Path

    from flowproject.change import Change, Changes
    from flowproject.changes.observation import Progress
    from flowproject.config.data import Data
    from flowproject.journal import Store
    from flowproject.sensing import ProjectContext
    from flowproject.sources import Source

__all__ = ["BaseFlow", "on_change", "on_schedule"]

_TELL_SECONDS: Final = 10.0

# Here, for every process of a run imports this module before Metaflow asks who runs it.
name_user()


def _config_file() -> str:
    """The project's configuration; Metaflow says so itself if there is none."""
    try:
        return str(project_root() / FILE)
    except ConfigError:
        return FILE


@user_step_decorator
def _take_changes(
    step: str, flow: "BaseFlow", inputs: Sequence["BaseFlow"] | None
) -> Iterator[Callable[..., None] | None]:
    """Take the changes that the run is told of, before its first step; or pass by every step.

    After the last step of a run that takes changes in order, the next one has its turn.
    """
    # Before anything else: what a user's step prints may have a password in it, and so may ours.
    guard_output()
    # After a join any branch will do: every step hands on what the first one claimed.
    reasons = take(flow, inputs[0] if inputs else flow, flow._store)  # noqa: SLF001  # it is ours
    if reasons:
        show_why_skipped(flow, step, reasons)
    try:
        yield skip_step(step) if reasons else None
    except Exception as error:
        # Metaflow keeps a failure as an artifact, and prints it after our part is over.
        scrub(error)
        if not reasons:
            fail_turn(flow, step, flow._sensors, flow._store)  # noqa: SLF001  # it is ours
        raise
    if not reasons:
        end_turn(flow, step, flow._sensors, flow._store)  # noqa: SLF001  # it is ours


class _Equipped(FlowMutator):  # type: ignore[misc]  # Metaflow ships no types
    """Gives every step of a flow what `BaseFlow` promises, and every package what steps read."""

    def pre_mutate(self, mutable_flow: Any) -> None:
        """Have a flow that looks start on the events at which its sensors are to be looked at.

        Raises:
            ConfigError: if it has a trigger of its own.
        """
        flow = mutated_class(mutable_flow)
        sensors = _config(mutable_flow)["sensors"]
        pushes: dict[str, list[str]] = {}
        for name in flow.sensors or sensors:
            if event := sensors.get(name, {}).get("on_event"):
                pushes.setdefault(event, []).append(name)
        if not pushes or not _observes(flow):
            return
        if any(spec[0] == "trigger" for spec in mutable_flow.decorator_specs):
            raise ConfigError(
                f"{flow.__name__} has a @trigger, and looks at sensors with on_event",
                where="flowproject.toml",
                allowed="A flow that looks starts on its schedule and on those events",
                fix="Take the trigger away, or `on_event`",
            )
        flow._pushes = pushes  # noqa: SLF001  # it is ours
        # Both must have come, and of each the bus keeps the newest: a burst of pushes while a run
        # is on its way is one run after it, and none is lost.
        events = [*sorted(pushes), namespaced_event_name(ready_event(flow.__name__))]
        mutable_flow.add_decorator("trigger", deco_kwargs={"events": events})

    def mutate(self, mutable_flow: Any) -> None:
        config = _config(mutable_flow)
        # Before Metaflow packs the package, and ends in the middle of it.
        refuse_two_copies(project_root())
        self._exclude = tuple(config["deploy"]["exclude"])
        types = _source_types(config)
        for _, step in mutable_flow.steps:
            # Once, though a flow may inherit from one that inherits from us.
            step.add_decorator(_take_changes, duplicates=step.IGNORE)
            equip(step, types)

    def add_to_package(self) -> Iterator[tuple[str, str, Any]]:
        # At this moment the package is being filled: what is left out now is not looked for.
        leave_out(self._exclude)
        root = project_root()
        for file in read_by_steps(root):
            yield project_file(file, root)


@_Equipped
@project(name=config_expr("flowconfig.project_name"))
class BaseFlow(PreparedParameters, FlowSpec):  # type: ignore[misc]  # Metaflow ships no types
    """What every flow of a project inherits: its configuration, its queries, its change."""

    flowconfig = Config(
        "flowconfig",
        default=_config_file(),
        parser="flowproject.config.parse.parse_config",
        help="The project's configuration",
    )

    # Artifacts, which runs that resume this one read, with a newer flowproject, too.
    change_events: list[dict[str, Any]]
    change_claim: dict[str, Any]
    sensors: tuple[str, ...] = ()
    _in_order = ""
    _pushes: Mapping[str, Sequence[str]] = {}  # a ClassVar to everybody but Metaflow

    @property
    def change(self) -> "Change | None":
        """The change that started this run, or None if it was started by hand.

        Of a flow that waits for several sensors it is the newest; `changes` has all.
        """
        return next(iter(self.changes), None)

    @property
    def changes(self) -> "Changes":
        """The changes that started this run, one of each sensor it waits for, newest first.

        Of several sensors each is all that the sensor saw since the last run of this flow, and
        `self.changes["orders"]` is that of the sensor `orders`.
        """
        # With it comes the journal, a fifth of what Metaflow takes to import.
        from flowproject.change import Change, Changes

        return Changes(
            Change(told, self._store, partial(self._place_of, told["sensor"]))
            for told in self.change_events
        )

    def query(self, name: str, /, **parameters: object) -> list[dict[str, Any]]:
        """The rows of `sql/<name>.sql`, run on the source of `[data]`.

        Parameters are bound to `:name` in the SQL, never pasted. With `at=self.change` they are the
        rows that were there when the change was seen: of the version that its sensor saw, if the
        source keeps versions, and otherwise what the journal has of the sensor's own query.

        Raises:
            QueryError: if the file, the SQL or its parameters are wrong.
            SourceError: if the source can't run queries or can't be reached.
        """
        rows: list[dict[str, Any]] = self._asked(parameters).query(name, parameters)
        return rows

    def query_arrow(self, name: str, /, **parameters: object) -> Any:
        """The rows that `query` gives, as a pyarrow.Table: columns, in the engine's own types.

        Raises:
            QueryError: if the file, the SQL or its parameters are wrong.
            SourceError: if the source can't run queries or can't be reached.
        """
        return self._asked(parameters).query_arrow(name, parameters)

    def query_frame(self, name: str, /, **parameters: object) -> Any:
        """The rows that `query` gives, as a pandas.DataFrame.

        Raises:
            QueryError: if the file, the SQL or its parameters are wrong.
            SourceError: if the source can't run queries or can't be reached, or pandas is missing.
        """
        return frame(self.query_arrow(name, **parameters))

    def observe(self, *, force: bool = False) -> list[dict[str, Any]]:
        """One tick of every sensor, recorded in the journal and shown on the step's card.

        A sensor that fails is in the result with its reason; the others are not affected.
        """
        # Sensing takes half as long to import as Metaflow: steps without sensors do without.
        from flowproject import cards, sensing

        context = self._project_context(sensing.ProjectContext)
        self._be_ready()
        names = sensing.chosen(context, self._pushed() or self.sensors)
        seen = sensing.observe(context, names, force=force) if names else []
        ticks = [tick.to_json() for tick in seen]
        for tick in ticks:
            print(f"{tick['sensor']}: {tick['outcome']}, {tick['reason']}")
            if tick["alert"]:
                print(f"{tick['sensor']}: {tick['alert']}")
        if hasattr(current, "card"):
            current.card.extend(cards.sensor_card(ticks))
        return ticks

    def publish(self, ticks: Sequence[Mapping[str, Any]]) -> None:
        """Hand each recorded change to the event bus, until the bus has it.

        Raises:
            TickError: after all the others are done, with the list of what failed.
        """
        from flowproject import sensing  # late, as in `observe`

        context = self._project_context(sensing.ProjectContext)
        seen = sensing.publish(context, [sensing.Tick.from_json(tick) for tick in ticks])
        for tick in seen:
            if tick.delivery:
                print(f"{tick.sensor}: {tick.delivery}")
        sensing.raise_for_failures(seen)

    def _pushed(self) -> tuple[str, ...]:
        """The sensors that the events which started this run are for; none if it was a schedule."""
        # By the configuration of now, as all that a run does.
        names = {str(told.get("name")) for told in event_payloads("event")}
        return tuple(
            name
            for name, sensor in self._sensors().items()
            if sensor.on_event in names and (not self.sensors or name in self.sensors)
        )

    def _be_ready(self) -> None:
        """Say that from here on a push may start a run again: this one looks later than now."""
        if not self._pushes:
            return
        try:
            if bus_address():
                event = ready_event(current.flow_name)
                name = full_name(event, project=current.project_name, branch=current.branch_name)
                publish(name, {"id": f"{current.flow_name}/{current.run_id}"})
        except DeliveryError as error:
            # The schedule looks, and its run says it again.
            print(f"Events start no run before the next one on schedule. {error}")

    @classmethod
    def _prepare_parameter(cls, parameter: Any) -> None:
        decode_parameter(parameter)

    @property
    def _project(self) -> Project:
        config = self.flowconfig
        return Project.from_dict(config if isinstance(config, dict) else config.to_dict())

    def _sensors(self) -> Mapping[str, Sensor]:
        return self._project.sensors

    def _place_of(self, sensor: str) -> "tuple[Data, Path]":
        """What the configuration says of the source of a sensor, and the project's folder."""
        if sensor not in self._sensors():
            raise FlowError(
                f"Where the source is can't be told: this project has no sensor {sensor!r} any "
                "more",
                where=FILE,
                allowed=f"Sensors: {', '.join(self._sensors())}; `self.change.snapshot` is what "
                "the journal has",
                fix=closest(sensor, self._sensors()),
            )
        return self._sensors()[sensor].data, project_root()

    def _asked(self, parameters: dict[str, object]) -> Any:
        """What is to answer a query; `at` is taken out of its parameters if it is a change."""
        if "at" in parameters:
            from flowproject.change import change_asked_of  # late, as in `changes`

            if change := change_asked_of(parameters):
                return change.as_it_was()
        return self._source()

    def _source(self) -> "Source":
        # Few flows have queries; those that do pay for the client of their source as well.
        from flowproject.sources import open_source

        data = self._project.data or next(iter(self._project.sensors.values())).data
        return open_source(data, project_root())

    def _project_context(self, kind: "type[ProjectContext]") -> "ProjectContext":
        return kind(
            project=self._project,
            root=project_root(),
            store=self._store(),
            branch=current.branch_name,
            run=f"{current.flow_name}/{current.run_id}",
            datastore=root_of_task(self),
            report=_Teller(),
        )

    def _store(self) -> "Store":
        # Asked for only by a run that has a change: obstore and pyarrow are behind it.
        from flowproject.journal import open_store

        return open_store(root_of_task(self))


class on_change(FlowMutator):  # type: ignore[misc]  # noqa: N801  # used as a decorator
    """Start the flow when a sensor sees a change; with several, when all of them have.

    With `in_order=True` the flow takes the changes of its one sensor one after the other, in the
    order in which they were recorded. A run that failed holds the next ones back until it is
    resumed, replayed or skipped; with `after_failure="go on"` it does not.
    """

    def init(self, *sensors: str, in_order: bool = False, after_failure: str = HOLD) -> None:
        """Take the names of the sensors, and how their changes are to be taken."""
        self._sensors = sensors
        self._in_order = in_order
        self._after_failure = after_failure

    def pre_mutate(self, mutable_flow: Any) -> None:
        """Add `@trigger` for the events of the sensors.

        Raises:
            ConfigError: if a sensor is not in the configuration, or the changes of several are to
                be taken in order.
        """
        known = _config(mutable_flow)["sensors"]
        for name in self._sensors:
            if name not in known:
                raise ConfigError(
                    f"@on_change({name!r}) names no sensor of this project",
                    where="flowproject.toml",
                    allowed=f"Sensors: {', '.join(known)}",
                    fix=closest(name, known),
                )
        self._check_order()
        events = [known[name]["event_name"] for name in self._sensors]
        if self._in_order:
            flow = mutated_class(mutable_flow)
            flow._in_order = self._after_failure  # noqa: SLF001  # it is ours
            # An event of its own for each flow: the sensor's own would start all that listen.
            events = [turn_event(event, flow.__name__) for event in events]
        mutable_flow.add_decorator(
            "trigger", deco_kwargs={"events": [namespaced_event_name(event) for event in events]}
        )

    def _check_order(self) -> None:
        names = ", ".join(map(repr, self._sensors))
        if self._in_order and len(self._sensors) != 1:
            raise ConfigError(
                f"@on_change({names}, in_order=True) names {len(self._sensors)} sensors",
                allowed="The changes of one sensor have an order",
                fix="Name one sensor, or take `in_order=True` away: of several sensors a run has "
                "all since the last one",
            )
        if self._after_failure not in (HOLD, GO_ON):
            raise ConfigError(
                f"after_failure={self._after_failure!r} of @on_change({names}) says nothing known",
                allowed=f"{HOLD!r}: the next changes wait; {GO_ON!r}: they do not",
                fix=closest(self._after_failure, (HOLD, GO_ON)),
            )
        if self._after_failure != HOLD and not self._in_order:
            raise ConfigError(
                f"@on_change({names}, after_failure={self._after_failure!r}) has no in_order=True",
                allowed="Only changes that are taken in order wait for a run that failed",
                fix="Add `in_order=True`, or take `after_failure` away",
            )


class on_schedule(FlowMutator):  # type: ignore[misc]  # noqa: N801  # used as a decorator
    """Start the flow on a schedule of its own, in place of one that it inherits.

    Metaflow's `@schedule` can't be given anew to a subclass of a flow that has it.
    """

    def init(self, cron: str, timezone: str = "") -> None:
        """Take the schedule: five fields, and a time zone (default: UTC)."""
        self._schedule = {"cron": cron, "timezone": timezone or None}

    def pre_mutate(self, mutable_flow: Any) -> None:
        """Put the schedule in the place of the inherited one."""
        # Not `duplicates=OVERRIDE`: of an inherited decorator Metaflow 2.19 keeps both.
        mutable_flow.remove_decorator("schedule")
        mutable_flow.add_decorator("schedule", deco_kwargs=self._schedule)


class _Teller:
    """Tells in the log of a step how far long looks are, every ten seconds and not more often."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def __call__(self, sensor: str, progress: "Progress") -> None:
        now = time.monotonic()
        if now < self._next.setdefault(sensor, now + _TELL_SECONDS):
            return
        self._next[sensor] = now + _TELL_SECONDS
        of = f" of about {progress.expected:,}" if progress.expected else ""
        print(f"{sensor}: {progress.seen:,}{of} items seen", flush=True)


def _observes(flow: type) -> bool:
    """Whether a step or a method of it calls `observe`; those of BaseFlow itself don't count."""
    own = (kind for kind in flow.__mro__ if not kind.__module__.startswith("flowproject."))
    functions = (one for kind in own for one in vars(kind).values() if isfunction(one))
    return any("observe" in function.__code__.co_names for function in functions)


def _config(mutable_flow: Any) -> Any:
    """The configuration, while Metaflow sets the flow up."""
    [config] = [value for name, value in mutable_flow.configs if name == "flowconfig"]
    return config


def _source_types(config: Any) -> set[str]:
    """The types of all sources that the configuration names."""
    data = [config["data"], *(sensor["data"] for sensor in config["sensors"].values())]
    return {one["type"] for one in data if one}
