"""`flowproject history`: what the journal of each sensor says, newest first."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final

import typer

from flowproject.changes.canonical import dumps
from flowproject.cli.output import AsJson, print_json, print_table, working
from flowproject.cli.place import Branch, Production, complete_sensor, open_scene
from flowproject.journal import DamagedEntryError, Journal, Store
from flowproject.journal.journal import entry_numbers

__all__ = ["history"]

_SHOWN: Final = 24
_HEADERS: Final = (
    "sensor",
    "no.",
    "recorded (UTC)",
    "outcome",
    "reason",
    "value",
    "published",
    "id",
    "run",
)


def history(
    sensor: Annotated[
        str, typer.Argument(help="One sensor (default: all).", autocompletion=complete_sensor)
    ] = "",
    limit: Annotated[int, typer.Option(help="Newest entries for each sensor.", min=1)] = 20,
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """List the changes that sensors recorded.

    Newest first, each with its reason, its value, and whether the event bus has it.
    """
    scene = open_scene(branch, production=production)
    found = []
    with working("Reading the journal"):
        for known in scene.sensors([sensor] if sensor else []):
            entries = _entries(scene.store, scene.journal(known.name))
            found += list(islice(entries, limit))
    if as_json:
        print_json(found)
        return 0
    print_table(
        _HEADERS,
        [_row(entry) for entry in found],
        title=f"{scene.project.project_name}, branch {scene.branch}",
        empty="Nothing is recorded here yet: `python sensorflow.py run` takes a first look.",
        spare=2,
    )
    return 0


def _entries(store: Store, journal: Journal) -> Iterator[dict[str, Any]]:
    """Each entry as JSON, newest first, with its mark; one that is damaged with its reason."""
    for seq in sorted(entry_numbers(store.keys(f"{journal.location}/entries")), reverse=True):
        try:
            entry = journal.get(seq)
        except DamagedEntryError as damage:
            yield _damaged(journal, seq, str(damage))
            continue
        if entry:  # not pruned since it was listed
            published = journal.outbox.is_marked(entry) if entry.is_published else None
            yield {**entry.to_json(), "published": published}


def _damaged(journal: Journal, seq: int, reason: str) -> dict[str, Any]:
    return {
        "sensor": journal.sensor,
        "seq": seq,
        "outcome": "damaged",
        "reason": reason,
        "published": None,
    }


def _row(entry: dict[str, Any]) -> list[str]:
    published = {True: "yes", False: "waiting", None: ""}[entry["published"]]
    value = dumps(entry["value"]) if "value" in entry else ""
    return [
        str(entry["sensor"]),
        str(entry["seq"]),
        str(entry.get("recorded_at", ""))[:16].replace("T", " "),
        str(entry["outcome"]),
        str(entry["reason"]),
        value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…",
        published,
        str(entry.get("id", ""))[:8],
        str(entry.get("run", "")),
    ]
