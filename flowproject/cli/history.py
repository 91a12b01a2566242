"""Runs `flowproject history`: lists what the journal of each sensor says, newest first."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Final

import typer

from flowproject.changes.canonical import dumps
from flowproject.changes.entry import Entry
from flowproject.cli.context import (
    Branch,
    Production,
    complete_sensor,
    journal_of,
    open_context,
    place_of,
)
from flowproject.cli.delivery import next_commands, options_of, read_outcomes
from flowproject.cli.output import AsJson, plain, print_json, print_table, working
from flowproject.config import Sensor
from flowproject.journal import Journal, JournalIndex, NewerObjectError, UnreadableError
from flowproject.runs import delivery_of
from flowproject.sensing import (
    Chain,
    Orphan,
    ProjectContext,
    chain,
    context_of,
    orphans,
    patience_of,
)

__all__ = ["history"]

# Characters of a value: more of it is in `--json` and on the card.
_SHOWN: Final = 24
# Changes of each sensor whose runs Metaflow is asked about: it takes several requests for each.
_ASKED: Final = 50

_UNDELIVERED: Final = ("waiting", "sent", "undelivered")
_HEADERS: Final = (
    "sensor",
    "no.",
    "recorded (UTC)",
    "outcome",
    "reason",
    "value",
    "delivery",
    "taken by",
    "id",
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

    Newest first, each with its reason, its value, what became of it, and which runs took it.
    """
    context = open_context(branch, production=production)
    found: list[dict[str, Any]] = []
    chains: list[Chain | None] = []
    lost: list[dict[str, Any]] = []
    with working("Reading the journal"):
        # A sensor that was renamed or removed may leave changes that nobody delivers: they are
        # listed too, or nobody would ever hear of them.
        left = orphans(context)
        for place, known in _asked(context, sensor, left):
            for entry, delivery in _entries(place, known, limit):
                found.append({**entry, "journal": journal_of(place, known.name)})
                chains.append(delivery)
                if place is not context and delivery and delivery.state in _UNDELIVERED:
                    lost.append(found[-1])
    with working("Asking how runs ended"):
        # Apart from reading the journal: Metaflow is another server, and asked about few of the
        # runs.
        notes = _tell_runs(context, found, chains, options_of(branch, production=production))
    for entry in lost:
        entry["delivery"]["in_words"] += ", and no sensor is left that delivers it"
    if as_json:
        print_json(found)
        return 0
    print_table(
        _HEADERS,
        [_row(entry) for entry in found],
        title=place_of(context),
        empty="Nothing is recorded here yet: `python sensorflow.py run` takes a first look.",
        spare=1,
    )
    unreadable = [
        f"{entry['sensor']}/{entry['seq']}: {entry['delivery']['reason']}"
        for entry in found
        if entry["delivery"] and "reason" in entry["delivery"]
    ]
    # To standard error: a script that reads the table must not meet sentences in it.
    for note in [*unreadable, *notes]:
        print(plain(note), file=sys.stderr)
    for one in left:
        if sensor in ("", one.name):
            print(plain(one.in_words), file=sys.stderr)
    return 0


def _asked(
    context: ProjectContext, name: str, left: Sequence[Orphan]
) -> list[tuple[ProjectContext, Sensor]]:
    """The sensor of this name, or all, and those that are gone and left something to deliver."""
    names = [name] if name else [*context.project.sensors, *(one.name for one in left)]
    places = [context_of(context, one) for one in names]
    return [(place, known) for place, one in places for known in place.sensors([one])]


