"""Runs `flowproject reset`: forgets what is known of a sensor; its next tick is a first look."""

import datetime as dt
from typing import Annotated, Any

import typer

from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, change_id
from flowproject.changes.retries import in_ranges
from flowproject.cli.context import Branch, Production, complete_sensor, open_context
from flowproject.cli.output import AsJson, ask, print_json, print_lines
from flowproject.errors import JournalError
from flowproject.journal import DamagedEntryError, Journal, Superseded
from flowproject.sensing import Orphan, find_orphan

__all__ = ["reset"]


def reset(
    sensor: Annotated[str, typer.Argument(help="The sensor.", autocompletion=complete_sensor)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Forget the baseline of a sensor. Its history stays, and so do changes still to be sent.

    Of a sensor that is not configured any more, it gives up what nobody delivers.
    """
    context = open_context(branch, production=production)
    if sensor not in context.project.sensors and (orphan := find_orphan(context, sensor)):
        return _give_up(orphan, yes=yes, as_json=as_json)
    [known] = context.sensors([sensor])
    question = (
        f"Forget what {sensor!r} looked like on branch {context.branch}? "
        f"Its next tick is a first look (first = {known.first!r}). "
        "Changes that wait to be sent, or for their receipts, stay and are still delivered."
    )
    if not yes:
        ask(question, "reset asks before it forgets")
    journal = context.journal(sensor)
    # Before the entry is recorded: the entry after a damaged one must be able to pass it over.
    _note_damage(journal)
    entry = _record(journal)
    if as_json:
        print_json(entry.to_json())
    else:
        print_lines([f"{sensor}: number {entry.seq} of its journal forgets what came before."])
    return 0


def _give_up(orphan: Orphan, *, yes: bool, as_json: bool) -> int:
    journal, numbers = orphan.journal, orphan.unsettled
    words = in_ranges(numbers) or "nothing"
    if not yes and numbers:
        ask(
            f"Give up {words} of {orphan.name!r} on branch {journal.branch}? No sensor is called "
            "that any more. What was recorded stays, and is not sent any more.",
            "reset asks before it forgets",
        )
    head = journal.head()
    for entry in journal.all_at(head, numbers):
        journal.outbox.settle(entry.seq, entry.id)
    journal.memos.write_head(head.settled(numbers))
    if as_json:
        print_json({"v": 1, "sensor": orphan.name, "given_up": [*numbers]})
    else:
        print_lines([f"{orphan.name}: {words} given up; nothing of it is left to deliver."])
    return 0


def _note_damage(journal: Journal) -> None:
    """Note the entries that can't be read, so that the next tick passes them over."""
    while True:
        try:
            list(journal.waiting(journal.head()))
        except DamagedEntryError as damage:
            journal.note_damage(damage)
        except JournalError:
            return  # no entry can be read: a reset is the way out of that
        else:
            return


def _record(journal: Journal) -> Entry:
    seq = journal.next_seq()
    project, branch, sensor = journal.project, journal.branch, journal.sensor
    entry = Entry(
        seq=seq,
        id=change_id(
            project=project,
            branch=branch,
            sensor=sensor,
            seq=seq,
            previous="",
            fingerprint="reset",
        ),
        project=project,
        branch=branch,
        sensor=sensor,
        outcome="reset",
        reason="reset by hand",
        earlier=_earlier(journal),
        recorded_at=dt.datetime.now(dt.UTC).isoformat(),
    )
    try:
        return journal.record(entry, None, Difference())
    except Superseded:
        raise JournalError(
            f"A tick of {journal.sensor!r} recorded at the same moment", fix="Try again"
        ) from None


def _earlier(journal: Journal) -> list[dict[str, Any]]:
    """What the journal's newest entries say in short, for what follows; nothing if none is left."""
    try:
        newest = journal.head().entry
    except JournalError:
        return []  # no entry can be read: a reset is the way out of that
    return newest.recent if newest else []
