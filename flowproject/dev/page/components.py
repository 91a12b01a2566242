"""Make the small pieces of views: links and addresses, facts, sparklines, moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from flowproject.wording import OUTCOMES

__all__ = [
    "ActionLink",
    "Fact",
    "Link",
    "Sparkline",
    "action",
    "address",
    "change_address",
    "clock",
    "run_address",
    "sensor_address",
    "sparkline",
    "urgency",
]

# States of runs and of deliveries before the outcomes of ticks: where marks overlap, a failed run
# is worth more than a sensor that has changed.
_PRESSING: Final = ("failed", "undelivered", "running", *OUTCOMES)
_WIDTH: Final = 100
_HEIGHT: Final = 24
_MARGIN: Final = 2


def urgency(word: str) -> int:
    """Rank an outcome or a state: the more pressing, the smaller."""
    return _PRESSING.index(word) if word in _PRESSING else len(_PRESSING)


def clock(moment: str) -> str:
    """Give the time of an ISO moment on this machine's clock, with its date if not today's."""
    if not moment:
        return ""
    # The server's zone, which is the reader's: the page is served to this machine.
    local = datetime.fromisoformat(moment).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"


def address(*parts: object, **query: object) -> str:
    """Make an address on the page: parts are escaped, empty values of the query left out."""
    # Slashes, too: keys and names come from data, and each part is one step of the path.
    path = "/" + "/".join(quote(str(part), safe="") for part in parts)
    # Not by truth: 0 is a number of a row.
    kept = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(kept)}" if kept else path


def sensor_address(name: str) -> str:
    """Give the address of a sensor."""
    return address("sensors", name)


def change_address(sensor: str, seq: int) -> str:
    """Give the address of a change."""
    return address("sensors", sensor, "changes", seq)


def run_address(name: str) -> str:
    """Give the address of a run, written `Flow/id`; empty if this is no run of a flow."""
    flow, slash, run_id = name.partition("/")
    # Journals also name what is no run of a flow here: "by hand", or a Workflow on a cluster.
    return address("runs", flow, run_id) if slash and flow.isidentifier() else ""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A text, and where it leads; an empty address is no link."""

    text: str
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name and what there is to say under it."""

    name: str
    text: str
    moment: str = ""
    """An ISO moment that stands for the text, so that a browser can say how long ago it was."""


@dataclass(frozen=True, kw_only=True)
class ActionLink:
    """Something that a person may do; its address shows what it will do, before it is done."""

    name: str
    label: str
    href: str


@dataclass(frozen=True, kw_only=True)
class Sparkline:
    """A line in a box of 100 x 24, and the same in words for those who can't see it."""

    points: str
    """As SVG's `polyline` takes them."""
    words: str


def action(name: str, label: str, **target: str) -> ActionLink:
    """Offer the action of this name on a `sensor`, a `change`, a `run` or a `flow`."""
    return ActionLink(name=name, label=label, href=address("actions", name, **target))


def sparkline(numbers: Sequence[float], what: str) -> Sparkline | None:
    """Draw numbers as steps, evenly spaced: each holds until the next. None below two of them."""
    if len(numbers) < 2:  # noqa: PLR2004  # a line has two ends
        return None
    low, high = min(numbers), max(numbers)
    step = _WIDTH / len(numbers)
    points: list[str] = []
    for place, number in enumerate(numbers):
        level = (number - low) / (high - low) if high > low else 0.5
        y = _HEIGHT - _MARGIN - level * (_HEIGHT - 2 * _MARGIN)
        points += [f"{place * step:.1f},{y:.1f}", f"{(place + 1) * step:.1f},{y:.1f}"]
    words = f"{what}: {numbers[0]:,} to {numbers[-1]:,} in {len(numbers)} recorded looks"
    return Sparkline(points=" ".join(points), words=words)