def _tell_runs(
    context: ProjectContext,
    found: Sequence[dict[str, Any]],
    chains: Sequence[Chain | None],
    options: Sequence[str],
) -> list[str]:
    """Put into the entries how their runs fared; the commands that go on with those that failed."""
    # Of each sensor, so that a busy one does not use up what is asked for the others.
    asked: Counter[str] = Counter()
    taken: list[tuple[dict[str, Any], Chain]] = []
    for entry, delivery in zip(found, chains, strict=True):
        if delivery and delivery.receipts and asked[delivery.entry.sensor] < _ASKED:
            asked[delivery.entry.sensor] += 1
            taken.append((entry, delivery))
    outcomes = read_outcomes(context.root, [delivery for _, delivery in taken])
    notes: dict[tuple[str, str], list[str]] = {}
    for (entry, delivery), runs in zip(taken, outcomes, strict=True):
        entry["delivery"] = delivery_of(delivery, runs)
        for way in next_commands(delivery, runs, context.root, options):
            notes.setdefault(way, []).append(f"{delivery.entry.sensor}/{delivery.entry.seq}")
    # One run may have taken several changes: what goes on with it does so with all of them.
    return [f"{', '.join(of)}, {what}: {command}" for (what, command), of in notes.items()]


_Told = tuple[dict[str, Any], Chain | None]


def _entries(context: ProjectContext, sensor: Sensor, limit: int) -> list[_Told]:
    """The newest entries as JSON, and what became of each; why not, if one can't be read."""
    journal = context.journal(sensor.name)
    index = journal.index()
    read = [partial(_entry, context, sensor, journal, index, seq) for seq in index.numbers[:limit]]
    # None: it was pruned since it was listed.
    return [delivery for delivery in journal.concurrently(read) if delivery]


def _entry(
    context: ProjectContext, sensor: Sensor, journal: Journal, index: JournalIndex, seq: int
) -> _Told | None:
    entry: Entry | None = None
    try:
        entry = journal.get(seq)
        delivery = chain(index, entry, patience_of(sensor), context.clock()) if entry else None
    except UnreadableError as error:
        return _unreadable(journal, seq, entry, error), None
    if entry is None or delivery is None:
        return None
    document = {
        **entry.to_json(),
        "published": delivery.mark is not None if entry.is_published else None,
        "delivery": delivery_of(delivery, ()),
    }
    return document, delivery


def _unreadable(
    journal: Journal, seq: int, entry: Entry | None, error: UnreadableError
) -> dict[str, Any]:
    """A change of which the entry, or what is noted of its delivery, can't be read."""
    # A rollback meets what a newer version wrote: that is no damage, and goes by with an upgrade.
    kind = "newer format" if isinstance(error, NewerObjectError) else "damaged"
    if entry:
        words = f"not known: a note of it is {'of a ' if kind != 'damaged' else ''}{kind}"
        delivery = {"state": kind, "in_words": words, "reason": str(error), "receipts": []}
        return {**entry.to_json(), "published": None, "delivery": {**delivery, "runs": []}}
    return {
        "v": 1,
        "sensor": journal.sensor,
        "seq": seq,
        "outcome": kind,
        "reason": str(error),
        "published": None,
        "delivery": None,
    }


def _row(entry: dict[str, Any]) -> list[str]:
    value = dumps(entry["value"]) if "value" in entry else ""
    return [
        str(entry["sensor"]),
        str(entry["seq"]),
        str(entry.get("recorded_at", ""))[:16].replace("T", " "),
        str(entry["outcome"]),
        str(entry["reason"]),
        value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…",
        str(entry["delivery"]["in_words"]) if entry["delivery"] else "",
        ", ".join(_takers(entry)),
        str(entry.get("id", ""))[:8],
    ]


def _takers(entry: dict[str, Any]) -> Iterator[str]:
    """The runs that took a change, each once, with the attempt if it was replayed."""
    receipts = entry["delivery"]["receipts"] if entry["delivery"] else []
    # A run has a receipt for each attempt that it took: the last one counts.
    newest = {receipt["run"]: receipt["attempt"] for receipt in receipts}
    for run, attempt in newest.items():
        yield run if attempt == 1 else f"{run} (attempt {attempt})"
