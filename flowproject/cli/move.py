"""Runs `flowproject move`: lets the journal of a renamed sensor go on under its new name."""

import datetime as dt
from typing import Annotated

import typer

from flowproject.changes.retries import in_ranges
from flowproject.cli.context import Branch, Production, complete_sensor, open_context
from flowproject.cli.output import AsJson, ask, print_json, print_lines, working
from flowproject.errors import UsageError, closest
from flowproject.journal import Journal
from flowproject.journal import move as move_journal
from flowproject.sensing import ProjectContext, find_former, find_orphan, orphans

__all__ = ["move"]


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
            _question(context, old, new, left.unsettled if left else ()),
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
                "unsettled": [*moved.unsettled],
                "moved": moved.is_news,
            }
        )
        return 0
    words = in_ranges(moved.unsettled)
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


def _question(context: ProjectContext, old: str, new: str, unsettled: tuple[int, ...]) -> str:
    waits = f" ({in_ranges(unsettled)} of it not delivered)" if unsettled else ""
    other = "No other project may be called that. " if "/" in old else ""
    return (
        f"Move the journal of {old!r}{waits} to {new!r} on branch {context.branch}? {other}"
        f"Its next tick compares with what was seen last as {old!r}."
    )
