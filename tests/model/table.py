"""What is searched: the protocol in several little worlds, and each mutant in one; as a table."""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.model.search import BLIND, LOST, ORDER, TWICE, Finding, explore
from tests.model.states import Bounds, Rules

__all__ = ["ALL", "MUTANTS", "PROTOCOL", "THOROUGH", "Case", "as_json", "shown"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One search, and the property that it must find broken (the protocol: none).

    The protocol is held to all of them, a mutant to the one that is seen from outside: that it
    breaks steps of its own is plain.
    """

    name: str
    bounds: Bounds
    rules: Rules = field(default_factory=Rules)
    breaks: str = ""

    def find(self) -> Finding:
        """What the search finds."""
        return explore(self.rules, self.bounds, only=frozenset({self.breaks} - {""}))


PROTOCOL: Final = (
    Case(name="two ticks, two changes", bounds=Bounds(faults=0, sendings=1)),
    Case(name="two ticks, two faults", bounds=Bounds(moves=1)),
    Case(name="two changes, two faults", bounds=Bounds(ticks=1)),
    Case(name="two flows, a fault", bounds=Bounds(moves=1, flows=2, faults=1, sendings=2)),
    Case(name="a memo, two ticks", bounds=Bounds(faults=0, sendings=1, memo=True)),
    Case(name="a memo, two faults", bounds=Bounds(moves=1, memo=True, ticks=1)),
    Case(
        name="a flow that never takes, a fault",
        bounds=Bounds(flows=2, deaf=1, ticks=1, faults=1, sendings=2, memo=True),
    ),
    Case(
        name="a store that is read only, a tick",
        bounds=Bounds(moves=1, ticks=1, faults=2, read_only=True),
    ),
    Case(
        name="a store that is read only, two ticks",
        bounds=Bounds(moves=1, faults=1, sendings=2, read_only=True),
    ),
    Case(
        name="a flow that is renamed, a fault",
        bounds=Bounds(moves=1, ticks=1, faults=1, sendings=2, renames=True),
    ),
    Case(
        name="a step that runs twice at once",
        bounds=Bounds(moves=1, ticks=1, faults=3, sendings=4, twins=True),
    ),
)
"""Small worlds, each with the whole protocol: together they are searched in seconds."""

THOROUGH: Final = (Case(name="two of all, a fault", bounds=Bounds(faults=1, sendings=2)),)
"""A larger one, for `python -m tests.model --thorough`: some 40 seconds."""

_ONE: Final = Bounds(moves=1, faults=1, sendings=2)
MUTANTS: Final = (
    Case(
        name="mark before publish",
        rules=Rules(mark_before_publish=True),
        bounds=Bounds(ticks=1, faults=1, sendings=2),
        breaks=ORDER,
    ),
    Case(
        name="mark before publish, no listener known",
        rules=Rules(mark_before_publish=True),
        bounds=Bounds(moves=1, ticks=1, faults=1, listeners_known=False),
        breaks=LOST,
    ),
    Case(
        name="no claim",
        rules=Rules(no_claim=True),
        bounds=_ONE,
        breaks=TWICE,
    ),
    Case(name="claim after work", rules=Rules(claim_after_work=True), bounds=_ONE, breaks=TWICE),
    Case(name="overwrite, not create", rules=Rules(overwrite=True), bounds=_ONE, breaks=TWICE),
    Case(name="a new id each time", rules=Rules(new_id_each_time=True), bounds=_ONE, breaks=TWICE),
    Case(
        name="watch only the oldest",
        rules=Rules(watch_only_the_oldest=True),
        bounds=Bounds(flows=2, deaf=1, ticks=1, faults=1, sendings=2),
        breaks=LOST,
    ),
    Case(
        name="a claim in the name of a process",
        rules=Rules(claim_by_process=True),
        bounds=Bounds(moves=1, ticks=1, faults=2, sendings=3, twins=True),
        breaks=LOST,
    ),
    Case(
        name="send before noting",
        rules=Rules(send_before_noting=True),
        bounds=Bounds(moves=1, ticks=1, faults=1, sendings=2, read_only=True),
        breaks=BLIND,
    ),
    Case(
        name="forget the gone",
        rules=Rules(forget_the_gone=True),
        bounds=Bounds(moves=1, ticks=1, faults=1, sendings=2, renames=True),
        breaks=LOST,
    ),
    Case(
        name="leave out what is written beside",
        rules=Rules(leave_out_beside=True),
        bounds=Bounds(moves=1, ticks=1, faults=0, sendings=1, memo=True),
        breaks=LOST,
    ),
)
ALL: Final = (*PROTOCOL, *MUTANTS)


def shown(case: Case, finding: Finding) -> list[str]:
    """The finding as lines of text."""
    verdict = finding.broken or "holds"
    lines = [f"{case.name:40} {finding.states:>8,} states  {verdict}"]
    return lines + [f"    {n:>2}  {label}" for n, label in enumerate(finding.trace, 1)]


def as_json(case: Case, finding: Finding) -> dict[str, Any]:
    """The finding for machines."""
    return {
        "name": case.name,
        "bounds": vars(case.bounds),
        "mutant": next((name for name, is_on in vars(case.rules).items() if is_on), None),
        "states": finding.states,
        "broken": finding.broken or None,
        "trace": [*finding.trace],
    }
