"""Waiting until Argo Events has taken up the sensors of a deployment, or says why it does not.

Its controller says only that it made a Deployment of a sensor: nothing on the cluster says that the
pod has subscribed, which takes it some seconds more. So what is sent around a deployment must be
sent again in any case, and this is about what would never be heard.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flowproject.deploy.argo import Argo
from flowproject.deploy.objects import SENSOR, Object

__all__ = ["Awaited", "await_sensors"]

_PATIENCE: Final = 60.0
"""Seconds for a controller that says something: a bus that is being restarted comes back."""

_SILENCE: Final = 10.0
"""Seconds until a cluster on which nobody says anything counts as one without a controller."""

_PAUSE: Final = 0.25
_PASSING: Final = frozenset(
    {
        "CreateDeploymentFailed",
        "EventBusNotReady",
        "GetDeploymentFailed",
        "GetEventBusFailed",
        "UpdateDeploymentFailed",
    }
)
"""Reasons after which the controller tries again by itself."""

Conditions = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """The sensor of a flow, and what its controller had said of it before it was written.

    `written` is False for one that was left as it is: what is said of it holds already.
    """

    flow: str
    sensor: Object
    written: bool
    before: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What the controller says of a sensor now: it is ready, it is refused, or neither yet."""

    ready: bool = False
    refusal: str = ""
    last: str = "nothing was said of it"
    silent: bool = False


def await_sensors(
    argo: Argo, awaited: Sequence[Awaited], ready: Callable[[str], None] = lambda _: None
) -> tuple[list[str], list[str]]:
    """What is wrong with sensors, and what of them is not known, in sentences.

    Waits for those that were written. `ready` is told the flow of each that is taken up.

    Raises:
        DeployError: if the cluster can't be asked.
    """
    start = time.monotonic()
    refused: list[str] = []
    said: dict[str, _Said] = {}
    left = {one.flow: one for one in awaited}
    while True:
        for flow, one in [*left.items()]:
            said[flow] = told = _ask(argo, one)
            if told.ready or told.refusal or not one.written:
                del left[flow]
            if told.ready and one.written:
                ready(flow)
            elif told.refusal:
                refused.append(_refusal(one, told))
        patience = _SILENCE if all(said[flow].silent for flow in left) else _PATIENCE
        if not left or time.monotonic() - start >= patience:
            return refused, [_unknown(one, said[flow]) for flow, one in left.items()]
        time.sleep(_PAUSE)


def _ask(argo: Argo, one: Awaited) -> _Said:
    body = argo.read(SENSOR, one.sensor.name, one.sensor.namespace) or {}
    conditions = body.get("status", {}).get("conditions", [])
    # The controller renews what it says each time, with the moment.
    if not conditions or (one.written and conditions == list(one.before)):
        return _Said(silent=True)
    for each in conditions:
        if each.get("status") == "False":
            told = ": ".join(filter(None, (each.get("reason"), each.get("message"))))
            passing = each.get("reason") in _PASSING
            return _Said(last=told) if passing else _Said(refusal=told or "no reason given")
    done = all(each.get("status") == "True" for each in conditions)
    deployed = any(each.get("type") == "Deployed" for each in conditions)
    return _Said(ready=done and deployed, last="its controller is at work")


def _refusal(one: Awaited, said: _Said) -> str:
    return (
        f"{one.flow} would never start on an event: Argo Events refuses its sensor "
        f"{one.sensor.name!r} in namespace {one.sensor.namespace!r}: {said.refusal}. Mend what it "
        "names; `flowproject check --deploy` looks at the event bus."
    )


def _unknown(one: Awaited, said: _Said) -> str:
    if said.silent:
        return (
            f"Whether {one.flow} is listening is not known: nobody says anything of its sensor "
            f"{one.sensor.name!r} in namespace {one.sensor.namespace!r}. Is the controller of Argo "
            "Events running?"
        )
    return (
        f"{one.flow} is not listening yet, after {_PATIENCE:.0f} seconds: of its sensor "
        f"{one.sensor.name!r} Argo Events says: {said.last}. `kubectl describe sensor "
        f"{one.sensor.name} --namespace {one.sensor.namespace}` says more."
    )
