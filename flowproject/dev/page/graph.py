"""The project as a graph: sources, sensors, events, flows; and what is live in it."""

from dataclasses import dataclass

__all__ = ["Edge", "Graph", "Node"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """A box, in units of the graph's own size."""

    kind: str
    """`source`, `sensor`, `event` or `flow`."""
    title: str
    subtitle: str
    href: str
    symbol: str
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
    """From the right side of one box to the left side of another."""

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
