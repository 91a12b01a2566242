"""Every step that the protocol of delivery allows in a state, in words, and where it leads."""

from collections.abc import Iterator

from tests.model.states import Bounds, Event, Rules, Run, State, Tick

__all__ = ["Step", "steps", "without_idlers"]

Step = tuple[str, State]


def steps(state: State, rules: Rules, bounds: Bounds) -> Iterator[Step]:
    """Every step that can be next, in words, and the state that it leads to."""
    yield from _world_steps(state, bounds)
    yield from _bus_steps(state, bounds)
    for number, run in enumerate(state.runs):
        rest = state.runs[:number] + state.runs[number + 1 :]
        others = state._replace(runs=rest)
        yield from _run_steps(others, run, rules)
        if run.twin:
            yield from _run_steps(others, _swapped(run), rules)
        if bounds.twins and state.faults:
            yield from _twin_steps(_fault(others), run, rules)
    for number, tick in enumerate(state.ticks):
        if tick not in state.ticks[:number]:
            rest_ = state.ticks[:number] + state.ticks[number + 1 :]
            yield from _tick_steps(state._replace(ticks=rest_), tick, rules, bounds)


def _world_steps(state: State, bounds: Bounds) -> Iterator[Step]:
    """What happens around them: to the data, the store, the memo and the name of the flow."""
    if state.moves < bounds.moves:
        yield "the data move", state._replace(moves=state.moves + 1)
    if state.faults and state.memo:
        yield "the memo is lost", _fault(state)._replace(memo=None)
    if state.read_only:
        again = state._replace(read_only=False, blind=(0,) * bounds.moves)
        yield "the store can be written again", again
    elif bounds.read_only and state.faults:
        yield "the store can be read only", _fault(state)._replace(read_only=True)
    if bounds.renames and not state.name:
        yield "the flow is renamed", state._replace(name=1)


def _fault(state: State) -> State:
    return state._replace(faults=state.faults - 1)


# ----------------------------------------------------------------------------------------- the bus


def _bus_steps(state: State, bounds: Bounds) -> Iterator[Step]:
    for number, event in enumerate(state.bus):
        if event in state.bus[:number]:
            continue
        rest = state._replace(bus=state.bus[:number] + state.bus[number + 1 :])
        started = tuple(Run(event, flow) for flow in _hearing(state, bounds))
        runs = tuple(sorted((*state.runs, *started)))
        yield f"the bus starts a run for change {event.seq}", rest._replace(runs=runs)
        if state.faults:
            yield f"the bus drops the event of change {event.seq}", _fault(rest)
            twice = tuple(sorted((*state.bus, event)))
            yield (
                f"the bus doubles the event of change {event.seq}",
                _fault(state)._replace(bus=twice),
            )


def _hearing(state: State, bounds: Bounds) -> range:
    """The flows that start when they are told to."""
    if bounds.renames:
        return range(state.name, state.name + 1)
    return range(bounds.flows - bounds.deaf)


def _accepted(state: State, seq: int, rules: Rules) -> State:
    event = Event(seq, state.serial if rules.new_id_each_time else 0)
    blind = state.blind[seq - 1] + state.read_only
    return state._replace(
        blind=(*state.blind[: seq - 1], blind, *state.blind[seq:]),
        bus=tuple(sorted((*state.bus, event))),
        taken=state.taken | {seq},
        serial=state.serial + rules.new_id_each_time,
    )


def without_idlers(state: State, bounds: Bounds) -> State:
    """The same without events and runs that can only find another's receipt and do nothing.

    A receipt stays, so it makes no difference when they do that: no interleaving of anything else
    is lost. It is not so where claims are broken.
    """
    taken = state.receipts
    runs = tuple(
        run for run in state.runs if run.owns or run.twin_owns or (run.event, run.flow) not in taken
    )
    flows = range(2) if bounds.renames else _hearing(state, bounds)
    bus = tuple(one for one in state.bus if any((one, flow) not in taken for flow in flows))
    return state._replace(runs=runs, bus=bus)


# ----------------------------------------------------------------------------------------- runs


