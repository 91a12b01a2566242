"""Read runs, their ticks and their cards through Metaflow's client.

These calls block: the loop makes them in one thread of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import metaflow

from flowproject.flowfiles import FlowFile
from flowproject.metaflow_internals.cards import cards_of
from flowproject.metaflow_internals.exceptions import MetaflowNotFound
from flowproject.metaflow_internals.metadata import find_run, step_name
from flowproject.runs import (
    RunOutcome,
    RunState,
    StepOutcome,
    is_tick,
    kept_of,
    logs_of,
    outcomes_of,
    state_of,
    steps_of,
    tasks_of,
)
from flowproject.sensing import Chain

__all__ = [
    "CardPlace",
    "PastRun",
    "card_html",
    "end_task_id",
    "read_cards",
    "read_outcomes",
    "read_past",
    "read_state",
    "read_steps",
    "read_ticks",
]


@dataclass(frozen=True, kw_only=True)
class CardPlace:
    """Where a card is: the `number`-th of a task."""

    step: str
    task: str
    number: int
    id: str


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run that the loop has not started, or has forgotten."""

    state: RunState
    started: datetime
    ended: datetime | None
    changes: list[Mapping[str, Any]]
    """The changes that it was told of."""
    nothing_because: list[str]
    ticks: list[Mapping[str, Any]]
    log: str


def end_task_id(flow: FlowFile, run_id: str) -> str:
    """The id of the task that ended the run."""
    # The event at a run's end names it, as on a cluster; who listens may look it up.
    return str(_run(flow, run_id)[flow.end_step].task.id)


def read_ticks(flow: FlowFile, run_id: str) -> list[Mapping[str, Any]]:
    """Read what the sensors of the run concluded; an empty list if the flow has no sensors.

    A run that failed has them too: the sensors that worked are worth telling. They are looked for
    in the first task of each step, for a foreach has thousands.
    """
    # Not only in the last step: a run that failed may have its ticks in the one before.
    for task in tasks_of(_run(flow, run_id)):
        ticks = task["ticks"].data if "ticks" in task else None
        if isinstance(ticks, list) and all(map(is_tick, ticks)):
            return ticks
    return []


def read_state(flow: FlowFile, run_id: str) -> RunState:
    """Read what became of the run."""
    return state_of(_run(flow, run_id))


def read_steps(flow: FlowFile, run_id: str) -> list[StepOutcome]:
    """Read what became of the steps of the run; nothing of one that Metaflow does not know."""
    try:
        return steps_of(_run(flow, run_id))
    except MetaflowNotFound:
        return []


def read_past(flow: FlowFile, run_id: str) -> PastRun | None:
    """Read what Metaflow keeps of the run; None if there is no such run."""
    try:
        run = _run(flow, run_id)
    except MetaflowNotFound:
        return None
    # Another's flow may call something else of its own by these names.
    kept = kept_of(run) if flow.inherits_ours else {}
    ticks = kept.get("ticks")
    return PastRun(
        state=state_of(run),
        started=run.created_at.astimezone(),
        ended=run.finished_at.astimezone() if run.finished_at else None,
        changes=list(kept.get("change_events", [])),
        nothing_because=list((kept.get("change_claim") or {}).get("nothing_because", [])),
        ticks=[tick for tick in ticks if is_tick(tick)] if isinstance(ticks, list) else [],
        log=logs_of(run),
    )


def read_cards(flow: FlowFile, run_id: str) -> list[CardPlace]:
    """List where the cards of the run are, by step; of a foreach, those of its first task."""
    try:
        run = _run(flow, run_id)
    except MetaflowNotFound:
        return []
    return [
        CardPlace(
            step=step_name(task),
            task=str(task.id),
            number=number,
            id=str(card.id or ""),
        )
        for task in tasks_of(run)
        for number, card in enumerate(cards_of(task))
    ]


def read_outcomes(
    flow: FlowFile, chains: Sequence[Chain], known_here: Callable[[], Mapping[str, str]]
) -> list[list[RunOutcome]]:
    """Read what became of the runs that took each of the changes, of any flow beside this one."""
    metaflow.metadata(flow.metadata)
    metaflow.namespace(None)
    return [outcomes_of(chain, known_here) for chain in chains]


def card_html(flow: FlowFile, run_id: str, step: str, task: str, number: int) -> str | None:
    """Read the card, an HTML page of its own; None if there is no such card."""
    try:
        found = cards_of(_run(flow, run_id)[step][task])
    except (KeyError, MetaflowNotFound):
        return None
    # The number comes from an address: -1 would be a card, too.
    if not 0 <= number < len(found):
        return None
    # The client has None for a card whose file is gone.
    html: str | None = found[number].get()
    return html


def _run(flow: FlowFile, run_id: str) -> Any:  # Metaflow has no types
    # The process may have been started elsewhere: runs are where the flow's own process put them.
    metaflow.metadata(flow.metadata)
    metaflow.namespace(None)
    return find_run(f"{flow.name}/{run_id}")
