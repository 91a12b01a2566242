"""Lets notebooks and scripts read a project: its sensors, their journals, changes, and runs.

Nothing is written, recorded, sent or started here: `preview` looks at a source and says what a tick
would do. What is read is shown as text in a terminal, and as tables and a chart in Jupyter.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Final

import metaflow

from flowproject.change import Change
from flowproject.changes.canonical import Json, dumps
from flowproject.changes.entry import Entry
from flowproject.changes.payload import facts
from flowproject.config import project_root
from flowproject.config.model import Sensor
from flowproject.config.parse import load
from flowproject.errors import JournalError, UsageError, closest
from flowproject.journal import Head, Journal, JournalIndex, datastore_root
from flowproject.metaflow_internals.datastore import existing_local_root
from flowproject.metaflow_internals.flows import branch_name
from flowproject.metaflow_internals.settings import setting
from flowproject.runs import RunOutcome, outcomes_of
from flowproject.sensing import Chain, ProjectContext, Tick, chain, patience_of
from flowproject.sensing import preview as preview_ticks
from flowproject.wording import one_line

__all__ = ["ProjectReader", "RecordedChange", "SensorReader"]

_NO_STORE: Final = "memory:///"
"""What is opened where no flow has run yet: to open a folder would make it."""

_SHOWN_ITEMS: Final = 10
_LONGEST_CELL: Final = 100
_KINDS: Final = ("added", "modified", "removed")
_WIDTH, _HEIGHT, _MARGIN = 640, 120, 8

_Row = Sequence[object]


class RecordedChange(Change):
    """A change as the journal has it, with what became of it; its items are read when asked for."""

    def __init__(
        self,
        entry: Entry,
        journal: Journal,
        context: ProjectContext,
        index: JournalIndex,
        patience: Callable[[Entry], Chain],
    ) -> None:
        # What an event would have told a run of it.
        place = journal.entry_key(entry.seq)
        told = facts(entry, location=place, attempt=1, first_seq=entry.seq)
        data = context.project.sensors[entry.sensor].data
        super().__init__(told, lambda: context.store, lambda: (data, context.root))
        self.outcome = entry.outcome
        self._recorded = entry
        self._index = index
        self._tell_chain = patience
        self._context = context

    @cached_property
    def _chain(self) -> Chain:
        return self._tell_chain(self._recorded)

    @property
    def delivery(self) -> str:
        """What became of it, in a few words: `delivered`, `sent, awaits ForecastFlow`, ..."""
        return self._chain.in_words

    @property
    def taken_by(self) -> list[str]:
        """The runs that took it, as `Flow/id`: `metaflow.Run` finds them."""
        return list(dict.fromkeys(receipt.run for receipt in self._chain.receipts))

    @cached_property
    def runs(self) -> list[RunOutcome]:
        """How the runs that took it ended, of each flow the newest; those that Metaflow knows."""
        with _metadata_of(self._context.root):
            return outcomes_of(self._chain, dict)

    def _repr_html_(self) -> str:
        said = _html(("", ""), [*self._said()], title=f"Change {self.sensor}/{self.seq}")
        parts = [
            _html(columns, rows, title=f"{self.counts[kind]:,} {kind}")
            for kind in _KINDS
            if self.counts.get(kind)
            for columns, rows in [_items_table(self.sample.get(kind))]
        ]
        return "".join([said, *parts])

    def _said(self) -> Iterator[_Row]:
        yield "reason", self.reason
        yield "value", self.value
        yield "previous", self.previous
        yield "recorded (UTC)", _minute(self.recorded_at)
        yield "delivery", self.delivery
        yield "taken by", ", ".join(self.taken_by)


class SensorReader:
    """A sensor: what it watches, and what its journal keeps of it."""

    def __init__(self, context: ProjectContext, sensor: Sensor) -> None:
        self._context = context
        self._sensor = sensor
        self.name = sensor.name
        self.source = sensor.data.type
        self.event_name = sensor.event_name

    def changes(self, limit: int = 50) -> "_Changes":
        """The newest changes, newest first; first looks and resets are left out.

        Raises:
            JournalError: if one of them can't be read.
        """
        found: list[RecordedChange] = []
        journal = self._journal
        index = journal.index()
        numbers = [*index.numbers]
        while numbers and len(found) < limit:
            some, numbers = numbers[:limit], numbers[limit:]
            entries = journal.concurrently([partial(journal.readable, seq) for seq in some])
            found += [
                self._recorded(entry, index) for entry in entries if entry and entry.is_published
            ]
        changes = _Changes(found[:limit])
        changes.sensor, changes.trail = self.name, self._trail
        return changes

    def change(self, seq: int) -> RecordedChange:
        """The change of this number.

        Raises:
            UsageError: if there is none, or the journal does not keep it any more.
        """
        entry = self._journal.readable(seq)
        if entry is None or not entry.is_published:
            numbers = [one.seq for one in self.changes(5)]
            raise UsageError(
                f"There is no change {seq} of sensor {self.name!r}",
                where=self._journal.location,
                allowed=f"The newest are {', '.join(map(str, numbers)) or 'none'}",
                fix="`changes()` lists them; the journal keeps the newest entries only",
            )
        return self._recorded(entry, self._journal.index())

    def preview(self) -> Tick:
        """Look at the source, and say what a tick would do and why; nothing is recorded or sent."""
        [tick] = preview_ticks(self._context, [self.name])
        return tick

    @property
    def head(self) -> Head:
        """The end of the journal: the newest entry, and what was known with it."""
        return self._journal.head()

    @property
    def _journal(self) -> Journal:
        return self._context.journal(self.name)

    def _trail(self) -> list[list[Json]]:
        entry = self.head.entry
        return entry.trail if entry else []

    def _recorded(self, entry: Entry, index: JournalIndex) -> RecordedChange:
        patience = patience_of(self._sensor)
        return RecordedChange(
            entry,
            self._journal,
            self._context,
            index,
            lambda one: chain(index, one, patience, self._context.clock()),
        )

    def __repr__(self) -> str:
        return f"Sensor {self.name!r} ({self.source})\n{self.changes(20)!r}"

    def _repr_html_(self) -> str:
        return f"<p>Sensor <b>{escape(self.name)}</b> ({self.source})</p>" + (
            self.changes(20)._repr_html_()
        )


class ProjectReader:
    """A project, read from anywhere: `flowproject.Project("path/to/it")`.

    `folder` is the project's or one below it (default: the current folder), `branch` and
    `production` name the Metaflow branch as for `flowproject history`, and `datastore` is the root
    of another datastore than the one that Metaflow is configured with there.

    Raises:
        ConfigError: if there is no project, or its configuration is wrong.
        JournalError: if the datastore can't be opened.
    """

    def __init__(
        self,
        folder: str | Path = ".",
        *,
        branch: str = "",
        production: bool = False,
        datastore: str = "",
    ) -> None:
        # Not the folder of the main script, which is where flows look.
        root = project_root(Path(folder).expanduser())
        project = load(root)
        name = branch_name(project.project_name, branch, production=production)
        self.datastore = datastore or _datastore(root)
        self._context = ProjectContext.open(
            root, project=project, branch=name, datastore=self.datastore or _NO_STORE
        )
        self.name = project.project_name
        self.folder = root
        self.branch = name

    @property
    def sensors(self) -> dict[str, SensorReader]:
        """Every sensor by its name."""
        known = self._context.project.sensors
        return {name: SensorReader(self._context, sensor) for name, sensor in known.items()}

    def __getitem__(self, name: str) -> SensorReader:
        sensors = self.sensors
        if name not in sensors:
            raise UsageError(
                f"There is no sensor {name!r}",
                where=str(self.folder / "flowproject.toml"),
                allowed=f"Sensors: {', '.join(sensors)}",
                fix=closest(name, sensors),
            )
        return sensors[name]

    def preview(self, *sensors: str) -> "_Ticks":
        """Look at sources, and say what ticks would do; nothing is recorded or sent.

        Raises:
            UsageError: if there is no such sensor.
        """
        return _Ticks(preview_ticks(self._context, sensors))

    def _rows(self) -> list[_Row]:
        return [_overview(sensor) for sensor in self.sensors.values()]

    @property
    def _title(self) -> str:
        place = self.datastore or "no datastore yet: no flow has run here"
        return f"{self.name}, branch {self.branch} ({place})"

    def __repr__(self) -> str:
        return _text(_OVERVIEW, self._rows(), title=self._title)

    def _repr_html_(self) -> str:
        return _html(_OVERVIEW, self._rows(), title=self._title)


_OVERVIEW: Final = ("sensor", "source", "no.", "recorded (UTC)", "outcome", "reason", "value")


def _overview(sensor: SensorReader) -> _Row:
    try:
        entry = sensor.head.entry
    except JournalError as error:
        return sensor.name, sensor.source, "", "", "unreadable", str(error), ""
    if entry is None:
        return sensor.name, sensor.source, "", "", "", "nothing is recorded yet", ""
    moment = _minute(entry.recorded_at)
    return (
        *(sensor.name, sensor.source, entry.seq, moment, entry.outcome, entry.reason),
        entry.value,
    )


class _Changes(tuple[RecordedChange, ...]):  # noqa: SLOT001  # it has two values beside its items
    """Changes, newest first, shown as a table, and in Jupyter with a chart above it."""

    sensor: str
    trail: Callable[[], list[list[Json]]]

    def _rows(self) -> list[_Row]:
        return [
            (
                *(one.seq, _minute(one.recorded_at), one.outcome, one.reason, one.value),
                *(one.delivery, ", ".join(one.taken_by)),
            )
            for one in self
        ]

    def __repr__(self) -> str:
        return _text(_HISTORY, self._rows(), empty=f"No change of {self.sensor!r} is recorded yet.")

    def _repr_html_(self) -> str:
        return _chart(self.trail(), self.sensor) + _html(_HISTORY, self._rows())


_HISTORY: Final = ("no.", "recorded (UTC)", "outcome", "reason", "value", "delivery", "taken by")


class _Ticks(tuple[Tick, ...]):
    """What ticks would do, shown as a table."""

    __slots__ = ()

    def _rows(self) -> list[_Row]:
        return [(one.sensor, one.outcome, one.reason, one.value) for one in self]

    def __repr__(self) -> str:
        return _text(_PREVIEW, self._rows())

    def _repr_html_(self) -> str:
        return _html(_PREVIEW, self._rows())


_PREVIEW: Final = ("sensor", "outcome", "reason", "value")


def _datastore(root: Path) -> str:
    """The datastore of flows that run in this folder; empty where none has run yet."""
    with chdir(root):
        # Metaflow makes the folder of a local datastore when it is asked for it.
        if setting("DEFAULT_DATASTORE") == "local":
            local = existing_local_root()
            return local if Path(local).is_dir() else ""
        return datastore_root()


@contextmanager
def _metadata_of(root: Path) -> Iterator[None]:
    """Have Metaflow's client ask where the runs of the project in this folder are recorded."""
    before = metaflow.get_metadata()
    with chdir(root):
        local = existing_local_root()
    # Local records are below the project's folder, wherever the notebook is; a service is one.
    if not before.startswith("local@") or not local:
        yield
        return
    metaflow.metadata(f"local@{Path(local).parent}")
    try:
        yield
    finally:
        metaflow.metadata(before)