def _twin_steps(state: State, run: Run, rules: Rules) -> Iterator[Step]:
    if run.twin:
        for one in (run, _swapped(run)):
            yield f"a process of {_who(run)} is gone for good", _without(state, one, rules)
    elif run.at == "start":
        yield (
            f"{_who(run)} begins once more while it goes on",
            _with(state, run._replace(twin="start")),
        )


def _swapped(run: Run) -> Run:
    return run._replace(at=run.twin, twin=run.at, owns=run.twin_owns, twin_owns=run.owns)


def _without(state: State, run: Run, rules: Rules) -> State:
    """What goes on when this process of the run is over: the other one, if there are two."""
    if not run.twin:
        return state
    owns = run.twin_owns or (run.owns and not rules.claim_by_process)
    return _with(state, run._replace(at=run.twin, owns=owns, twin="", twin_owns=False))


def _who(run: Run) -> str:
    return f"a run{f' of flow {run.flow + 1}' if run.flow else ''} for change {run.event.seq}"


def _run_steps(state: State, run: Run, rules: Rules) -> Iterator[Step]:
    who = _who(run)
    if run.at == "start":
        yield from _first_steps(state, run, rules, who)
    elif run.at == "claim":
        yield from _claim(state, run, rules, who, after="end")
    else:
        yield f"{who} does its work", _worked(state, run, rules)
    if run.at != "start" and state.faults:
        again = run._replace(at="start")
        yield f"{who} dies, to be tried again", _with(_fault(state), again)


def _first_steps(state: State, run: Run, rules: Rules, who: str) -> Iterator[Step]:
    if state.faults and not run.owns:
        yield f"{who} dies before its claim, for good", _without(_fault(state), run, rules)
    if rules.no_claim or rules.claim_after_work:
        yield f"{who} goes to work unclaimed", _with(state, run._replace(at="work"))
    else:
        yield from _claim(state, run, rules, who, after="work")


def _claim(state: State, run: Run, rules: Rules, who: str, *, after: str) -> Iterator[Step]:
    """Create the receipt if it is absent. Whoever finds one looks whose it is."""
    key = (run.event, run.flow)
    if state.read_only and key not in state.receipts:
        yield f"{who} can't write its receipt, and is tried again", _with(state, run)
        return
    mine = run.owns or (run.twin_owns and not rules.claim_by_process)
    if key in state.receipts and not mine and not rules.overwrite:
        yield f"{who} finds the receipt of another, and does nothing", _without(state, run, rules)
        return
    claimed = state._replace(receipts=state.receipts | {key})
    then = _with(claimed, run._replace(at=after, owns=True)) if after == "work" else claimed
    yield f"{who} has the receipt", then
    if state.faults and key not in state.receipts:
        unsure = run._replace(at="start", owns=True)
        told = f"{who} is told of an error, though its receipt is written, and is tried again"
        yield told, _with(_fault(claimed), unsure)


def _worked(state: State, run: Run, rules: Rules) -> State:
    """After its work a run is gone: what it did again would be its own effect once more."""
    effect = () if run.did else ((run.event.seq, run.flow),)
    state = state._replace(effects=tuple(sorted((*state.effects, *effect))))
    run = run._replace(did=True)
    if rules.claim_after_work:
        return _with(state, run._replace(at="claim"))
    return _without(state, run, rules)


def _with(state: State, run: Run) -> State:
    """With this run. Its two processes are alike: one order of them stands for both."""
    if run.twin and (run.twin, run.twin_owns) < (run.at, run.owns):
        run = _swapped(run)
    return state._replace(runs=tuple(sorted((*state.runs, run))))


# ----------------------------------------------------------------------------------------- ticks


def _tick_steps(state: State, tick: Tick, rules: Rules, bounds: Bounds) -> Iterator[Step]:
    if tick.at == "idle":
        yield "a tick reads the head", _at(state, _read_head(state))
        return
    if state.faults:
        yield "a tick dies", _at(_fault(state), Tick())
    if tick.at == "deliver":
        yield from _deliver(state, tick, rules, bounds)
    elif tick.at in ("publish", "again"):
        yield from _send(state, tick, rules)
    elif tick.at == "observe":
        yield from _observe(state, tick)
    elif state.read_only:
        yield "a tick can't write, and fails", _at(state, Tick())
    else:
        yield _WRITES[tick.at](state, tick, rules, bounds)
        if tick.at == "create" and bounds.memo:
            yield _remember_beside(state, tick, rules)


