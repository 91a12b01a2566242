"""`flowproject why`: which change started a run, or what a run of a sensor concluded.

And of a change: what became of it.
"""

import datetime as dt
import re
from contextlib import chdir
from typing import Annotated, Any, Final

import typer

from flowproject.changes.canonical import dumps
from flowproject.cli.chains import chain_lines, options_of, read_outcomes, ways_on
from flowproject.cli.output import AsJson, print_json, print_lines, working
from flowproject.cli.place import Branch, Production, find_root, open_scene
from flowproject.config import Project, Sensor, load
from flowproject.errors import FlowprojectError, UsageError
from flowproject.journal import Journal, datastore_root, open_store
from flowproject.runs import artifacts_of, in_words, state_of
from flowproject.sensing import Chain, chain, find_change, patience_of

__all__ = ["why"]

_KEPT: Final = ("change_events", "change_claim", "ticks")
_DIGITS: Final = re.compile(r"[0-9a-f]+")
_STATES: Final = {
    "succeeded": "succeeded",
    "failed": "failed",
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
    if _is_change(run, load(root)):
        _tell_change(run, branch, production=production, as_json=as_json)
        return 0
    # Metaflow looks for local runs in the current folder and above.
    with working(f"Reading {run}"), chdir(root):
        told, chains = _told(run, load(root))
    if as_json:
        print_json(told)
    else:
        print_lines(_story(told, chains))
    return 0


# ----------------------------------------------------------------------------------------- a change


def _is_change(text: str, project: Project) -> bool:
    """Whether this means a change: a run is written with a slash too, but no sensor before it."""
    start, slash, rest = text.partition("/")
    if not slash:
        return bool(_DIGITS.fullmatch(text))
    return start in project.sensors and rest.isdecimal()


def _tell_change(text: str, branch: str, *, production: bool, as_json: bool) -> None:
    scene = open_scene(branch, production=production)
    with working(f"Reading {text}"):
        told = find_change(scene, text).chain
        [runs] = read_outcomes(scene.root, [told])
    entry = told.entry
    if as_json:
        delivery = {
            **told.to_json(),
            "runs": [one.to_json() for one in runs],
            "in_words": in_words(told, runs),
        }
        print_json({**entry.to_json(), "delivery": delivery})
        return
    what = "Change" if entry.is_published else f"Entry ({entry.outcome})"
    options = options_of(branch, production=production)
    print_lines(
        [
            f"{what} {entry.seq} of sensor {entry.sensor!r}:",
            *chain_lines(told, runs),
            *(
                f"  {doing}: {command}"
                for doing, command in ways_on(told, runs, scene.root, options)
            ),
        ]
    )


# -------------------------------------------------------------------------------------------- a run


def _told(run: str, project: Project) -> tuple[dict[str, Any], list[Chain | None]]:
    """What the run kept: the changes it was told of, which it took, and its ticks if it has any."""
    found = _find(run)
    kept = artifacts_of(found, _KEPT)
    changes = kept.get("change_events", [])
    chains = [_chain(change, project) for change in changes]
    claim = kept.get("change_claim") or {}
    return {
        "v": 1,
        "run": run,
        "state": state_of(found),
        "nothing_because": claim.get("nothing_because", []),
        "taken_by_others": claim.get("taken", []),
        "changes": [
            {
                **change,
                "recorded": {"at": told.entry.recorded_at, "run": told.entry.run} if told else None,
                "delivery": told.to_json() if told else None,
            }
            for change, told in zip(changes, chains, strict=True)
        ],
        "ticks": kept.get("ticks"),
    }, chains


def _find(run: str) -> Any:  # Metaflow has no types
    from metaflow import Run
    from metaflow.exception import MetaflowNotFound

    if run.count("/") != 1 or not all(run.split("/")):
        raise UsageError(
            f"{run!r} names no run",
            allowed="A run is written as Flow/id, a change as its id or as sensor/number",
            fix="`flowproject history` lists changes and the runs that took them",
        )
    try:
        return Run(run, _namespace_check=False)
    except MetaflowNotFound as error:
        raise UsageError(
            f"There is no run {run!r}",
            where="Metaflow's metadata",
            fix="`flowproject history` lists the runs that recorded changes",
        ) from error


def _chain(change: dict[str, Any], project: Project) -> Chain | None:
    """The chain of a change that a run was told of, as long as the journal keeps it."""
    name = change["sensor"]
    try:
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
        return chain(journal.survey(), entry, patience, dt.datetime.now(dt.UTC))
    except FlowprojectError:
        return None  # the run has said what matters


def _sensor(name: str, project: Project) -> Sensor:
    """The sensor of this name; if it is not in the configuration any more, another's patience."""
    return project.sensors.get(name) or next(iter(project.sensors.values()))


def _story(told: dict[str, Any], chains: list[Chain | None]) -> list[str]:
    lines = [f"{told['run']} {_STATES[told['state']]}."]
    lines += [f"It did nothing, because {reason}" for reason in told["nothing_because"]]
    lines += [_seen(tick) for tick in told["ticks"] or []]
    if not told["changes"]:
        return [*lines, "No change started it: it was started by hand, by a schedule or otherwise."]
    for change, known in zip(told["changes"], chains, strict=True):
        attempt = change.get("attempt", 1)
        again = f", attempt {attempt}" if attempt > 1 else ""
        lines.append(
            f"It was started by change {change['seq']} of sensor {change['sensor']!r}{again}:"
        )
        lines += chain_lines(known) if known else _as_told(change)
        lines.append(f"  {'journal':<10}{change['entry']}")
    return lines


def _seen(tick: dict[str, Any]) -> str:
    change = f" (change {tick['seq']}, id {tick['id']})" if tick["id"] else ""
    return f"It saw {tick['sensor']}: {tick['outcome']}, {tick['reason']}{change}"


def _as_told(change: dict[str, Any]) -> list[str]:
    """The facts that the event told, of a change that the journal does not keep any more."""
    facts = [
        ("reason", change["reason"]),
        ("value", f"{dumps(change['previous'])} → {dumps(change['value'])}"),
        ("items", ", ".join(f"{count} {kind}" for kind, count in change["counts"].items())),
        ("id", change["id"]),
    ]
    return [f"  {name:<10}{text}" for name, text in facts if text]
