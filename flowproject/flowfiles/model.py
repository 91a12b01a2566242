"""Describes one flow file as plain frozen data with a JSON form.

It is written by the child process that asks Metaflow and read by everybody else.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from flowproject.metaflow_internals.argo import name_of_end_event, name_of_event

__all__ = ["Cron", "Dependency", "FlowFile", "FlowParameter", "FlowStep"]


@dataclass(frozen=True, kw_only=True)
class Cron:
    """Times given by five fields."""

    expression: str
    """As Argo gets it: Metaflow cuts off what comes after the fifth field."""
    timezone: str = ""
    """An IANA name; empty means UTC, as on a cluster."""
    left_out: str = ""
    """What was written behind the fifth field: AWS has the year there, Argo has nothing."""


@dataclass(frozen=True, kw_only=True)
class FlowParameter:
    """One `Parameter` of a flow."""

    name: str
    required: bool
    """Declared as required: an event without it does not start the flow, default or not."""
    type: str
    """`str`, `int`, `float`, `bool`, `JSON`, or the name of another type."""
    has_default: bool

    @property
    def is_json(self) -> bool:
        """Whether the value is parsed as JSON by Metaflow."""
        return self.type == "JSON"


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One step of a flow, as far as it says what it needs installed."""

    name: str
    marks: tuple[str, ...] = ()
    """Names of its decorators and mutators."""
    is_bare: bool = False
    """Whether it says itself that it wants no environment: `@pypi(disabled=True)`."""


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """One event that a flow waits for."""

    event: str
    """The full name, with project and branch where there are any."""
    type: Literal["event", "run"]
    """`event` for `@trigger`, `run` for `@trigger_on_finish`."""
    alias: str
    """Metaflow's sanitized name: a part of the name of the environment variable."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the flow -> key in the event's payload."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """Key in the payload -> the text that it must have."""
    flow: str = ""
    """The flow whose end is waited for, for `run`."""

    @property
    def is_evaluable(self) -> bool:
        """Whether Argo Events can evaluate the condition that Metaflow makes of it."""
        # Its expressions have the alias as a variable's name. That of a run begins with `metaflow`.
        return self.type == "run" or self.alias[:1].isalpha()


@dataclass(frozen=True, kw_only=True)
class FlowFile:
    """One flow, as Metaflow resolves it for one branch."""

    name: str
    """Name of the class."""
    path: Path
    """Absolute path of its file."""
    project: str = ""
    """Empty without `@project`; then there is no branch either."""
    branch: str = ""
    """With its prefix: `user.x`, `test.x`, `prod`, `prod.x`."""
    owner: str = ""
    """The user whom Metaflow runs it for."""
    schedule: Cron | None = None
    dependencies: tuple[Dependency, ...] = ()
    """All of them must have arrived before the flow starts."""
    reset: Cron | None = None
    """When events that wait for others are forgotten (`options={"reset_at": ...}`)."""
    parameters: tuple[FlowParameter, ...] = ()
    steps: tuple[FlowStep, ...] = ()
    end_step: str = "end"
    metadata: str = ""
    """Where its runs are recorded, in the form that `metaflow.metadata()` takes."""
    local_root: str = ""
    """Metaflow's local datastore for this project, even if artifacts go elsewhere."""
    datastore: str = ""
    """The root of the datastore that its runs use, unless they are told another."""
    inherits_ours: bool = False
    """Whether a class of flowproject is among its bases."""
    sensors: tuple[str, ...] = ()
    """The names under `sensors` in its class: those that it looks at. Empty: all, if it does."""
    looks_in: tuple[str, ...] = ()
    """The files whose code it is, if it does nothing but look at sensors and tell; else empty."""

    pushes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Event from elsewhere -> the sensors that it looks at when that comes. It then waits for one
    of these, and for its own word that it is ready for it."""

    @property
    def awaited(self) -> tuple[Dependency, ...]:
        """The events that others send and that it waits for."""
        if not self.pushes:
            return self.dependencies
        return tuple(one for one in self.dependencies if one.event in self.pushes)

    @property
    def own_events(self) -> tuple[Dependency, ...]:
        """The events that it sends itself and waits for."""
        return tuple(one for one in self.dependencies if one not in self.awaited)

    @property
    def full_name(self) -> str:
        """The name with project and branch in front, as in the events of its runs."""
        return ".".join(part for part in (self.project, self.branch, self.name) if part)

    def name_of(self, dependency: Dependency) -> str:
        """What people call the event: without the flow's own project and branch, dots and all.

        For a run it is the name of the flow that ends.
        """
        if dependency.type == "run":
            return name_of_end_event(dependency.event).removeprefix(
                f"{self.project}.{self.branch}."
            )
        return name_of_event(dependency.event, project=self.project, branch=self.branch)

    def parameter(self, name: str) -> FlowParameter:
        """The parameter of that name, in any case."""
        # Metaflow writes the names of mapped parameters in lower case.
        return next(item for item in self.parameters if item.name.lower() == name.lower())

    def to_json(self) -> dict[str, Any]:
        """The description in plain JSON types."""
        # Written on the template of a deployed flow as well: names of fields are a format.
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The description that `to_json` was made from."""
        return cls(
            **{
                # What a newer or older flowproject wrote on a cluster fails here, and is compiled.
                **data,
                "path": Path(data["path"]),
                "schedule": Cron(**data["schedule"]) if data["schedule"] else None,
                "reset": Cron(**data["reset"]) if data["reset"] else None,
                "dependencies": tuple(Dependency(**item) for item in data["dependencies"]),
                "sensors": tuple(data["sensors"]),
                "pushes": {event: tuple(names) for event, names in data.get("pushes", {}).items()},
                "looks_in": tuple(data.get("looks_in", ())),
                "parameters": tuple(FlowParameter(**item) for item in data["parameters"]),
                "steps": tuple(
                    FlowStep(**{**item, "marks": tuple(item["marks"])}) for item in data["steps"]
                ),
            }
        )