# ------------------------------------------------------------------------------ tables and a chart


def _cell(value: object) -> str:
    if value is None:
        return ""
    # Else it is a number or JSON, out of a journal.
    text = value if isinstance(value, str) else dumps(value)  # type: ignore[arg-type]
    return one_line(text, _LONGEST_CELL)


def _text(columns: Sequence[str], rows: Sequence[_Row], *, title: str = "", empty: str = "") -> str:
    if not rows:
        return "\n".join(filter(None, (title, empty)))
    table = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([*([title] if title else []), *lines])


def _html(columns: Sequence[str], rows: Sequence[_Row], *, title: str = "") -> str:
    # What comes from data is escaped: a notebook runs what is in its output.
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:left'>{escape(_cell(value))}</td>" for value in row)
        + "</tr>"
        for row in rows
    )
    caption = f"<p>{escape(title)}</p>" if title else ""
    titles = f"<thead><tr>{head}</tr></thead>" if any(columns) else ""
    return f"{caption}<table>{titles}<tbody>{body}</tbody></table>"


def _items_table(items: Json) -> tuple[list[str], list[_Row]]:
    """The first few items of a kind, each column that one of them has."""
    rows: list[Mapping[str, Json]] = [one for one in items or () if isinstance(one, dict)]  # type: ignore[union-attr]  # a list
    columns = list(dict.fromkeys(name for row in rows[:_SHOWN_ITEMS] for name in row))
    return columns, [[row.get(name) for name in columns] for row in rows[:_SHOWN_ITEMS]]


