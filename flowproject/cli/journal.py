"""Runs `flowproject reset` and `move`, which change by hand what a sensor's journal says.

`reset` forgets what is known of a sensor, so that its next tick is a first look. `move` lets the
journal of a renamed sensor go on under its new name.
"""

import datetime as dt
from typing import Annotated, Any

import typer

from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, change_id
from flowproject.changes.retries import in_ranges
from flowproject.cli.context import Branch, Production, complete_sensor, open_context
from flowproject.cli.output import AsJson, ask, print_json, print_lines, working
from flowproject.errors import JournalError, UsageError, closest
from flowproject.journal import DamagedEntryError, Journal, Superseded
from flowproject.journal import move as move_journal
from flowproject.sensing import Orphan, ProjectContext, find_former, find_orphan, orphans

__all__ = ["move", "reset"]


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
    journal, numbers = orphan.journal, orphan.unresolved
    words = in_ranges(numbers) or "nothing"
    if not yes and numbers:
        ask(
            f"Give up {words} of {orphan.name!r} on branch {journal.branch}? No sensor is called "
            "that any more. What was recorded stays, and is not sent any more.",
            "reset asks before it forgets",
        )
    # The outbox first, and the head's note of what is left last: interrupted in between, the same
    # command finds what there is still to give up.
    head = journal.head()
    for entry in journal.all_at(head, numbers):
        journal.outbox.resolve(entry.seq, entry.id)
    journal.memos.write_head(head.resolved(numbers))
    if as_json:
        print_json({"v": 1, "sensor": orphan.name, "given_up": [*numbers]})
    else:
        print_lines([f"{orphan.name}: {words} given up; nothing of it is left to deliver."])
    return 0


def _note_damage(journal: Journal) -> None:
    """Note the entries that can't be read, so that the next tick passes them over."""
    # Noting one moves the head on to the next: until the end can be read.
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
    # An entry like any other, with a number of its own: the history says when it was forgotten.
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


def move(
    old: Annotated[str, typer.Argument(help="What it was called: SENSOR, or PROJECT/SENSOR.")],
    new: Annotated[
        str, typer.Argument(help="What it is called now.", autocompletion=complete_sensor)
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Move the journal of a sensor that was renamed, or whose project was, to its new name.

    What waits there is delivered under the new name, and nothing is a first look. Interrupted, it
    leaves everything there; the same command goes on with it.
    """
    context = open_context(branch, production=production)
    # Raises if the new name is none: a journal must not go where no sensor reads it.
    context.sensors([new])
    former = _former(context, old)
    if not yes:
        left = find_orphan(context, old)
        ask(
            _question(context, old, new, left.unresolved if left else ()),
            "move asks before it moves",
        )
    with working(f"Moving the journal of {old!r}"):
        at = dt.datetime.now(dt.UTC).isoformat()
        moved = move_journal(context.store, former, context.journal(new), at=at)
    if as_json:
        print_json(
            {
                "v": 1,
                "from": old,
                "to": new,
                "seq": moved.seq,
                "unsettled": [*moved.unresolved],
                "moved": moved.is_news,
            }
        )
        return 0
    words = in_ranges(moved.unresolved)
    left_over = f"; the next tick looks after {words}" if words else ""
    what = f"goes on with number {moved.seq}{left_over}" if moved.is_news else "was moved before"
    print_lines([f"The journal of {old!r} is that of {new!r} now, and {what}."])
    return 0


def _former(context: ProjectContext, old: str) -> Journal:
    """The journal to move.

    Raises:
        UsageError: if there is none of this name, or a sensor of this project has it.
    """
    # A journal's folder has the project's name too: renaming the project orphans all of them.
    project, _, sensor = old.rpartition("/")
    if project in ("", context.project.project_name) and sensor in context.project.sensors:
        raise UsageError(
            f"There is a sensor {sensor!r}, and it keeps its journal",
            where="flowproject.toml",
            fix="Rename it there first",
        )
    if journal := find_former(context, old):
        return journal
    known = [one.name for one in orphans(context)]
    raise UsageError(
        f"There is no journal of {old!r} on branch {context.branch}",
        allowed=f"With changes to deliver, and without a sensor: {', '.join(known) or 'none'}",
        fix=closest(old, known) or "Another branch: `--branch` or `--production`",
    )


def _question(context: ProjectContext, old: str, new: str, unresolved: tuple[int, ...]) -> str:
    # Said before it happens: these are delivered under the new name, to flows that wait for that.
    waits = f" ({in_ranges(unresolved)} of it not delivered)" if unresolved else ""
    other = "No other project may be called that. " if "/" in old else ""
    return (
        f"Move the journal of {old!r}{waits} to {new!r} on branch {context.branch}? {other}"
        f"Its next tick compares with what was seen last as {old!r}."
    )
