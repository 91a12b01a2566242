"""Does what was planned: asks the cluster first, writes, and waits until sensors are taken up.

Listeners go before those who send, and templates before what starts them. A template is replaced
only if it is still the one that the plan saw, so of two deployments at once one says that it lost.
Whatever is interrupted, the next deployment or teardown puts right.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from flowproject.deploy.argo import Argo, RefusedError, StaleError
from flowproject.deploy.objects import (
    CRON,
    DEFAULT_BUS,
    SENSOR,
    TEMPLATE,
    ArgoObject,
    DeployedObject,
    Kind,
    hears_one_event_only,
)
from flowproject.deploy.plan import Action
from flowproject.errors import DeployError

__all__ = [
    "AwaitedSensor",
    "DryRun",
    "Outcome",
    "Result",
    "apply_plan",
    "await_sensors",
    "dry_run",
    "remove",
]

Result = Literal["deployed", "unchanged", "removed", "kept", "failed", "not tried"]

# What starts a flow goes before the flow does.
_LAST_FIRST: Final = (CRON, SENSOR, TEMPLATE)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one flow."""

    action: Action
    result: Result
    reason: str = ""
    replaced: Mapping[Kind, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """What the objects that were written took the place of."""

    @property
    def ok(self) -> bool:
        """Whether it is as the plan wanted it."""
        return self.result not in {"failed", "not tried"}


def apply_plan(
    argo: Argo,
    actions: Sequence[Action],
    *,
    max_parallel: int,
    done: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Apply a plan: what became of each flow, in its order; failures are told there, not raised.

    Who sends is not deployed while a listener is missing, and nothing is removed before everything
    else is live. `done` is told the name of each flow that is.
    """
    # An event that nobody listens to yet is lost for who comes later, so listeners are live first.
    listeners = [one for one in actions if one.compiled and one.compiled.is_listener]
    senders = [one for one in actions if one.compiled and not one.compiled.is_listener]
    gone = [one for one in actions if not one.compiled]
    outcomes: dict[str, Outcome] = {}
    blocked = ""
    # A stage is waited for whole; within one, flows know nothing of each other.
    for stage in (listeners, senders, gone):
        for outcome in _stage(argo, stage, blocked, max_parallel, done):
            outcomes[outcome.action.flow] = outcome
        failed = [one.action.flow for one in outcomes.values() if not one.ok]
        # A sender would publish to flows that are not there, and nothing goes before all is live.
        blocked = f"because {', '.join(failed)} could not be deployed" if failed else ""
    return [outcomes[one.flow] for one in actions]


def remove(argo: Argo, there: Iterable[DeployedObject]) -> int:
    """Remove these objects, and return how many were there.

    Raises:
        DeployError: if the cluster refuses; what starts flows is gone first.
    """
    ordered = sorted(there, key=lambda one: _LAST_FIRST.index(one.kind))
    return sum(argo.delete(one.kind, one.name, one.namespace) for one in ordered)


def _stage(
    argo: Argo,
    actions: Sequence[Action],
    blocked: str,
    max_parallel: int,
    done: Callable[[str], None],
) -> list[Outcome]:
    def act(action: Action) -> Outcome:
        outcome = _act(argo, action, blocked)
        done(action.flow)
        return outcome

    with ThreadPoolExecutor(max_workers=max_parallel) as pool:
        return list(pool.map(act, actions))


def _act(argo: Argo, action: Action, blocked: str) -> Outcome:
    if action.state == "unchanged":
        return Outcome(action=action, result="unchanged")
    # Somebody deployed it without us: only a teardown, which says so, removes it.
    if action.state == "foreign":
        return Outcome(action=action, result="kept")
    if blocked:
        return Outcome(action=action, result="not tried", reason=blocked)
    try:
        # First: a sensor that is to go must not start the template that is written next.
        remove(argo, action.extra)
        replaced = _write(argo, action)
    except DeployError as error:
        return Outcome(action=action, result="failed", reason=str(error))
    result: Result = "deployed" if action.compiled else "removed"
    return Outcome(action=action, result=result, replaced=replaced)


def _write(argo: Argo, action: Action) -> dict[Kind, Mapping[str, Any]]:
    replaced = {}
    for one in sorted(action.to_write, key=lambda one: _LAST_FIRST.index(one.kind), reverse=True):
        # Two deployments at once are decided by the template; what starts it then follows from it.
        if one.kind == TEMPLATE:
            _write_template(argo, one, action)
        else:
            replaced[one.kind] = argo.write(one, None)
    return replaced


def _write_template(argo: Argo, template: ArgoObject, action: Action) -> None:
    """Write the template unless another deployment was there first with another content."""
    try:
        argo.write(template, action.versions.get(TEMPLATE, ""))
    except StaleError:
        # Who was first may have written just the same, as two runs of one commit do: nobody lost.
        there = argo.read(template.kind, template.name, template.namespace)
        written = (there or {}).get("metadata", {}).get("annotations", {})
        mine = template.body["metadata"]["annotations"]["flowproject/fingerprint"]
        if written.get("flowproject/fingerprint") != mine:
            raise


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Holds, by flow, why the cluster would not take it, and why that could not be asked."""

    refused: Mapping[str, str] = field(default_factory=dict)
    forbidden: Mapping[str, str] = field(default_factory=dict)


# What the cluster refuses is refused for good: half a deployment would be live, and the same again
# would be no better.
def dry_run(argo: Argo, actions: Sequence[Action], *, max_parallel: int) -> DryRun:
    """Ask the cluster about every object that is to be written or removed; it changes nothing.

    Raises:
        DeployError: if it can't be asked.
    """
    refused: dict[str, str] = {}
    forbidden: dict[str, str] = {}

    def ask(action: Action) -> None:
        try:
            for one in action.to_write:
                argo.dry_run(one, action.versions.get(one.kind, ""))
            for there in action.extra:
                argo.dry_run_removal(there)
        except RefusedError as error:
            # A user who may not ask this may not write it either, but to plan he need not be able
            # to.
            (forbidden if error.forbidden else refused)[action.flow] = str(error)

    with ThreadPoolExecutor(max_workers=max_parallel) as pool:
        list(pool.map(ask, actions))
    return DryRun(refused={**_unserved(argo, actions), **refused}, forbidden=forbidden)


def _unserved(argo: Argo, actions: Sequence[Action]) -> dict[str, str]:
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


def _bus(sensor: ArgoObject) -> str:
    return str(sensor.body["spec"].get("eventBusName") or DEFAULT_BUS)


# Seconds for a controller that says something: a bus that is being restarted comes back.
_PATIENCE: Final = 60.0

# Seconds until a cluster on which nobody says anything counts as one without a controller.
_SILENCE: Final = 10.0

_PAUSE: Final = 0.25
# Reasons after which the controller tries again by itself.
_PASSING: Final = frozenset(
    {
        "CreateDeploymentFailed",
        "EventBusNotReady",
        "GetDeploymentFailed",
        "GetEventBusFailed",
        "UpdateDeploymentFailed",
    }
)

Conditions = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class AwaitedSensor:
    """The sensor of a flow, and what its controller had said of it before it was written.

    `written` is False for one that was left as it is: what is said of it holds already.
    """

    flow: str
    sensor: ArgoObject
    written: bool
    before: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class _SensorStatus:
    """What the controller says of a sensor now: it is ready, it is refused, or neither yet."""

    ready: bool = False
    refusal: str = ""
    last: str = "nothing was said of it"
    silent: bool = False


def await_sensors(
    argo: Argo, awaited: Sequence[AwaitedSensor], ready: Callable[[str], None] = lambda _: None
) -> tuple[list[str], list[str]]:
    """Wait until sensors are taken up: what is wrong with them, and what is not known, in words.

    Waits for those that were written. `ready` is told the flow of each that is taken up.

    Raises:
        DeployError: if the cluster can't be asked.
    """
    # The controller says only that it made a Deployment of a sensor. Nothing on the cluster says
    # that the pod has subscribed, which takes it some seconds more: what is sent around a
    # deployment must be sent again in any case. Waiting finds out what would never be heard.
    start = time.monotonic()
    refused: list[str] = []
    said: dict[str, _SensorStatus] = {}
    left = {one.flow: one for one in awaited}
    while True:
        for flow, one in [*left.items()]:
            said[flow] = told = _ask(argo, one)
            # What was left as it is was ready before: asked once, to tell of one that never was.
            if told.ready or told.refusal or not one.written:
                del left[flow]
            if told.ready and one.written:
                ready(flow)
            elif told.refusal:
                refused.append(_refusal(one, told))
        # A controller that is there says something in a moment; without any, a minute for each
        # deployment would be spent on nothing.
        patience = _SILENCE if all(said[flow].silent for flow in left) else _PATIENCE
        if not left or time.monotonic() - start >= patience:
            return refused, [_unknown(one, said[flow]) for flow, one in left.items()]
        time.sleep(_PAUSE)


def _ask(argo: Argo, one: AwaitedSensor) -> _SensorStatus:
    body = argo.read(SENSOR, one.sensor.name, one.sensor.namespace) or {}
    conditions = body.get("status", {}).get("conditions", [])
    # The controller renews what it says each time, with the moment.
    if not conditions or (one.written and conditions == list(one.before)):
        return _SensorStatus(silent=True)
    for each in conditions:
        if each.get("status") == "False":
            told = ": ".join(filter(None, (each.get("reason"), each.get("message"))))
            passing = each.get("reason") in _PASSING
            return (
                _SensorStatus(last=told)
                if passing
                else _SensorStatus(refusal=told or "no reason given")
            )
    done = all(each.get("status") == "True" for each in conditions)
    deployed = any(each.get("type") == "Deployed" for each in conditions)
    return _SensorStatus(ready=done and deployed, last="its controller is at work")


def _refusal(one: AwaitedSensor, said: _SensorStatus) -> str:
    return (
        f"{one.flow} would never start on an event: Argo Events refuses its sensor "
        f"{one.sensor.name!r} in namespace {one.sensor.namespace!r}: {said.refusal}. Mend what it "
        "names; `flowproject check --deploy` looks at the event bus."
    )


def _unknown(one: AwaitedSensor, said: _SensorStatus) -> str:
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