def _chart(trail: Sequence[Sequence[Json]], name: str) -> str:
    """The value over time as an SVG that needs no script; empty without two numbers."""
    points = [
        (dt.datetime.fromisoformat(str(moment)).timestamp(), float(number))
        for moment, number in trail
        if isinstance(number, int | float)
    ]
    if len(points) < 2:  # noqa: PLR2004  # a line
        return ""
    (first, _), (last, _) = points[0], points[-1]
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    wide, high = (last - first) or 1.0, (highest - lowest) or 1.0
    across, down = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    places = [
        (_MARGIN + across * (x - first) / wide, _HEIGHT - _MARGIN - down * (y - lowest) / high)
        for x, y in points
    ]
    # A value holds until the next one.
    steps = [f"M{places[0][0]:.1f},{places[0][1]:.1f}"]
    steps += [f"H{x:.1f}V{y:.1f}" for x, y in places[1:]]
    said = f"{name}: {lowest:g} to {highest:g}, {trail[0][0]} to {trail[-1][0]}"
    return (
        f"<svg role='img' aria-label='{escape(said, quote=True)}' width='{_WIDTH}' "
        f"height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}'><title>{escape(said)}</title>"
        f"<path d='{''.join(steps)}' fill='none' stroke='#2a6fdb' stroke-width='2'/></svg>"
        f"<p><small>{escape(said)}</small></p>"
    )


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
