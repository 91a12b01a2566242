"""Doing what was planned: listeners before those who send, templates before what starts them.

A template is replaced only if it is still the one that the plan saw, so of two deployments at once
one says that it lost. Whatever is interrupted, the next deployment or teardown puts right.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from flowproject.deploy.argo import Argo, StaleError
from flowproject.deploy.objects import CRON, SENSOR, TEMPLATE, Found, Kind, Object
from flowproject.deploy.plan import Action
from flowproject.errors import DeployError

__all__ = ["Outcome", "Result", "apply_plan", "remove"]

Result = Literal["deployed", "unchanged", "removed", "kept", "failed", "not tried"]

_LAST_FIRST: Final = (CRON, SENSOR, TEMPLATE)
"""What starts a flow goes before the flow does."""


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
    """What became of each flow, in the order of the plan; failures are in it, and not raised.

    Who sends is not deployed while a listener is missing, and nothing is removed before everything
    else is live. `done` is told the name of each flow that is.
    """
    listeners = [one for one in actions if one.compiled and one.compiled.is_listener]
    senders = [one for one in actions if one.compiled and not one.compiled.is_listener]
    gone = [one for one in actions if not one.compiled]
    outcomes: dict[str, Outcome] = {}
    blocked = ""
    for stage in (listeners, senders, gone):
        for outcome in _stage(argo, stage, blocked, max_parallel, done):
            outcomes[outcome.action.flow] = outcome
        failed = [one.action.flow for one in outcomes.values() if not one.ok]
        blocked = f"because {', '.join(failed)} could not be deployed" if failed else ""
    return [outcomes[one.flow] for one in actions]


def remove(argo: Argo, there: Iterable[Found]) -> int:
    """How many of these objects were there to be removed.

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
    if action.state == "foreign":
        return Outcome(action=action, result="kept")
    if blocked:
        return Outcome(action=action, result="not tried", reason=blocked)
    try:
        remove(argo, action.extra)
        replaced = _write(argo, action)
    except DeployError as error:
        return Outcome(action=action, result="failed", reason=str(error))
    result: Result = "deployed" if action.compiled else "removed"
    return Outcome(action=action, result=result, replaced=replaced)


def _write(argo: Argo, action: Action) -> dict[Kind, Mapping[str, Any]]:
    replaced = {}
    for one in sorted(action.to_write, key=lambda one: _LAST_FIRST.index(one.kind), reverse=True):
        if one.kind == TEMPLATE:
            _claim(argo, one, action)
        else:
            replaced[one.kind] = argo.write(one, None)
    return replaced


def _claim(argo: Argo, template: Object, action: Action) -> None:
    """Write the template unless another deployment was there first with another content."""
    try:
        argo.write(template, action.versions.get(TEMPLATE, ""))
    except StaleError:
        there = argo.read(template.kind, template.name, template.namespace)
        written = (there or {}).get("metadata", {}).get("annotations", {})
        mine = template.body["metadata"]["annotations"]["flowproject/fingerprint"]
        if written.get("flowproject/fingerprint") != mine:
            raise