def _read_head(state: State) -> Tick:
    """By the memo and the numbers after it; without one, by the names of all there is."""
    if state.memo:
        seq, unsettled = state.memo
        # A memo may be there before the entry that it ends with.
        seq = min(seq, state.entries)
        known = (number for number in unsettled if number <= seq)
        todo = (*known, *range(seq + 1, state.entries + 1))
    else:
        todo = tuple(n for n in range(1, state.entries + 1) if n not in state.settled)
    return _moved(Tick("deliver", state.entries, todo))


def _moved(tick: Tick) -> Tick:
    """To the next change of the pass; after the last one, on to the look at the data."""
    if tick.todo:
        return tick._replace(at="deliver", sent=0)
    return tick._replace(at="pass done", sent=0, watched=0, proven=False)


def _done(tick: Tick, *, settled: bool = False) -> Tick:
    left = tick.left if settled else (*tick.left, tick.todo[0])
    return _moved(tick._replace(todo=tick.todo[1:], left=left))


def _deliver(state: State, tick: Tick, rules: Rules, bounds: Bounds) -> Iterator[Step]:
    seq = tick.todo[0]
    if seq not in state.marks:
        is_sure = tick.proven or rules.send_before_noting
        first = "mark" if rules.mark_before_publish else "publish" if is_sure else "prove"
        yield f"a tick finds no mark of change {seq}", _at(state, tick._replace(at=first))
    elif rules.watch_only_the_oldest and tick.watched:
        yield f"a tick has watched enough for change {seq}", _at(state, _done(tick))
    elif (
        bounds.renames and state.to[seq - 1] != state.name and not _has_receipts(state, seq, bounds)
    ):
        yield from _leave(state, tick, rules)
    elif not bounds.listeners_known or _has_receipts(state, seq, bounds):
        if state.read_only:
            yield "a tick can't write, and fails", _at(state, Tick())
            return
        settled = state._replace(settled=state.settled | {seq})
        label = f"a tick sees all receipts of change {seq}, and notes that it is delivered"
        yield label, _at(settled, _done(tick, settled=True))
    else:
        sent = state.sent[seq - 1]
        watching = tick._replace(watched=tick.watched + 1) if rules.watch_only_the_oldest else tick
        if sent + 1 < bounds.sendings:
            first = "again" if rules.send_before_noting else "note"
            overdue = watching._replace(at=first, sent=sent + 1)
            yield f"a tick finds the receipts of change {seq} overdue", _at(state, overdue)
        yield f"a tick waits for receipts of change {seq}", _at(state, _done(watching))


def _leave(state: State, tick: Tick, rules: Rules) -> Iterator[Step]:
    """A change whose flow is gone: told once, and settled; before that a run of it may begin."""
    seq = tick.todo[0]
    if state.read_only:
        yield "a tick can't write, and fails", _at(state, Tick())
        return
    named = state.named if rules.forget_the_gone else state.named | {seq}
    settled = state._replace(settled=state.settled | {seq}, named=named)
    label = f"a tick sees that the flow of change {seq} is gone, and settles it"
    yield label, _at(settled, _done(tick, settled=True))


def _has_receipts(state: State, seq: int, bounds: Bounds) -> bool:
    there = {flow for event, flow in state.receipts if event.seq == seq}
    if bounds.renames:
        return state.to[seq - 1] in there
    return len(there) == bounds.flows


def _send(state: State, tick: Tick, rules: Rules) -> Iterator[Step]:
    seq = tick.todo[0]
    first = tick.at == "publish"
    word = "publishes" if first else "sends again"
    if first:
        then = _done(tick) if rules.mark_before_publish else tick._replace(at="mark")
        # Nothing is published after a failure, lest a later change be first.
        failed = _moved(tick._replace(todo=(), left=(*tick.left, *tick.todo)))
    else:
        noted = not rules.send_before_noting
        then = _done(tick) if noted else tick._replace(at="note")
        failed = tick._replace(at="forget") if noted else _done(tick)
    yield f"a tick {word} change {seq}", _at(_accepted(state, seq, rules), then)
    if state.faults:
        yield f"a tick {word} change {seq}, and the bus refuses", _at(_fault(state), failed)
        taken = _fault(_accepted(state, seq, rules))
        yield (
            f"a tick {word} change {seq}; the bus takes it and reports an error",
            _at(taken, failed),
        )


