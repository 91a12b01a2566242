"""Words and addresses that every view shares; those of outcomes are the cards' own."""

from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from flowproject.wording import OUTCOMES

__all__ = [
    "address",
    "change_address",
    "clock",
    "run_address",
    "sensor_address",
    "urgency",
]

_PRESSING: Final = ("failed", "undelivered", "running", *OUTCOMES)


def urgency(word: str) -> int:
    """The more pressing, the smaller."""
    return _PRESSING.index(word) if word in _PRESSING else len(_PRESSING)


def clock(moment: str) -> str:
    """The time of an ISO moment in this machine's zone, with its date if that is not today's."""
    if not moment:
        return ""
    local = datetime.fromisoformat(moment).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"


def address(*parts: object, **query: object) -> str:
    """An address on the page: each part is escaped, and empty values of the query are left out."""
    path = "/" + "/".join(quote(str(part), safe="") for part in parts)
    kept = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(kept)}" if kept else path


def sensor_address(name: str) -> str:
    """Where one sensor is shown."""
    return address("sensors", name)


def change_address(sensor: str, seq: int) -> str:
    """Where one change is shown."""
    return address("sensors", sensor, "changes", seq)


def run_address(name: str) -> str:
    """Where a run, written `Flow/id`, is shown; nowhere if this is no run of a flow."""
    flow, slash, run_id = name.partition("/")
    return address("runs", flow, run_id) if slash and flow.isidentifier() else ""
