"""What goes wrong and when: drawn from the dice, and counted when it is injected."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final

__all__ = [
    "BUS",
    "CROWD",
    "DEAF",
    "FOLDERS",
    "FORGETS",
    "GONE_FLOW",
    "IN_ORDER",
    "KINDS",
    "MOVE_KILLED",
    "NEW_FLOW",
    "NEW_NAME",
    "PLOTS",
    "READ_ONLY",
    "SETTLES",
    "SKIPPED",
    "TWO_SENSORS",
    "Faults",
]

_READ: Final = {
    "store: fails before it did anything": 8,
    "store: fails after it was done": 2,
    "store: answers late": 8,
    "killed before a request to the store": 5,
    "killed after a request to the store": 5,
}
_WRITE: Final = {
    "store: fails before it did anything": 6,
    "store: fails after it was done": 14,
    "store: error now, done later": 10,
    "store: answers late": 10,
    "killed before a request to the store": 8,
    "killed after a request to the store": 8,
    "killed, and the request is done later": 6,
}
_WIRE: Final = {
    "wire: 500 once": 8,
    "wire: 503 Slow Down once": 4,
    "wire: 500 until given up": 6,
    "wire: reset once after it was done": 10,
    "wire: 500 until given up, after it was done": 8,
    "wire: slow": 4,
}
BUS: Final = {
    "bus: refuses the connection": 10,
    "bus: hangs and has not taken it": 2,
    "bus: hangs and has taken it": 2,
    "bus: answers 500": 8,
    "bus: answers 500 and has taken it": 8,
    "bus: answers 429": 5,
    "bus: answers 400": 5,
    "bus: resets and has taken it": 5,
    "bus: takes it and drops it": 10,
    "bus: takes it and drops it for one flow": 10,
    "bus: delivers it twice": 15,
    "bus: delivers it late": 12,
    "killed before the event is sent": 8,
    "killed after the event was sent": 12,
}
_RUN: Final = {
    "run killed before its claim": 6,
    "run killed after its claim": 8,
    "run killed after its work": 8,
}
_CLOCK: Final = {
    "clock: an hour fast": 5,
    "clock: an hour slow": 5,
    "clock: jumps back an hour": 5,
}
READ_ONLY: Final = "store: can be read and not written, for some ticks"
DEAF: Final = "a flow that listens never starts"
TWO_SENSORS: Final = "a flow waits for two sensors"
FORGETS: Final = "bus: forgets what waits for another sensor"
NEW_FLOW: Final = "a flow that listens is renamed while events are on their way"
GONE_FLOW: Final = "a flow that listens is removed while events are on their way"
NEW_NAME: Final = "a sensor is renamed, and its journal moved while both tick"
MOVE_KILLED: Final = "a move of a journal fails or is killed half-way"
FOLDERS: Final = "folders are begun and not finished, and wait for their markers"
SETTLES: Final = "files have to settle"
CROWD: Final = "52 changes are given up, and stay so"
IN_ORDER: Final = "a flow takes changes in order"
SKIPPED: Final = "a person ends the turn of a flow that takes changes in order"

PLOTS: Final = {
    "": 8,
    TWO_SENSORS: 3,
    NEW_FLOW: 2,
    GONE_FLOW: 2,
    NEW_NAME: 3,
    FOLDERS: 2,
    SETTLES: 1,
    CROWD: 1,
    IN_ORDER: 3,
}
"""What a round is about besides, and how often; each is counted as a fault when it happens."""
_MEMO: Final = {"memo of the head: lost": 5, "memo of the head: an old one": 7}

_ODDS: Final = {
    "read": (0.015, _READ),
    "write": (0.06, _WRITE),
    "wire": (0.1, _WIRE),
    "bus": (0.45, BUS),
    "before claim": (0.06, {"run killed before its claim": 1}),
    "after claim": (0.1, {"run killed after its claim": 1}),
    "after work": (0.1, {"run killed after its work": 1}),
    "clock": (0.25, _CLOCK),
    "memo": (0.3, _MEMO),
    "read only": (0.15, {READ_ONLY: 1}),
    "forgets": (0.3, {FORGETS: 1}),
}
_NO_CHANCES: Final[Mapping[str, float]] = {}
KINDS: Final = tuple(
    dict.fromkeys(
        [
            *(*_READ, *_WRITE, *_WIRE, *BUS, *_RUN, *_CLOCK, *_MEMO),
            *(READ_ONLY, DEAF, FORGETS, MOVE_KILLED, SKIPPED),
            *filter(None, PLOTS),
        ],
    )
)
"""Every kind that is injected in this process, in the order of the table."""


class Faults:
    """Draws the faults of one round, and counts them; none in `peace`."""

    def __init__(
        self, dice: Random, *, wire: bool = False, chances: Mapping[str, float] = _NO_CHANCES
    ) -> None:
        """Take `chances` of moments that are others than usual."""
        self.injected: Counter[str] = Counter()
        self.peace = True
        self._dice = dice
        self._wire = wire
        self._chances = chances

    def at(self, moment: str) -> str:
        """The fault to inject at this moment; empty if there is none."""
        if self.peace or (moment == "wire" and not self._wire):
            return ""
        chance, kinds = _ODDS[moment]
        if self._dice.random() >= self._chances.get(moment, chance):
            return ""
        fault = _one_of(kinds, self._dice)
        self.injected[fault] += 1
        return fault


def _one_of(weights: Mapping[str, int], dice: Random) -> str:
    return dice.choices([*weights], [*weights.values()])[0]
