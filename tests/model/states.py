"""The protocol of delivery, abstracted: how large its world is, its mutants, and its states.

What is left out is what no interleaving depends on: contents, times and places. Time is only
this: a receipt may be overdue at any moment, so an event may be sent again at any moment.
The store creates atomically, and a read sees every write; that is assumed, not checked.
"""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Bounds", "Event", "Rules", "Run", "State", "Tick", "initial"]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How large the little world is.

    `moves` of the data (A to B to A: two are two changes, and their order matters), `ticks` at
    once, `flows` that listen, `sendings` of one event at most, and `faults` of any kind, anywhere,
    in any mixture: a tick dies, the bus refuses, takes and denies it, drops or doubles an event,
    a run dies before its claim for good or is tried again after it, the store does a create and
    reports an error, a memo is lost. Delays, and events that overtake each other, are no faults:
    they are free, and happen without a limit. `faults` below `sendings` leave one sending alone.

    The last `deaf` of the flows never take anything, so what they are told of is given up. With
    `read_only` a fault may also be that nobody can write to the store any more, until somebody can.
    With `renames` the only flow gets another name at some moment: from then on the bus starts that.
    With `twins` a fault may be that a step of a run begins once more while it goes on, and that one
    of the two is gone for good: a cluster makes a pod again that it does not see any more.
    """

    moves: int = 2
    ticks: int = 2
    flows: int = 1
    sendings: int = 3
    faults: int = 2
    memo: bool = False
    listeners_known: bool = True
    deaf: int = 0
    read_only: bool = False
    renames: bool = False
    twins: bool = False


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The protocol as it is, and the ways in which it is broken on purpose."""

    mark_before_publish: bool = False
    no_claim: bool = False
    claim_after_work: bool = False
    overwrite: bool = False
    new_id_each_time: bool = False
    watch_only_the_oldest: bool = False
    send_before_noting: bool = False
    forget_the_gone: bool = False
    claim_by_process: bool = False
    leave_out_beside: bool = False


class Event(NamedTuple):
    """What is on the bus: the change that it tells of, and what stands for its id."""

    seq: int
    id: int


class Run(NamedTuple):
    """A run that an event started; `owns`: the receipt is its own, `did`: it has had its effect.

    `twin` is where the second process of the same step is (empty: there is none), and `twin_owns`
    that it wrote the receipt.
    """

    event: Event
    flow: int
    at: str = "start"
    owns: bool = False
    did: bool = False
    twin: str = ""
    twin_owns: bool = False


class Tick(NamedTuple):
    """One sensor process: where it is, and what it has read or seen until now.

    `watched` is how many events it has awaited receipts for in this pass; `proven`: it could write.
    """

    at: str = "idle"
    newest: int = 0
    todo: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    sent: int = 0
    watched: int = 0
    proven: bool = False


class State(NamedTuple):
    """Everything. Ticks, events and runs are alike, so they are kept sorted: one state for many.

    `blind` is how often each change was sent since the store is `read_only`. `name` is that of the
    flow (0, or 1 when it was renamed), `to` the one that each change was sent to when it was
    marked, and `named` are the changes of which a tick said that their flow is gone.
    """

    moves: int
    entries: int
    taken: frozenset[int]
    marks: frozenset[int]
    sent: tuple[int, ...]
    settled: frozenset[int]
    receipts: frozenset[tuple[Event, int]]
    effects: tuple[tuple[int, int], ...]
    bus: tuple[Event, ...]
    runs: tuple[Run, ...]
    ticks: tuple[Tick, ...]
    memo: tuple[int, tuple[int, ...]] | None
    faults: int
    serial: int
    read_only: bool
    blind: tuple[int, ...]
    name: int
    to: tuple[int, ...]
    named: frozenset[int]


def initial(bounds: Bounds) -> State:
    """A sensor that has had its first look, and nothing has moved since."""
    none: frozenset[int] = frozenset()
    return State(
        moves=0,
        entries=0,
        taken=none,
        marks=none,
        sent=(0,) * bounds.moves,
        settled=none,
        receipts=frozenset(),
        effects=(),
        bus=(),
        runs=(),
        ticks=(Tick(),) * bounds.ticks,
        memo=(0, ()) if bounds.memo else None,
        faults=bounds.faults,
        serial=0,
        read_only=False,
        blind=(0,) * bounds.moves,
        name=0,
        to=(0,) * bounds.moves,
        named=none,
    )
