"""Runs `flowproject why`: tells which change started a run, or what a run of a sensor concluded.

And of a change: what became of it.
"""

import datetime as dt
import re
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flowproject.changes.canonical import dumps
from flowproject.cli.context import Branch, Production, find_root, open_context
from flowproject.cli.delivery import (
    delivery_lines,
    known_runs,
    next_commands,
    options_of,
    options_of_branch,
    read_outcomes,
    resume_command,
)
from flowproject.cli.output import AsJson, print_json, print_lines, working
from flowproject.config import Project, Sensor
from flowproject.config.parse import load
from flowproject.errors import FlowprojectError, UsageError
from flowproject.journal import Journal, datastore_root, open_store
from flowproject.metaflow_internals.exceptions import MetaflowNotFound
from flowproject.metaflow_internals.metadata import find_run
from flowproject.runs import RunOutcome, delivery_of, ending_of, kept_of, outcome_of
from flowproject.sensing import Chain, chain, find_change, find_former, patience_of

__all__ = ["why"]

# Ids of changes are hexadecimal; a run is written with a slash.
_DIGITS: Final = re.compile(r"[0-9a-f]+")
_STATES: Final = {
    "succeeded": "succeeded",
    "failed": "failed",
    "running": "is running",
    "killed": "was killed",
    "unfinished": "is running, or was killed",
}


def why(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHANGE",
            help="A run, as Flow/id; or a change: its id, 6 digits of it or more, sensor/number.",
        ),
    ],
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Say which change started a run.

    Or, of a run that looked at sensors, what it saw and what it concluded; of a change, how it was
    sent and which runs took it.
    """
    root = find_root()
    # The configuration decides first, and only a name that it doesn't know costs a look into the
    # datastore.
    if _is_change(run, load(root)) or _is_of_former_sensor(run, branch, production=production):
        _tell_change(run, branch, production=production, as_json=as_json)
        return 0
    # Metaflow looks for local runs in the current folder and above.
    with working(f"Reading {run}"), chdir(root):
        facts = _read_run(run, load(root), root)
    if as_json:
        print_json(_document(facts))
    else:
        print_lines(_story(facts, root))
    return 0


# ----------------------------------------------------------------------------------------- a change


def _is_change(text: str, project: Project) -> bool:
    """Whether this means a change: a run is written with a slash too, but no sensor before it."""
    start, slash, rest = text.partition("/")
    if not slash:
        return bool(_DIGITS.fullmatch(text))
    return start in project.sensors and rest.isdecimal()


def _is_of_former_sensor(text: str, branch: str, *, production: bool) -> bool:
    """Whether this means a change of a sensor that is gone, of which there is a journal."""
    name, _, number = text.rpartition("/")
    if not number.isdecimal() or not name.islower():
        return False
    return find_former(open_context(branch, production=production), name) is not None


def _tell_change(text: str, branch: str, *, production: bool, as_json: bool) -> None:
    context = open_context(branch, production=production)
    with working(f"Reading {text}"):
        delivery = find_change(context, text).chain
        [runs] = read_outcomes(context.root, [delivery])
    entry = delivery.entry
    if as_json:
        print_json({**entry.to_json(), "delivery": delivery_of(delivery, runs)})
        return
    what = "Change" if entry.is_published else f"Entry ({entry.outcome})"
    options = options_of(branch, production=production)
    print_lines(
        [
            f"{what} {entry.seq} of sensor {entry.sensor!r}:",
            *delivery_lines(delivery, runs),
            *(
                f"  {doing}: {command}"
                for doing, command in next_commands(delivery, runs, context.root, options)
            ),
        ]
    )


# -------------------------------------------------------------------------------------------- a run


@dataclass(frozen=True, kw_only=True)
class _RunFacts:
    """A run: how it ended, itself and with its resumptions, and what it kept.

    `chains` has the chain of each change that it was told of, with the runs that took it; None of
    one that no journal keeps any more.
    """

    ending: RunOutcome
    outcome: RunOutcome
    kept: dict[str, Any]
    chains: tuple[tuple[Chain, Sequence[RunOutcome]] | None, ...]

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes that the run was told of, as their events told them."""
        return list(self.kept.get("change_events", ()))

    @property
    def claim(self) -> dict[str, Any]:
        """What the run found when it took them."""
        return self.kept.get("change_claim") or {}


def _read_run(run: str, project: Project, root: Path) -> _RunFacts:
    found = _find(run)
    known_here = known_runs(root)
    ending = ending_of(found, known_here)
    kept = kept_of(found)
    chains = [_chain(change, project) for change in kept.get("change_events", ())]
    outcomes = iter(read_outcomes(root, [delivery for delivery in chains if delivery]))
    return _RunFacts(
        ending=ending,
        outcome=outcome_of(run, known_here) or ending,
        kept=kept,
        chains=tuple((delivery, next(outcomes)) if delivery else None for delivery in chains),
    )


