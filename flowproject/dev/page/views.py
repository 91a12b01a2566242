"""Read what each view needs, in threads, and make the view of it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

from flowproject.config import Sensor
from flowproject.dev.metaflow_client import (
    card_html,
    read_cards,
    read_outcomes,
    read_past,
    read_steps,
)
from flowproject.dev.page.changes import (
    KINDS,
    CardFrame,
    ChangeView,
    ItemsQuery,
    ItemsView,
    JournalEnd,
    change_view,
    items_view,
    journal_end,
    list_changes,
    place_of,
    read_change,
)
from flowproject.dev.page.components import Link, address, run_address
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.overview import Overview, overview
from flowproject.dev.page.runs import RunView, past_view, run_view, tail
from flowproject.dev.page.sensors import SensorRow, SensorView, sensor_row, sensor_view
from flowproject.dev.records import known_here, runs_recorded, work_folder
from flowproject.errors import FlowError, UsageError
from flowproject.flowfiles import FlowFile
from flowproject.journal import Receipt
from flowproject.runs import RunOutcome, StepOutcome
from flowproject.secrecy import safe
from flowproject.sensing import Chain, FoundChange, ProjectContext

__all__ = ["Views"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# Runs of a change whose cards are shown in place.
_RUNS: Final = 4
# Ids of changes: their receipts are read from Metaflow's datastore, one request and more for each
# run.
_KEPT_GOOD: Final = 5_000
# Seconds for which the end of a journal is taken for known: other processes may write there.
_FRESH: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class _CachedEnd:
    """The end of a journal as it was read, at which sign of the loop and when."""

    newest: JournalEnd
    sign: object
    read: float


class Views:
    """Makes the views. Journals are read in any thread, Metaflow's client in that of `reading`."""

    def __init__(self, context: PageContext, reading: Executor) -> None:
        self.context = context
        self._reading = reading
        self._ends: dict[str, _CachedEnd] = {}
        self._good: dict[str, tuple[Receipt, ...]] = {}
        """Id of a change -> its receipts, if all of their runs have succeeded: that stays so."""

    async def overview(self, span: str, part: str) -> Overview:
        """Make the overview, or a piece of it."""
        rows = await self._rows() if part in ("", "sensors") else ()
        return overview(self.context, rows, span, part)

    async def sensor(self, name: str, before: int, *, with_changes: bool) -> SensorView:
        """Make the view of a sensor, with the changes before this number (0: the newest).

        Raises:
            UsageError: if there is no such sensor.
            JournalError: if its journal can't be read.
        """
        project_context = self._project_context()
        [sensor] = project_context.sensors([name])
        [newest] = await self._newest(project_context, [sensor])
        # The pieces of the view renew themselves apart: a chart needs no list of changes.
        if not with_changes:
            return sensor_view(self.context, sensor, newest)
        page = await asyncio.to_thread(list_changes, project_context, name, before)
        chains = [one for one in page.chains if isinstance(one, Chain)]
        return sensor_view(self.context, sensor, newest, page, await self._outcomes(chains))

    async def change(self, asked: ItemsQuery, *, with_items: bool, with_cards: bool) -> ChangeView:
        """Make the view of a change, with some of its items.

        Raises:
            UsageError: if there is no such change or kind of items.
            JournalError: if it can't be read.
        """
        if asked.kind and asked.kind not in KINDS:
            raise UsageError(f"There are no {asked.kind!r} items", allowed=", ".join(KINDS))
        found = await asyncio.to_thread(
            read_change, self._project_context(), asked.sensor, asked.seq
        )
        items = await asyncio.to_thread(_items, found, asked) if with_items else None
        # The newest first, each once: a replay has a receipt for each attempt.
        runs = list(dict.fromkeys(receipt.run for receipt in reversed(found.chain.receipts)))
        cards = await self._cards(runs[:_RUNS]) if with_cards else []
        outcomes = await self._outcomes([found.chain])
        return change_view(found.chain, items, cards, outcomes.get(found.chain.entry.id, ()))

    async def run(
        self, flow: str, run_id: str, *, with_cards: bool, with_log: bool, with_steps: bool
    ) -> RunView:
        """Make the view of a run, whether the loop has started it or not.

        Raises:
            UsageError: if there is no such run.
        """
        name = f"{flow}/{run_id}"
        file = self.context.flow(flow)
        cards = await self._cards([name]) if with_cards else []
        steps: Sequence[StepOutcome] = ()
        if with_steps and file:
            steps = await self._read(f"The steps of {name}", _steps, file, run_id)
        if run := self.context.loop.runs.get(name):
            # Before the view: it links the changes that started the run, and this loop may not have
            # seen their ticks.
            await self._place(run.events)
            log, size = await asyncio.to_thread(tail, run.log) if with_log else ("", 0)
            return run_view(self.context, run, cards, log, size, steps)
        past = await self._read(f"The run {name}", read_past, file, run_id) if file else None
        if past is None:
            raise UsageError(
                f"Metaflow's metadata have no run {name!r}",
                allowed="A run is Flow/id; those of this project are listed under Runs",
                fix="A run that another datastore or service keeps is shown by a loop that uses it",
            )
        cause = await asyncio.to_thread(self._cause, flow, run_id)
        return past_view(flow, run_id, past, cause, cards, steps)

    async def card(self, flow: str, run_id: str, step: str, task: str, number: int) -> str | None:
        """Read a card, an HTML page of its own; None if there is no such card."""
        file = self.context.flow(flow)
        what = f"Card {number} of {flow}/{run_id}/{step}/{task}"
        if file is None:
            return None
        return await self._read(what, card_html, file, run_id, step, task, number)

    async def _rows(self) -> tuple[SensorRow, ...]:
        project_context = self.context.project_context
        if project_context is None:
            return ()
        sensors = list(project_context.project.sensors.values())
        ends = await self._newest(project_context, sensors)
        return tuple(
            sensor_row(self.context, sensor, end) for sensor, end in zip(sensors, ends, strict=True)
        )

    async def _newest(
        self, project_context: ProjectContext, sensors: Sequence[Sensor]
    ) -> list[JournalEnd]:
        """The ends of the journals, read where something may have been written since."""
        signs = {sensor.name: self._sign(sensor.name) for sensor in sensors}
        # With a hundred sensors and a page that renews itself with each tick, reading all the
        # journals each time would keep an object store busy.
        stale = [name for name, sign in signs.items() if not self._is_known(name, sign)]
        for name, end in zip(stale, await _ends(project_context, stale), strict=True):
            self._ends[name] = _CachedEnd(newest=end, sign=signs[name], read=time.monotonic())
        return [self._ends[sensor.name].newest for sensor in sensors]

    def _sign(self, sensor: str) -> object:
        """What differs as soon as this loop has looked at the sensor, or a person has acted."""
        return self.context.loop.latest(sensor), self.context.loop.acts

    def _is_known(self, sensor: str, sign: object) -> bool:
        cached = self._ends.get(sensor)
        fresh = time.monotonic() - _FRESH
        return cached is not None and cached.sign == sign and cached.read > fresh

    async def _cards(self, runs: Sequence[str]) -> list[CardFrame]:
        """The cards of some runs, written `Flow/id`."""
        frames: list[CardFrame] = []
        for name in runs:
            flow_name, _, run_id = name.partition("/")
            if flow := self.context.flow(flow_name):
                frames += await self._read(f"The run {name}", _frames, flow, run_id)
        return frames

    async def _outcomes(self, chains: Sequence[Chain]) -> dict[str, list[RunOutcome]]:
        """Id of a change -> what became of the runs that took it, read where it may have moved."""
        # Only what has a receipt was taken by a run, and a run that has succeeded stays so: it is
        # not asked again.
        taken = [chain for chain in chains if chain.receipts]
        asked = [chain for chain in taken if self._good.get(chain.entry.id) != chain.receipts]
        flow = next(iter(self.context.flows), None)
        if not (asked and flow):
            return {}
        found = await self._read(
            "What became of its runs", read_outcomes, flow, asked, self._known_here
        )
        for chain, outcomes in zip(asked, found, strict=True):
            if outcomes and all(one.state == "succeeded" for one in outcomes):
                self._good[chain.entry.id] = chain.receipts
                while len(self._good) > _KEPT_GOOD:
                    del self._good[next(iter(self._good))]
        return {chain.entry.id: one for chain, one in zip(asked, found, strict=True)}

    def _cause(self, flow: str, run_id: str) -> str:
        """What started a run of an earlier loop, as that noted it; empty if none did."""
        recorded = runs_recorded(work_folder(self.context.flows[0].local_root))
        found = (run.cause for run in recorded if run.flow == flow and run.run_id == run_id)
        return next(found, "")

    def _known_here(self) -> Mapping[str, str]:
        return known_here(work_folder(self.context.flows[0].local_root))

    async def _place(self, ids: Sequence[str]) -> None:
        """Find where the changes with these ids are, if this loop has not seen their ticks."""
        places, project_context = self.context.loop.changes, self.context.project_context
        for one in ids:
            if project_context and one and one not in places:
                place = await asyncio.to_thread(place_of, project_context, one)
                if place:
                    places[one] = place

    async def _read(self, what: str, read: Callable[..., _T], *arguments: object) -> _T:
        """Read something with Metaflow's client.

        Raises:
            FlowError: if it can't be read.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reading, read, *arguments)
        except Exception as error:
            # The client raises whatever its storage and its parsers raise: none of that is a bug.
            raise FlowError(
                f"{what} can't be read: {type(error).__name__}: {error}",
                where="It lies where Metaflow keeps the run",
                allowed="Its files are as Metaflow has written them, and this machine reaches them",
                fix="If they are damaged, run the flow again: each run keeps its own",
            ) from error

    def _project_context(self) -> ProjectContext:
        if self.context.project_context is None:
            raise UsageError(
                "This project has no sensors that could be shown",
                allowed="A flow that inherits BaseFlow gives it a branch",
            )
        return self.context.project_context


async def _ends(project_context: ProjectContext, sensors: Sequence[str]) -> list[JournalEnd]:
    """The ends of the journals, all in one thread."""
    if not sensors:
        return []
    return await asyncio.to_thread(lambda: [journal_end(project_context, name) for name in sensors])


def _items(found: FoundChange, asked: ItemsQuery) -> ItemsView | None:
    entry = found.chain.entry
    return items_view(found.journal.snapshots.difference(entry), asked)


def _steps(flow: FlowFile, run_id: str) -> list[StepOutcome]:
    try:
        return read_steps(flow, run_id)
    except Exception as error:  # noqa: BLE001  # as of the cards
        _log.warning("The steps of %s/%s can't be read: %s", flow.name, run_id, error)
        return []


def _frames(flow: FlowFile, run_id: str) -> list[CardFrame]:
    run = f"{flow.name}/{run_id}"
    try:
        places = read_cards(flow, run_id)
    except Exception as error:  # noqa: BLE001  # the client raises what its storage raises
        # The rest of the view does not depend on them.
        _log.warning("The cards of %s/%s can't be read: %s", flow.name, run_id, error)
        why = safe(f"The cards of this run can't be read: {type(error).__name__}: {error}")
        return [
            CardFrame(title=run, src="", run=Link(text=run, href=run_address(run)), problem=why)
        ]
    return [
        CardFrame(
            title=f"{place.step} of {run}" + (f" ({place.id})" if place.id else ""),
            src=address("cards", flow.name, run_id, place.step, place.task, place.number),
            run=Link(text=run, href=run_address(run)),
        )
        for place in places
    ]
