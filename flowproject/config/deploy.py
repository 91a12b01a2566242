"""Where git branches go when they are deployed, with the documentation of every key.

Like `model`: nothing third-party, because the whole configuration is read in remote tasks.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

__all__ = ["Deploy", "Environment", "key_of"]

VariableName = Annotated[str, "variable name"]

Environment = Literal["", "fast-bakery", "pypi"]
"""What makes the environments of remote steps."""


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

    exclude: tuple[str, ...] = ("benchmarks/**", "demo/**", "docs/**", "tests/**")
    """Patterns (globs) of files that no step needs, so that they do not travel to where steps run,
    and a change in them is no change of a flow. Metaflow takes all other Python files of the
    folder; the files of other flows go along only if something that does names them."""

    max_parallel: int = 4
    """How many flows are compiled and deployed at once. The default keeps a CI machine with two
    cores busy without filling its memory."""


def key_of(field: str) -> str:
    """The key that a field stands for: it has an underscore more if the key is a word of Python."""
    return field.removesuffix("_")
