"""Whether the cluster would take what is planned, asked before anything of it is written.

What it refuses is refused for good: half a deployment would be live, and the same again no better.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from flowproject.deploy.argo import Argo, RefusedError
from flowproject.deploy.objects import SENSOR, Object
from flowproject.deploy.plan import Action

__all__ = ["DEFAULT_BUS", "Rehearsal", "hears_one_event_only", "rehearse"]

DEFAULT_BUS = "default"
"""What Argo Events calls the bus of a namespace if a sensor names none."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Flow → why the cluster would not take it, and flow → why that could not be asked."""

    refused: Mapping[str, str] = field(default_factory=dict)
    forbidden: Mapping[str, str] = field(default_factory=dict)


def rehearse(argo: Argo, actions: Sequence[Action], *, max_parallel: int) -> Rehearsal:
    """What the cluster says of every object that is to be written or removed; nothing is.

    Raises:
        DeployError: if it can't be asked.
    """
    refused: dict[str, str] = {}
    forbidden: dict[str, str] = {}

    def ask(action: Action) -> None:
        try:
            for one in action.to_write:
                argo.rehearse(one, action.versions.get(one.kind, ""))
            for there in action.extra:
                argo.rehearse_removal(there)
        except RefusedError as error:
            (forbidden if error.forbidden else refused)[action.flow] = str(error)

    with ThreadPoolExecutor(max_workers=max_parallel) as pool:
        list(pool.map(ask, actions))
    return Rehearsal(refused={**_deaf(argo, actions), **refused}, forbidden=forbidden)


def hears_one_event_only(bus: Mapping[str, object]) -> bool:
    """Whether the bus is of the old kind, NATS Streaming, which can't tell our events apart.

    All events of Metaflow have one source and one name for Argo, and a sensor on such a bus may
    wait for only one of those.
    """
    return "nats" in bus


def _deaf(argo: Argo, actions: Sequence[Action]) -> dict[str, str]:
    """The flows whose sensors the event bus can't serve: Argo would say so on the object only."""
    waiting = {
        action.flow: one
        for action in actions
        for one in action.to_write
        if one.kind == SENSOR and len(one.body["spec"].get("dependencies") or ()) > 1
    }
    buses = {_bus(one) for one in waiting.values()}
    try:
        old = {name for name in buses if hears_one_event_only(argo.event_bus(name) or {})}
    except RefusedError:
        return {}  # Who may not look at the bus is not kept from deploying.
    return {
        flow: f"It waits for several events, and the event bus {_bus(one)!r} is of the kind "
        "'nats', on which Argo Events takes one event for a Sensor. Make the bus one of the kind "
        "'jetstream', or let the flow wait for one event."
        for flow, one in waiting.items()
        if _bus(one) in old
    }


def _bus(sensor: Object) -> str:
    return str(sensor.body["spec"].get("eventBusName") or DEFAULT_BUS)
