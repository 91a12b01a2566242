"""What a tick costs when the journal is short and when it is long."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import add_files, copy_project, project_context, run, tick

__all__ = ["measure"]

_SHORT: Final = 10
_LONG: Final = 10_000
_LONG_IF_QUICK: Final = 100
_ROUNDS: Final = 9
_ROUNDS_IN_PROCESS: Final = 50


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """The long journal over the short one: the whole run, and the tick alone in this process."""
    entries = _LONG_IF_QUICK if quick else _LONG
    short = add_files(copy_project(folder / "short"), "sensorflow.py")
    long = add_files(copy_project(folder / "long"), "sensorflow.py")
    for flow, length in ((short, _SHORT), (long, entries)):
        run(flow)
        _lengthen(flow.parent, length)
    fair_because = (
        "same data, same flow; only the number of entries (each with the mark that it was "
        f"published) differs. Pruning keeps 500: a journal does not grow to {_LONG:,}"
    )
    slow, fast = in_turn(lambda: tick(long), lambda: tick(short), rounds=_ROUNDS, quick=quick)
    yield Comparison(
        ours_is=f"a tick with {entries:,} journal entries, whole run",
        peer_is=f"a tick with {_SHORT} journal entries, whole run",
        fair_because=fair_because,
        ours=slow,
        peer=fast,
        goal=1.1,
    )
    slow, fast = in_turn(
        _in_process(long.parent),
        _in_process(short.parent),
        rounds=_ROUNDS_IN_PROCESS,
        quick=quick,
    )
    yield Comparison(
        ours_is=f"a tick with {entries:,} journal entries, alone",
        peer_is=f"a tick with {_SHORT} journal entries, alone",
        fair_because="observe and publish inside one process: no interpreter, no Metaflow and no "
        "card in which a difference could hide",
        ours=slow,
        peer=fast,
        goal=1.1,
    )


def _lengthen(root: Path, entries: int) -> None:
    """Record further changes after the baseline; the newest knows the items that are there."""
    from flowproject.changes.difference import Difference

    journal = project_context(root).journal("weather")
    baseline = journal.get(1)
    if baseline is None:
        raise RuntimeError(f"no baseline was recorded in {journal.location}")
    items = journal.snapshots.items(baseline)
    common = replace(baseline, outcome="changed", snapshot="", difference="")
    for seq in range(2, entries + 1):
        entry = replace(common, seq=seq, id=f"{seq:032x}")
        kept = journal.record(entry, items if seq == entries else None, Difference())
        journal.outbox.resolve(kept.seq, kept.id)
        journal.memos.write_head(journal.head().resolved([seq]))


def _in_process(root: Path) -> Callable[[], float]:
    from flowproject.sensing import observe, publish

    place = project_context(root)

    def once() -> float:
        begun = perf_counter()
        [seen] = publish(place, observe(place))
        seconds = perf_counter() - begun
        if seen.outcome != "unchanged" or seen.pending:
            raise RuntimeError(f"this was no unchanged tick: {seen}")
        return seconds

    return once