def _mark(state: State, tick: Tick, rules: Rules, _: Bounds) -> Step:
    seq = tick.todo[0]
    then = tick._replace(at="publish") if rules.mark_before_publish else _done(tick)
    to = (*state.to[: seq - 1], state.name, *state.to[seq:]) if seq not in state.marks else state.to
    marked = state._replace(marks=state.marks | {seq}, to=to)
    return f"a tick marks change {seq}", _at(marked, then)


def _prove(state: State, tick: Tick, _: Rules, __: Bounds) -> Step:
    return "a tick sees that it can write", _at(state, tick._replace(at="publish", proven=True))


def _note(state: State, tick: Tick, rules: Rules, _: Bounds) -> Step:
    seq = tick.todo[0]
    if tick.sent <= state.sent[seq - 1]:
        return f"a tick finds that another sends change {seq}", _at(state, _done(tick))
    then = _done(tick) if rules.send_before_noting else tick._replace(at="again")
    noted = state._replace(sent=_with_sent(state, seq, tick.sent))
    return f"a tick notes the sending of change {seq}", _at(noted, then)


def _forget(state: State, tick: Tick, _: Rules, __: Bounds) -> Step:
    seq = tick.todo[0]
    sent = min(state.sent[seq - 1], tick.sent - 1)
    taken_back = state._replace(sent=_with_sent(state, seq, sent))
    return f"a tick takes back the note of change {seq}", _at(taken_back, _done(tick))


def _with_sent(state: State, seq: int, sent: int) -> tuple[int, ...]:
    return (*state.sent[: seq - 1], sent, *state.sent[seq:])


def _end_pass(state: State, tick: Tick, _: Rules, bounds: Bounds) -> Step:
    if bounds.memo:
        state = state._replace(memo=(tick.newest, tick.left))
    return "a tick has gone through what is unsettled", _at(state, tick._replace(at="observe"))


def _observe(state: State, tick: Tick) -> Iterator[Step]:
    if state.moves % 2 == tick.newest % 2:
        yield "a tick sees nothing new", _at(state, Tick())
    else:
        yield "a tick sees a change", _at(state, tick._replace(at="create"))


def _create(state: State, tick: Tick, rules: Rules, bounds: Bounds) -> Step:
    seq = tick.newest + 1
    if state.entries >= seq and not rules.overwrite:
        return f"a tick is superseded: there is an entry {seq}", _at(state, Tick())
    recorded = state._replace(entries=max(state.entries, seq))
    is_left = bounds.memo and tick.at == "create"
    then = Tick("remember", seq, (), (*tick.left, seq)) if is_left else Tick()
    return f"a tick records change {seq}", _at(recorded, then)


def _remember_beside(state: State, tick: Tick, rules: Rules) -> Step:
    """The memo is written beside the entry, so it may be there first."""
    seq = tick.newest + 1
    left = tick.left if rules.leave_out_beside else (*tick.left, seq)
    label = f"a tick writes the memo with change {seq}, which is not recorded yet"
    return label, _at(state._replace(memo=(seq, left)), tick._replace(at="create beside"))


def _remember(state: State, tick: Tick, _: Rules, __: Bounds) -> Step:
    memo = (tick.newest, tick.left)
    return "a tick writes the memo", _at(state._replace(memo=memo), Tick())


_WRITES = {
    "prove": _prove,
    "mark": _mark,
    "note": _note,
    "forget": _forget,
    "pass done": _end_pass,
    "create": _create,
    "create beside": _create,
    "remember": _remember,
}


def _at(state: State, tick: Tick) -> State:
    return state._replace(ticks=tuple(sorted((*state.ticks, tick))))
