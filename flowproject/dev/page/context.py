"""Hold all that views are made of: the loop's state, its flows, its journals, what is paused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flowproject.config.parse import load
from flowproject.cron import DEADLINE
from flowproject.dev.page.state import LoopState
from flowproject.flowfiles import FlowFile
from flowproject.sensing import ProjectContext

__all__ = ["FORCE", "PageContext", "can_force", "open_project"]

FORCE = "force-trigger"
"""The parameter of a flow that makes its sensors tell of what has not changed."""


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """What the page knows. `project_context` is None in a project of which no flow has a branch."""

    loop: LoopState
    flows: tuple[FlowFile, ...]
    project_context: ProjectContext | None
    due: Callable[[], Mapping[str, datetime]]
    """Flow -> when its schedule is due next; empty where nothing is due any more."""
    last_due: Callable[[], Mapping[str, datetime]]
    """Flow -> when its schedule was due last."""
    now: Callable[[], datetime]
    root: Path
    """The project's folder."""
    bus: str = ""
    options: tuple[str, ...] = ()
    """The loop's branch, as command lines take it."""
    paused: dict[str, datetime] = field(default_factory=dict)
    """Sensor -> since when."""

    @property
    def project(self) -> str:
        """The name of the project; that of its folder if it has no other."""
        return self.project_context.project.project_name if self.project_context else self.root.name

    @property
    def sensors(self) -> tuple[str, ...]:
        """Every sensor by name, in the order of the configuration."""
        return tuple(self.project_context.project.sensors) if self.project_context else ()

    def flow(self, name: str) -> FlowFile | None:
        """Find the flow with this name."""
        return next((flow for flow in self.flows if flow.name == name), None)

    def flow_of(self, sensor: str) -> FlowFile | None:
        """Find the flow that looks at a sensor: the one that did so last, or else that may."""
        last = self.flow(self.loop.last_flows.get(sensor, ""))
        # A flow that was seen to look at it is more to be believed than what its file may mean.
        return last or next(self._candidates(sensor), None)

    def next_look(self, sensor: str) -> datetime | None:
        """Say when it is looked at next; None if nobody knows, or if it is paused."""
        flow = self.flow_of(sensor)
        return None if flow is None or sensor in self.paused else self.due().get(flow.name)

    def missed_look(self, sensor: str) -> datetime | None:
        """Say when a paused sensor was last passed by, if Argo would make up for that now."""
        flow = self.flow_of(sensor)
        last = self.last_due().get(flow.name) if flow else None
        # As Argo does when a suspended schedule is resumed: what was due within its deadline is
        # made up, once.
        if last is None or last < self.paused[sensor] or self.now() - last >= DEADLINE:
            return None
        return last

    def is_looking(self, sensor: str) -> bool:
        """Say whether a run that looks at it is under way."""
        flow = self.flow_of(sensor)
        running = (self.loop.runs[name] for name in self.loop.running)
        return flow is not None and any(
            run.flow == flow.name and (run.sensors is None or sensor in run.sensors)
            for run in running
        )

    def _candidates(self, sensor: str) -> Iterator[FlowFile]:
        """List the flows that may look at it, those first that can force a change."""
        ours = [flow for flow in self.flows if flow.inherits_ours and flow.schedule]
        able = [flow for flow in ours if not flow.sensors or sensor in flow.sensors]
        yield from sorted(able, key=lambda flow: not can_force(flow))


def can_force(flow: FlowFile) -> bool:
    """Say whether a flow can be told to force a change: it has `SensorFlow`'s parameter for it."""
    return any(parameter.name == FORCE for parameter in flow.parameters)


def open_project(root: Path, flows: Sequence[FlowFile]) -> ProjectContext | None:
    """Find where the journals of these flows are; None if none of them tells its branch.

    Raises:
        ConfigError: if the configuration can't be read.
        JournalError: if the datastore can't be opened.
    """
    # All flows of a loop have one branch, so the first that tells it tells that of all journals.
    ours = next((flow for flow in flows if flow.inherits_ours and flow.branch), None)
    if ours is None:
        return None
    return ProjectContext.open(
        root, project=load(root), branch=ours.branch, datastore=ours.datastore
    )
