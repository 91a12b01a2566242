"""`flowproject why`: which change started a run, or what a run of a sensor concluded."""

from contextlib import chdir
from typing import Annotated, Any, Final

import typer

from flowproject.changes.canonical import dumps
from flowproject.cli.output import AsJson, print_json, print_lines, working
from flowproject.cli.place import find_root
from flowproject.errors import FlowprojectError, UsageError
from flowproject.journal import Journal, datastore_root, open_store

__all__ = ["why"]

_KEPT: Final = ("change_events", "ticks")
_STATES: Final = {
    "succeeded": "succeeded",
    "failed": "failed",
    "unfinished": "is running, or was killed",
}


def why(
    run: Annotated[str, typer.Argument(help="A run, as Flow/id.")],
    as_json: AsJson = False,
) -> int:
    """Say which change started a run.

    Or, of a run that looked at sensors, what it saw and what it concluded.
    """
    # Metaflow looks for local runs in the current folder and above.
    with working(f"Reading {run}"), chdir(find_root()):
        told = _told(run)
    if as_json:
        print_json(told)
    else:
        print_lines(_story(told))
    return 0


def _told(run: str) -> dict[str, Any]:
    """What the run kept: the change it was started for, and its ticks if it looked at sensors."""
    found = _find(run)
    kept = _artifacts(found)
    return {
        "run": run,
        "state": _state(found),
        "changes": [
            {**change, "recorded": _recorded(change)} for change in kept.get("change_events", [])
        ],
        "ticks": kept.get("ticks"),
    }


def _find(run: str) -> Any:  # Metaflow has no types
    from metaflow import Run
    from metaflow.exception import MetaflowNotFound

    if run.count("/") != 1 or not all(run.split("/")):
        raise UsageError(f"{run!r} names no run", allowed="A run is written as Flow/id")
    try:
        return Run(run, _namespace_check=False)
    except MetaflowNotFound as error:
        raise UsageError(
            f"There is no run {run!r}",
            where="Metaflow's metadata",
            fix="`flowproject history` lists the runs that recorded changes",
        ) from error


def _state(run: Any) -> str:
    """`succeeded`, `failed`, or `unfinished`, which Metaflow can't tell from a run that was killed.

    To Metaflow a run that failed has not finished, either: its tasks know more.
    """
    if run.successful:
        return "succeeded"
    tasks = (task for step in run for task in step)
    failed = any("_success" in task and not task["_success"].data for task in tasks)
    return "failed" if failed else "unfinished"


def _artifacts(run: Any) -> dict[str, Any]:
    """What the first task that has it kept of each; every step hands it on to the next."""
    kept: dict[str, Any] = {}
    for step in run:
        for task in step:
            kept |= {name: task[name].data for name in _KEPT if name not in kept and name in task}
            if kept.keys() == set(_KEPT):
                return kept
    return kept


def _recorded(change: dict[str, Any]) -> dict[str, str] | None:
    """When and by which run the change was recorded, as long as the journal keeps it."""
    try:
        journal = Journal(
            open_store(datastore_root()),
            project=change["project"],
            branch=change["branch"],
            sensor=change["sensor"],
        )
        entry = journal.get(change["seq"])
    except FlowprojectError:
        return None  # the run has said what matters
    if entry is None or entry.id != change["id"]:
        return None
    return {"at": entry.recorded_at, "run": entry.run}


def _story(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['run']} {_STATES[told['state']]}."]
    lines += [_seen(tick) for tick in told["ticks"] or []]
    if not told["changes"]:
        return [*lines, "No change started it: it was started by hand, by a schedule or otherwise."]
    for change in told["changes"]:
        lines.append(f"It was started by change {change['seq']} of sensor {change['sensor']!r}:")
        lines += [f"  {name:<10}{text}" for name, text in _facts(change) if text]
    return lines


def _seen(tick: dict[str, Any]) -> str:
    change = f" (change {tick['seq']}, id {tick['id']})" if tick["id"] else ""
    return f"It saw {tick['sensor']}: {tick['outcome']}, {tick['reason']}{change}"


def _facts(change: dict[str, Any]) -> list[tuple[str, str]]:
    recorded = change["recorded"]
    return [
        ("reason", change["reason"]),
        ("value", f"{dumps(change['previous'])} → {dumps(change['value'])}"),
        ("items", ", ".join(f"{count} {kind}" for kind, count in change["counts"].items())),
        ("recorded", f"{recorded['at']} by {recorded['run']}" if recorded else ""),
        ("id", change["id"]),
        ("journal", change["entry"]),
    ]
