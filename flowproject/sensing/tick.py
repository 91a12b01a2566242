"""The outcome of one look at one sensor, as plain values for artifacts, cards and terminals."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from flowproject.changes.canonical import Json
from flowproject.config.model import Sensor
from flowproject.errors import FlowprojectError
from flowproject.secrecy import safe

__all__ = ["Tick", "failed_tick"]

_FORMAT: Final = 1
_BUG: Final = 70
"""The exit code of a failure that nobody has foreseen, as the commands have it."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The outcome of one look at one sensor, with its reason.

    `outcome` is `baseline`, `unchanged`, `settling`, `changed`, `forced`, `superseded` or
    `failed`. `history` are the newest entries of the journal, as `recall` tells them, `pending` is
    how many recorded changes the bus has not taken (at least: nobody counts on), `held` why they
    are held back, `late` what the bus has and no run has started for in time, `queued` what waits
    for its turn with a flow that takes changes in order, `undelivered` why something could not be
    delivered, `abandoned` what nobody will deliver any more, `overdue` what has had to wait for so
    long that the tick is to fail for it, and `exit_code` the kind of failure.
    """

    sensor: str
    event_name: str
    outcome: str
    reason: str
    source: str
    at: str
    value: Json = None
    previous: Json = None
    id: str = ""
    seq: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    sample: dict[str, Json] = field(default_factory=dict)
    columns_change: dict[str, Json] = field(default_factory=dict)
    trail: list[list[Json]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, Json] = field(default_factory=dict)
    query: str = ""
    pending: int = 0
    held: str = ""
    late: str = ""
    queued: str = ""
    undelivered: str = ""
    abandoned: str = ""
    overdue: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Json]:
        """The tick as plain JSON, for artifacts and machines."""
        return {"v": _FORMAT, **asdict(self)}

    @property
    def delivery(self) -> str:
        """What became of the changes that this sensor had to deliver; empty if it had none."""
        told = (self._handed_over, self.queued, self.late, self.overdue, self.abandoned)
        return "; ".join(filter(None, told))

    @property
    def _handed_over(self) -> str:
        waiting = f"{self.pending} recorded and waiting: " if self.pending else ""
        if self.undelivered:
            return waiting + (self.undelivered if waiting else f"undelivered: {self.undelivered}")
        if self.held:
            return f"{waiting}held back, {self.held}"
        if self.pending:
            return f"{waiting}no event bus is configured; `flowproject dev` runs one"
        return f"change {self.seq} sent as event {self.event_name!r}" if self.id else ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The tick that `to_json` wrote."""
        return cls(**{key: value for key, value in document.items() if key != "v"})


def failed_tick(sensor: Sensor, error: BaseException, now: dt.datetime) -> Tick:
    """The tick of a sensor whose source or journal failed."""
    return Tick(
        sensor=sensor.name,
        event_name=sensor.event_name,
        outcome="failed",
        reason=str(error) if isinstance(error, FlowprojectError) else _unexpected(sensor, error),
        source=sensor.data.type,
        at=now.isoformat(),
        exit_code=error.exit_code if isinstance(error, FlowprojectError) else _BUG,
    )


def _unexpected(sensor: Sensor, error: BaseException) -> str:
    """What to tell of a failure that nobody has foreseen, which may have no words of its own."""
    said = ": ".join(filter(None, (type(error).__name__, str(error).strip())))
    return safe(
        f"unexpected {said.rstrip('.')}. Sensor {sensor.name!r}. The next tick goes on from what "
        f"is recorded. If it fails again, see `flowproject preview {sensor.name}`, and report what "
        "it says as a bug of flowproject"
    )