def _document(facts: _RunFacts) -> dict[str, Any]:
    return {
        "v": 1,
        "run": facts.ending.run,
        "state": facts.ending.state,
        "outcome": facts.outcome.to_json(),
        "nothing_because": facts.claim.get("nothing_because", []),
        "taken_by_others": facts.claim.get("taken", []),
        "changes": [
            {
                **change,
                "recorded": {"at": delivery[0].entry.recorded_at, "run": delivery[0].entry.run}
                if delivery
                else None,
                "delivery": delivery_of(*delivery) if delivery else None,
            }
            for change, delivery in zip(facts.changes, facts.chains, strict=True)
        ],
        "ticks": facts.kept.get("ticks"),
    }


def _find(run: str) -> Any:  # Metaflow has no types
    if run.count("/") != 1 or not all(run.split("/")):
        raise UsageError(
            f"{run!r} names no run",
            allowed="A run is written as Flow/id, a change as its id or as sensor/number",
            fix="`flowproject history` lists changes and the runs that took them",
        )
    try:
        return find_run(run)
    except MetaflowNotFound as error:
        raise UsageError(
            f"Metaflow's metadata have no run {run!r}",
            allowed="A run is Flow/id, with the number that Metaflow prints when it starts",
            fix="`flowproject history` lists the runs that recorded changes",
        ) from error


def _chain(change: dict[str, Any], project: Project) -> Chain | None:
    """The chain of a change that a run was told of, as long as the journal keeps it."""
    name = change["sensor"]
    try:
        # Where the event says that the change was recorded, which may be another branch than the
        # one that is worked on here.
        journal = Journal(
            open_store(datastore_root()),
            project=change["project"],
            branch=change["branch"],
            sensor=name,
        )
        entry = journal.get(change["seq"])
        if entry is None or entry.id != change["id"]:
            return None
        patience = patience_of(_sensor(name, project))
        return chain(journal.index(), entry, patience, dt.datetime.now(dt.UTC))
    except FlowprojectError:
        return None  # the run has said what matters


def _sensor(name: str, project: Project) -> Sensor:
    """The sensor of this name; if it is not in the configuration any more, another's patience."""
    return project.sensors.get(name) or next(iter(project.sensors.values()))


def _story(facts: _RunFacts, root: Path) -> list[str]:
    lines = [_state(facts.ending)]
    if facts.outcome.resumed_by:
        lines.append(f"It was resumed: {_state(facts.outcome, facts.outcome.resumed_by)}")
    lines += [
        f"It did nothing, because {reason}" for reason in facts.claim.get("nothing_because", ())
    ]
    lines += [_seen(tick) for tick in facts.kept.get("ticks") or []]
    if not facts.changes:
        return [*lines, _without_change(facts)]
    for change, delivery in zip(facts.changes, facts.chains, strict=True):
        attempt = change.get("attempt", 1)
        again = f", attempt {attempt}" if attempt > 1 else ""
        lines.append(
            f"It was started by change {change['seq']} of sensor {change['sensor']!r}{again}:"
        )
        lines += delivery_lines(*delivery) if delivery else _from_event(change)
        lines.append(f"  {'journal':<10}{change['entry']}")
    return [*lines, *(f"{doing}: {command}" for doing, command in _next_commands(facts, root))]


def _state(ending: RunOutcome, run: str = "") -> str:
    """How a run ended, or where it is; `run` if it is not the run that is asked for."""
    step = f" in step {ending.step!r}" if ending.step and ending.is_over_and_failed else ""
    error = f": {ending.error}" if ending.error else "."
    return f"{run or ending.run} {_STATES[ending.state]}{step}{error}"


def _without_change(facts: _RunFacts) -> str:
    if "change_events" in facts.kept or facts.ending.state == "succeeded":
        return "No change started it: it was started by hand, by a schedule or otherwise."
    # A run notes its changes before its first step does anything.
    return (
        "It has noted no change: it was started by hand, by a schedule or otherwise, or its first "
        "step has not begun."
    )


def _next_commands(facts: _RunFacts, root: Path) -> list[tuple[str, str]]:
    """What goes on with the changes of a run that did not do its work, each command once."""
    options = options_of_branch(str(facts.changes[0]["branch"]))
    ways = [
        (command, doing)
        for delivery in facts.chains
        if delivery
        for doing, command in next_commands(*delivery, root, options)
    ]
    if not any(facts.chains) and facts.outcome.is_over_and_failed:
        newest = facts.outcome.newest
        ways.append((resume_command(newest, root, options), f"to go on with {newest}"))
    return [(doing[0].upper() + doing[1:], command) for command, doing in dict(ways).items()]


def _seen(tick: dict[str, Any]) -> str:
    change = f" (change {tick['seq']}, id {tick['id']})" if tick["id"] else ""
    return f"It saw {tick['sensor']}: {tick['outcome']}, {tick['reason']}{change}"


def _from_event(change: dict[str, Any]) -> list[str]:
    """The facts that the event told, of a change that the journal does not keep any more."""
    facts = [
        ("reason", change["reason"]),
        ("value", f"{dumps(change['previous'])} → {dumps(change['value'])}"),
        ("items", ", ".join(f"{count} {kind}" for kind, count in change["counts"].items())),
        ("id", change["id"]),
    ]
    return [f"  {name:<10}{text}" for name, text in facts if text]
