"""Draw the project as a graph of sources, sensors, events and flows, and mark what is live."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flowproject.config import Sensor
from flowproject.dev.page.components import run_address, sensor_address
from flowproject.dev.page.context import PageContext
from flowproject.events import full_name, turn_event

__all__ = ["Edge", "Graph", "Node", "graph"]

# Sizes are worked out here, not by the browser: so the graph is the same in a test, in JSON and in
# print.
_WIDTH: Final = 190.0
_HEIGHT: Final = 56.0
_GAP: Final = 18.0
_BETWEEN: Final = 70.0
_MARGIN: Final = 12.0
_COLUMNS: Final = ("source", "sensor", "event", "flow")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A box; its place and size are in units of the graph's own size."""

    kind: str
    """`source`, `sensor`, `event` or `flow`."""
    title: str
    subtitle: str
    href: str
    state: str
    """The outcome of a sensor, the state of a flow's newest run, `paused`, or empty."""
    live: bool
    """Whether something is under way there right now."""
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An arrow from the right side of one box to the left side of another."""

    x1: float
    y1: float
    x2: float
    y2: float
    live: bool
    words: str
    """`sensor weather sends weather_changed`: the graph as a list, for those who can't see it."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All boxes and arrows, and the size of the whole."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, kw_only=True)
class _Box:
    """A box before it has a place; `key` is what arrows lead to."""

    key: tuple[str, str]
    title: str
    subtitle: str
    href: str = ""
    state: str = ""
    live: bool = False


_Arrow = tuple[tuple[str, str], tuple[str, str], str]


def graph(context: PageContext) -> Graph:
    """Draw four columns, in the order of the configuration and of the flow files."""
    boxes = [*_sources(context), *_sensors(context), *_events(context), *_flows(context)]
    nodes = _placed(boxes)
    arrows = [*_watching(context), *_listening(context)]
    return Graph(
        width=2 * _MARGIN + len(_COLUMNS) * _WIDTH + (len(_COLUMNS) - 1) * _BETWEEN,
        height=max((node.y + node.height for node in nodes.values()), default=0.0) + _MARGIN,
        nodes=tuple(nodes.values()),
        edges=tuple(_edge(nodes, arrow) for arrow in arrows),
    )


def _configured(context: PageContext) -> Sequence[Sensor]:
    return list(context.project_context.project.sensors.values()) if context.project_context else []


def _source(sensor: Sensor) -> tuple[str, str]:
    """Type and place of what a sensor looks at."""
    data = sensor.data
    # What people know the place by, in the order in which one source may have several of them.
    names = ("bucket", "path", "container", "query")
    place = next((text for name in names if (text := str(getattr(data, name, "") or ""))), "")
    return data.type, place


def _sources(context: PageContext) -> Iterator[_Box]:
    # Sensors that look at the same place share a box.
    for kind, place in dict.fromkeys(map(_source, _configured(context))):
        yield _Box(key=("source", f"{kind} {place}"), title=kind, subtitle=place)


def _sensors(context: PageContext) -> Iterator[_Box]:
    for sensor in _configured(context):
        tick = context.loop.latest(sensor.name)
        state = "paused" if sensor.name in context.paused else tick.outcome if tick else ""
        yield _Box(
            key=("sensor", sensor.name),
            title=sensor.name,
            subtitle=state or "not looked at yet",
            href=sensor_address(sensor.name),
            state=state,
            live=context.is_looking(sensor.name),
        )


def _event_names(context: PageContext) -> Mapping[str, Sensor | None]:
    """Every event that is sent or waited for, by its full name, and the sensor that sends it."""
    project_context = context.project_context
    sent: dict[str, Sensor | None] = {
        full_name(
            sensor.event_name,
            project=project_context.project.project_name,
            branch=project_context.branch,
        ): sensor
        for sensor in _configured(context)
        if project_context
    }
    # That by which a flow is told that it is its turn is sent by the same sensor.
    turns = {
        turn_event(name, flow.name): sensor
        for flow in context.flows
        for name, sensor in sent.items()
        if turn_event(name, flow.name) in {event.event for event in flow.dependencies}
    }
    # Overwritten by what is sent: an event without a sender was sent by nobody here.
    awaited = {event.event: None for flow in context.flows for event in flow.awaited}
    return {**awaited, **sent, **turns}


def _events(context: PageContext) -> Iterator[_Box]:
    counts: dict[str, int] = {}
    for event in context.loop.events:
        counts[event.event] = counts.get(event.event, 0) + 1
    for name, sensor in sorted(_event_names(context).items(), key=lambda pair: pair[1] is None):
        seen = counts.get(name, 0)
        yield _Box(
            key=("event", name),
            title=_title(name, sensor),
            subtitle=f"{seen:,} since the loop began",
        )


def _flows(context: PageContext) -> Iterator[_Box]:
    for flow in context.flows:
        latest = context.loop.newest_run(flow.name)
        yield _Box(
            key=("flow", flow.name),
            title=flow.name,
            subtitle=f"{latest.state}" if latest else "not run yet",
            # A run that failed before it had an id has no view of its own.
            href=(run_address(latest.name) if latest else "") or "/runs",
            state=latest.state if latest else "",
            live=latest is not None and latest.state == "running",
        )


def _watching(context: PageContext) -> Iterator[_Arrow]:
    for sensor in _configured(context):
        kind, place = _source(sensor)
        words = f"sensor {sensor.name} looks at {kind} {place}".rstrip()
        yield ("source", f"{kind} {place}"), ("sensor", sensor.name), words
    for name, sender in _event_names(context).items():
        if sender:
            words = f"sensor {sender.name} sends {_title(name, sender)}"
            yield ("sensor", sender.name), ("event", name), words


def _listening(context: PageContext) -> Iterator[_Arrow]:
    for flow in context.flows:
        for event in flow.awaited:
            words = f"{_short(context, event.event)} starts {flow.name}"
            yield ("event", event.event), ("flow", flow.name), words


def _short(context: PageContext, event: str) -> str:
    return _title(event, _event_names(context).get(event))


def _title(event: str, sensor: Sensor | None) -> str:
    """What people call the event: if a sensor of this project sends it, without project and branch.

    That by which one flow is told of its turn has that flow's name at its end.
    """
    return event[event.rindex(sensor.event_name) :] if sensor else event


def _placed(boxes: Sequence[_Box]) -> dict[tuple[str, str], Node]:
    rows = dict.fromkeys(_COLUMNS, 0)
    nodes: dict[tuple[str, str], Node] = {}
    for box in boxes:
        kind = box.key[0]
        nodes[box.key] = Node(
            kind=kind,
            title=box.title,
            subtitle=box.subtitle,
            href=box.href,
            state=box.state,
            live=box.live,
            x=_MARGIN + _COLUMNS.index(kind) * (_WIDTH + _BETWEEN),
            y=_MARGIN + rows[kind] * (_HEIGHT + _GAP),
            width=_WIDTH,
            height=_HEIGHT,
        )
        rows[kind] += 1
    return nodes


def _edge(nodes: Mapping[tuple[str, str], Node], arrow: _Arrow) -> Edge:
    start, end = nodes[arrow[0]], nodes[arrow[1]]
    return Edge(
        x1=start.x + start.width,
        y1=start.y + start.height / 2,
        x2=end.x,
        y2=end.y + end.height / 2,
        live=start.live or end.live,
        words=arrow[2],
    )
